//===- Predict.h - What a plan costs ----------------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PLANNER_PREDICT_H
#define MOIRE_PLANNER_PREDICT_H

#include "moire/Planner/Plan.h"
#include "moire/Scheduling/Simulator.h"

namespace moire::planner {

/// Bytes of one rank at its peak.
struct Memory {
  double parameters = 0;
  double gradients = 0;
  double optimizer = 0;
  double activations = 0;
  double workspace = 0; ///< buffers of exchanges and of one part's backward, the allocator's loss
  double total() const { return parameters + gradients + optimizer + activations + workspace; }
};

/// Seconds of one step by what a rank does, mean over pipeline ranks.
struct StepTime {
  double pipeline = 0;  ///< makespan of the schedule
  double gradients = 0; ///< reduction of gradients that nothing hides
  double optimizer = 0; ///< update, and gathering what was divided
  double total() const { return pipeline + gradients + optimizer; }
};

struct Prediction {
  Plan plan;
  std::vector<Memory> memory; ///< of each pipeline rank
  double memoryLimit = 0;     ///< bytes of a device
  int fullest = 0;            ///< the pipeline rank with the most

  StepTime step;
  /// Idle time in the pipeline as a fraction of its makespan.
  double bubble = 0;
  /// Communication that nothing hides as a fraction of the step: collectives and transfers in
  /// the pipeline, mean over ranks, and gradients.
  double exposedCommunication = 0;

  double tokensPerStep = 0;
  double tokensPerSecond = 0; ///< of all devices
  /// FLOPs of a step: what the model takes, and with recompute what the hardware does.
  double modelFlops = 0, hardwareFlops = 0;
  /// Per device and second.
  double modelRate = 0, hardwareRate = 0;
  /// As a fraction of the bf16 peak (of f32 for a plan in f32), whatever the precision.
  double mfu = 0, hfu = 0;

  /// [stage] → first part and one past the last.
  std::vector<std::pair<int, int>> parts;
  /// Behind the figures: unit of time the second, parameterBytes with all of their state.
  scheduling::Problem problem;
  scheduling::Schedule schedule;
  scheduling::Timing timing;

  long devices() const { return plan.ranks(); }
  bool fits() const { return memory[fullest].total() <= memoryLimit; }
};

/// Predicts a step. Refuses what check refuses. A plan that does not fit the memory is predicted
/// all the same, see `refuseMemory`; only the schedule `auto`, which is searched for under the
/// limit, refuses it.
Refusal predict(const cost::ModelCost &model, const cost::Cluster &cluster, const Plan &plan,
                Prediction &prediction);

/// The sentence for a prediction that does not fit: what it needs, what there is, and the
/// change of the plan that makes it fit at the least cost of time. Nothing where it fits.
Refusal refuseMemory(const cost::ModelCost &model, const cost::Cluster &cluster,
                     const Prediction &prediction);

/// The time of one part's pieces for one micro-batch, in seconds.
struct PartTime {
  double forward = 0;        ///< computation
  double backwardInput = 0;  ///< computation, recompute too
  double backwardWeight = 0; ///< computation
  double exchange = 0;       ///< dispatch and combine of the forward
  double exchangeBack = 0;   ///< of the backward
  double reduce = 0;         ///< sums over tp of the forward; of the backward as much
  double reduceBack = 0;     ///< with those of recompute
  // Of `forward`:
  double products = 0, attention = 0, traffic = 0;
};
PartTime timeOf(const cost::ModelCost &model, const cost::Part &part, const cost::Cluster &cluster,
                const Plan &plan);

} // namespace moire::planner

#endif // MOIRE_PLANNER_PREDICT_H
