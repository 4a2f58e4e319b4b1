//===- PlanFlag.h - moirec --plan -----------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_MOIREC_PLANFLAG_H
#define MOIRE_TOOLS_MOIREC_PLANFLAG_H

#include "moire/Pipelines/Pipelines.h"
#include "moire/Planner/Plan.h"
#include <string>

namespace moire {

/// Fills the mesh and the precision from a plan, which sentences call `name`. Returns an error
/// sentence for what a program cannot follow; warnings go to `warnings`, one a line.
std::string applyPlan(const planner::Plan &plan, const std::string &name, CompileOptions &options,
                      std::string &warnings);

/// An error sentence where the module's micro-batch is not the plan's.
std::string checkBatch(mlir::ModuleOp module, const planner::Plan &plan);

/// How to run the program so that its global batch is the plan's.
std::string howToRun(const planner::Plan &plan, const std::string &output);

} // namespace moire

#endif // MOIRE_TOOLS_MOIREC_PLANFLAG_H
