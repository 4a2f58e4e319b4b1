//===- Estimate.h - A plan's time and memory by formulas --------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_PLANNER_ESTIMATE_H
#define MOIRE_LIB_PLANNER_ESTIMATE_H

#include "Stages.h"

namespace moire::planner {

/// A plan without a simulation.
struct Estimated {
  Plan plan;
  double seconds = 0; ///< of a step
  double least = 0;   ///< what its work alone takes
  double memory = 0;  ///< bytes of the fullest rank
};

/// Costs the parts of a mesh, micro-batch and recompute once for all that zero may divide and for
/// all schedules.
class Estimator {
public:
  Estimator(const cost::ModelCost &model, const cost::Cluster &cluster, const Plan &plan);
  /// `plan` may differ from the constructor's in zero and schedule.
  Estimated estimate(const Plan &plan);

private:
  const cost::ModelCost &model;
  const cost::Cluster &cluster;
  std::vector<PartCost> parts;
  int zero = -1;
  bool overlaps = false;
  scheduling::StageCost whole; ///< for these
  double largest = 0, longest = 0;

  void divide(const Plan &plan);
};

} // namespace moire::planner

#endif // MOIRE_LIB_PLANNER_ESTIMATE_H
