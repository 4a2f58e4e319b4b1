//===- Stages.h - Parts of a model as stages of a pipeline ------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_PLANNER_STAGES_H
#define MOIRE_LIB_PLANNER_STAGES_H

#include "moire/Planner/Predict.h"

namespace moire::planner {

/// All that a plan makes of one part: for one micro-batch on one rank.
struct PartCost {
  PartTime time;
  double activations = 0;      ///< bytes kept
  double recomputed = 0;       ///< bytes that recompute makes again
  double output = 0;           ///< bytes sent on
  double exchangeBuffer = 0;   ///< bytes of tokens from and to other ranks
  double parameters = 0;       ///< of this rank, dense, not divided by zero
  double expertParameters = 0; ///< of this rank
  double recomputeFlops = 0;   ///< per token
  double forwardCompute() const { return time.forward; }
  double backwardCompute() const { return time.backwardInput + time.backwardWeight; }
};
PartCost costOfPart(const cost::ModelCost &model, const cost::Part &part,
                    const cost::Cluster &cluster, const Plan &plan);
std::vector<PartCost> costOfParts(const cost::ModelCost &model, const cost::Cluster &cluster,
                                  const Plan &plan);

/// Bytes of state that one rank holds of parameters.
struct State {
  double parameters = 0, gradients = 0, optimizer = 0;
  double total() const { return parameters + gradients + optimizer; }
};
State stateOf(const PartCost &part, const Plan &plan);
/// Ranks that hold the same dense parameters, and the same experts.
double replicas(const Plan &plan);
double expertReplicas(const Plan &plan);

/// Cuts parts of these times into `count` rows of neighbours, the longest of which is as short as
/// it can be and which otherwise are as even as they can be: [stage] → first and one past the
/// last. There must be at least `count` parts.
std::vector<std::pair<int, int>> cutParts(const std::vector<double> &times, int count);

/// The cost of a stage of parts [range.first, range.second).
scheduling::StageCost stageOf(const std::vector<PartCost> &parts, std::pair<int, int> range,
                              const cost::Cluster &cluster, const Plan &plan);

} // namespace moire::planner

#endif // MOIRE_LIB_PLANNER_STAGES_H
