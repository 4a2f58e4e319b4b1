//===- Schedules.h - One problem under several schedules -------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_PLAN_SCHEDULES_H
#define MOIRE_TOOLS_PLAN_SCHEDULES_H

#include "Workloads.h"
#include "moire/Scheduling/Search.h"

namespace moire::plan {

/// A schedule with its timing, or why there is none.
struct Outcome {
  std::string name; ///< as it was asked for
  Refusal refused;
  scheduling::Problem problem;
  scheduling::Schedule schedule;
  scheduling::Timing timing;
  std::string how;         ///< of auto: what the search did
  scheduling::Bound bound; ///< of auto: no schedule on this placement takes less

  /// Of plan.mlir, which moirec writes: the model and its mesh, the first ONNX node of each stage.
  std::string model;
  std::vector<std::string> begins;

  int activations() const; ///< the most that a rank holds
};

/// `1f1b,dualpipe` and `all` (every generator) as single names; refuses a name that is none.
Refusal expandSchedules(const std::vector<std::string> &given, std::vector<std::string> &names);

/// Runs each; `budget` bounds the search of auto (SearchOptions).
std::vector<Outcome> runSchedules(const scheduling::Workload &workload,
                                  const std::vector<std::string> &names, long budget);

} // namespace moire::plan

#endif // MOIRE_TOOLS_PLAN_SCHEDULES_H
