//===- step_record.h - What is told of a step ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_STEP_RECORD_H
#define MOIRE_RT_STEP_RECORD_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace moire::rt {

/// What a step gave.
struct StepResult {
  int64_t step; ///< from 1
  double loss, lr, gradNorm, seconds;
  int64_t microBatches; ///< of all ranks that have data of their own
  int64_t tokens;       ///< of the step, of all ranks; rows where the data has no sequences
  int64_t tokensSeen;   ///< of all steps up to this one
  int64_t seq = 0;      ///< length of its sequences; 0: that of all steps
};

/// What the experts of a router got since they were last told, on all ranks.
struct RouterLoad {
  std::string name;
  std::vector<int64_t> tokens; ///< by expert
  int64_t dropped;             ///< pairs of token and expert that found no room in a capacity
  double maxOverMean() const;  ///< of tokens: 1 where all have the same; 0 where there are none
};

/// Of a group of parameters, what a step did.
struct GroupReport {
  std::string name;
  bool trained;
  /// Norm of what was added to the parameters over their own; nothing where it was not asked for.
  std::optional<double> updateNorm;
};

/// And what follows from it.
struct StepRecord : StepResult {
  double tokensPerSecond = 0;
  /// Of all ranks' peak, what the model's products take and what the program computes;
  /// nothing where the program's FLOPs or the peak are not known.
  std::optional<double> mfu = {}, hfu = {};
  int64_t memory = 0, memoryPeak = 0;   ///< bytes, as memoryInUse() counts them
  std::vector<RouterLoad> routers = {}; ///< empty: not of this step
  std::vector<GroupReport> groups = {}; ///< empty: the program has none
};

} // namespace moire::rt

#endif // MOIRE_RT_STEP_RECORD_H
