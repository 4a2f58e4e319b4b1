//===- Search.cpp - The plan for a cluster and a batch ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Planner/Search.h"

using namespace moire::planner;
TrainingCost moire::planner::trainingCost(const Prediction &prediction,
                                          const cost::Cluster &cluster, double tokens) {
  TrainingCost cost;
  cost.steps = tokens / prediction.tokensPerStep;
  cost.seconds = cost.steps * prediction.step.total();
  cost.deviceHours = cost.seconds / 3600 * prediction.plan.ranks();
  cost.price = cost.deviceHours * cluster.device.pricePerHour;
  return cost;
}
