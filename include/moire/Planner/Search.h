//===- Search.h - The plan for a cluster and a batch ------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PLANNER_SEARCH_H
#define MOIRE_PLANNER_SEARCH_H

#include "moire/Planner/Predict.h"

namespace moire::planner {

struct SearchOptions {
  /// What plans are made of; empty: everything that the model and the cluster allow.
  std::vector<scheduling::Kind> schedules;
  std::vector<int> dp, pp, ep, tp, microBatch;
  std::vector<cost::Recompute> recompute;
  std::vector<int> zero; ///< empty: 1 to 3, as 0 takes as long as 1 and more memory
  /// Precision, imbalance and the rest are taken from here.
  Plan base;
  /// Bytes of a device to use; 0: all of Device::memory.
  double memoryLimit = 0;
  /// Runners-up and plans that do not fit that are told.
  int runnersUp = 8;
  int tooLarge = 5;
  /// Plans of each `zero` that are simulated, those with the best estimates.
  int simulate = 60;
  /// Whether a schedule is searched for as well (`auto`), on the best plan of each `zero`.
  bool searchSchedules = true;
};

/// A plan that was not chosen and why.
struct Candidate {
  Prediction prediction;
  std::string reason;
};

struct Found {
  Prediction best;
  /// Best first; one for each mesh and schedule.
  std::vector<Candidate> runnersUp;
  /// Seconds of the fastest step whose schedule is a generator's.
  double bestGenerated = 0;
  /// Faster than that but too large; one for each mesh, with the change that makes it fit. Those
  /// that one change makes fit come first.
  std::vector<Candidate> tooLarge;
  long considered = 0; ///< plans that were estimated
  int simulated = 0;
};

/// The plan with the least time for a step of `globalBatch` sequences. Deterministic. Refuses a
/// batch that no plan can divide, with the nearest that one can, and a model that does not fit
/// whatever the plan, with what the smallest plan needs.
Refusal search(const cost::ModelCost &model, const cost::Cluster &cluster, long globalBatch,
               const SearchOptions &options, Found &found);

/// What training on a number of tokens takes.
struct TrainingCost {
  double steps = 0;
  double seconds = 0;
  double deviceHours = 0;
  double price = 0; ///< 0: the cluster file has none
};
TrainingCost trainingCost(const Prediction &prediction, const cost::Cluster &cluster,
                          double tokens);

} // namespace moire::planner

#endif // MOIRE_PLANNER_SEARCH_H
