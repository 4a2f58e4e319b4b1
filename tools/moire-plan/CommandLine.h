//===- CommandLine.h - The flags of moire-plan -----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_PLAN_COMMANDLINE_H
#define MOIRE_TOOLS_PLAN_COMMANDLINE_H

#include "Balance.h"
#include "Calibrate.h"
#include "Models.h"
#include "Report.h"
#include "Workloads.h"

namespace CLI {
class App;
}

namespace moire::plan {

struct CommandLine {
  std::string input; ///< FILE.mlir
  std::string problem;
  WorkloadText workload;
  long budget = 20000000;
  BalanceRequest balance;
  CalibrateRequest calibrate;
  ModelRequest model;

  ReportOptions report;
  std::string output, json, mlir, svg, trace, measured;
};

/// The groups of the help, each of one task.
constexpr const char *kScheduleGroup = "Schedules", *kPipelineGroup = "A pipeline of your own",
                     *kModelGroup = "A model on a cluster", *kBalanceGroup = "Experts onto devices",
                     *kCalibrateGroup = "Rates of this machine";

void declareOptions(CLI::App &app, CommandLine &line);

} // namespace moire::plan

#endif // MOIRE_TOOLS_PLAN_COMMANDLINE_H
