//===- PlanAuto.h - moirec --plan auto ------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_MOIREC_PLANAUTO_H
#define MOIRE_TOOLS_MOIREC_PLANAUTO_H

#include "moire/Pipelines/Pipelines.h"
#include "moire/Planner/Plan.h"
#include <optional>
#include <string>

namespace moire {

struct AutoPlan {
  std::string cluster;  ///< a file, or the name of one that comes with the project
  long gpus = 0;        ///< devices of it to use; 0: all
  long globalBatch = 0; ///< sequences of a step
  std::optional<int> zero; ///< held to this
};

/// Searches the fastest plan that a program can follow, for the model, batch and precision of
/// `options`, whose mesh holds the axes that it names. Says in `report`, one line, what was
/// chosen. Returns an error sentence where there is none, an empty one where the model's errors
/// are on stderr already.
std::optional<std::string> searchPlan(const AutoPlan &request, const CompileOptions &options,
                                      planner::Plan &plan, std::string &report);

} // namespace moire

#endif // MOIRE_TOOLS_MOIREC_PLANAUTO_H
