//===- Measured.h - A schedule beside what a trainer did --------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_PLAN_MEASURED_H
#define MOIRE_TOOLS_PLAN_MEASURED_H

#include "Report.h"

namespace moire::plan {

/// The last step of a trace that `trainer --trace` wrote, on the actions of a schedule.
struct MeasuredStep {
  std::string path;
  long step = 0;
  /// Of each process of the trace: its rank of pp, and begin and end of its actions in seconds,
  /// from the begin of the step's first task on.
  struct Process {
    long number;
    int rank;
    std::vector<double> start, finish;
  };
  std::vector<Process> processes;
  double makespan = 0;

  /// Time in actions of all processes.
  double busy() const;
  /// As the schedule's timing: of the first process of each rank of pp.
  scheduling::Timing timing(const scheduling::Problem &problem) const;
};

/// Reads a trace. Refuses one whose tasks are not those of the schedule, in its order.
Refusal readMeasured(const std::string &path, const Outcome &outcome, MeasuredStep &measured);

/// How long each kind of action takes in each stage, planned and measured; step and idle time.
void writeMeasured(std::ostream &out, const Outcome &outcome, const MeasuredStep &measured,
                   const Units &units);

/// The same for --json.
nlohmann::ordered_json measuredJson(const Outcome &outcome, const MeasuredStep &measured);

/// A picture with two rows a rank. Planned times are multiplied so that actions take as long
/// together as the measured ones: what is left to see is what waits.
void drawMeasured(std::ostream &out, const Outcome &outcome, const MeasuredStep &measured);

} // namespace moire::plan

#endif // MOIRE_TOOLS_PLAN_MEASURED_H
