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
  double dividedBuffer = 0;    ///< bytes of what zero divides while it is whole
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
/// The parts that a rank holds, `held` being ascending: a parameter that the embedding and the
/// head share is on it once.
std::vector<PartCost> heldParts(const cost::ModelCost &model, const std::vector<PartCost> &parts,
                                const std::vector<int> &held, const Plan &plan);
/// What zero 2 and 3 need beside the divided state: the part's gradients before they are summed
/// into pieces; its parameters and those of the next part, which are gathered beside it.
double dividedBufferOf(const PartCost &part, const Plan &plan);
/// Ranks that hold the same dense parameters, and the same experts.
double replicas(const Plan &plan);
double expertReplicas(const Plan &plan);
/// These ranks. DualPipe's other copy is at the other end of the pipeline: one more rank of the
/// same group.
cost::Group denseGroup(const Plan &plan);
cost::Group expertGroup(const Plan &plan);

/// Cuts parts of these times into `count` rows of neighbours, the longest of which is as short as
/// it can be and which otherwise are as even as they can be: [stage] → first and one past the
/// last. There must be at least `count` parts.
std::vector<std::pair<int, int>> cutParts(const std::vector<double> &times, int count);

/// Whether the schedule hides a task's exchanges under another task.
bool overlapsExchanges(const Plan &plan);

/// The cost of a stage of parts [range.first, range.second).
scheduling::StageCost stageOf(const std::vector<PartCost> &parts, std::pair<int, int> range,
                              const cost::Cluster &cluster, const Plan &plan);

} // namespace moire::planner

#endif // MOIRE_LIB_PLANNER_STAGES_H
