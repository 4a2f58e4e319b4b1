//===- Plan.h - How a model is laid over a cluster --------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PLANNER_PLAN_H
#define MOIRE_PLANNER_PLAN_H

#include "moire/CostModel/Cluster.h"
#include "moire/CostModel/Model.h"
#include <iosfwd>

namespace moire::planner {

using scheduling::Refusal;

/// The most that an axis may be, so that ranks can be counted.
constexpr int kMostOfAxis = 1 << 15;

/// Ranks = pp x dp x ep x tp; tp ranks lie next to each other, then ep, dp, pp. The dp x ep ranks
/// hold different tokens: dense parameters are replicated over them, experts are divided over ep
/// and replicated over dp.
struct Plan {
  int dp = 1;
  int pp = 1;
  int ep = 1;
  int tp = 1;
  /// Norms and residuals are divided over tp along the sequence; sums over tp become
  /// reduce-scatters and all-gathers of the same bytes.
  bool sequenceParallel = true;
  /// Sums over tp run in tp pieces beside the products that make and take them.
  bool overlapReduce = false;
  int microBatch = 1;   ///< sequences
  int microBatches = 1; ///< of one pipeline in a step, from both ends together in DualPipe
  scheduling::Kind schedule;
  cost::Recompute recompute = cost::Recompute::None;
  std::string precision = "bf16"; ///< of products; a dtype of Device::flops
  /// What dp ranks divide: 0 nothing, 1 optimizer state, 2 gradients too, 3 parameters too.
  int zero = 1;
  /// Gradients are reduced while the last micro-batches' backwards run.
  bool overlapGradients = true;
  /// Load of the fullest expert rank over the mean.
  double imbalance = 1;
  double gradientBytes = 4;   ///< of one gradient
  double optimizerBytes = 12; ///< of one parameter's state: master copy and two moments

  long ranks() const { return static_cast<long>(dp) * pp * ep * tp; }
  /// Sequences of a step.
  long globalBatch() const { return static_cast<long>(dp) * ep * microBatch * microBatches; }
  /// `pp=16,dp=2,ep=64`: axes of size 1 are left out.
  std::string mesh() const;
};

/// Reads a plan (TOML; docs/planner.md lists the keys). Refuses as cost::readCluster does.
Refusal readPlan(const std::string &path, Plan &plan);
Refusal parsePlan(const std::string &text, const std::string &path, Plan &plan);
void writePlan(std::ostream &out, const Plan &plan);

/// Whether the plan suits the model and the cluster: axes that divide what they must, ranks that
/// the cluster has, what the schedule asks for. The first thing wrong in one sentence.
Refusal check(const cost::ModelCost &model, const cost::Cluster &cluster, const Plan &plan);

} // namespace moire::planner

#endif // MOIRE_PLANNER_PLAN_H
