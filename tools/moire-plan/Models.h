//===- Models.h - A model on a cluster -------------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_PLAN_MODELS_H
#define MOIRE_TOOLS_PLAN_MODELS_H

#include "Files.h"
#include "Report.h"
#include "moire/Planner/Search.h"

namespace moire::plan {

/// What the flags of --model say; empty or 0 where they are not given.
struct ModelRequest {
  std::string share; ///< the folder of names
  std::string model;
  std::vector<std::string> bind, clusters, mesh, schedules;
  std::string planFile, recompute, tokens, microBatches;
  std::optional<std::string> precision;
  std::optional<int> zero;
  std::optional<double> imbalance;
  int devices = 0, sequence = 0, microBatch = 0;
  long globalBatch = 0;
  bool search = false, anyMemory = false;
  std::string memoryLimit;
  std::string output; ///< the plan
  std::string json, svg, trace;
  ReportOptions report;
};

/// A prediction on one cluster, and what the search passed over.
struct ClusterResult {
  cost::Cluster cluster;
  planner::Prediction prediction;
  planner::Found found; ///< of --search
  planner::TrainingCost training;
};

/// Reads the model, predicts the plan or searches for one on each cluster, and reports.
Refusal planModel(const ModelRequest &request, std::ostream &out, Files &files);

/// A shape file, or an ONNX file by its IR. Its precision is `plan`'s, and where the plan says no
/// micro-batch it takes the bound one.
Refusal readModel(const ModelRequest &request, planner::Plan &plan, bool microBatchGiven,
                  cost::ModelCost &model);

/// One cluster: step, rates, memory by kind of each rank, the schedule.
void writePrediction(std::ostream &out, const cost::ModelCost &model, const ClusterResult &result,
                     const ReportOptions &options);
/// What the search passed over and why.
void writeFound(std::ostream &out, const planner::Found &found);
/// Several clusters, a row each, with the cost of `tokens`.
void writeClusters(std::ostream &out, const std::vector<ClusterResult> &results, double tokens);
/// All of it under the keys of docs/moire-plan.md.
nlohmann::ordered_json predictionJson(const cost::ModelCost &model, const ClusterResult &result,
                                      double tokens);

} // namespace moire::plan

#endif // MOIRE_TOOLS_PLAN_MODELS_H
