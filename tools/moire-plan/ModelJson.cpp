//===- ModelJson.cpp - Predictions as JSON -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The keys are documented in docs/moire-plan.md; test/Plan compares.
//
//===----------------------------------------------------------------------===//
#include "Models.h"
#include <nlohmann/json.hpp>

using namespace moire::plan;
using moire::planner::Prediction;
using Json = nlohmann::ordered_json;

static Json planJson(const moire::planner::Plan &plan) {
  return {{"dp", plan.dp},
          {"pp", plan.pp},
          {"ep", plan.ep},
          {"tp", plan.tp},
          {"micro_batch", plan.microBatch},
          {"micro_batches", plan.microBatches},
          {"schedule", plan.schedule.str()},
          {"recompute", moire::cost::name(plan.recompute)},
          {"precision", plan.precision},
          {"zero", plan.zero},
          {"imbalance", plan.imbalance}};
}

static Json candidatesJson(const std::vector<moire::planner::Candidate> &candidates) {
  Json all = Json::array();
  for (const moire::planner::Candidate &candidate : candidates)
    all.push_back({{"plan", planJson(candidate.prediction.plan)},
                   {"step", candidate.prediction.step.total()},
                   {"memory", candidate.prediction.memory[candidate.prediction.fullest].total()},
                   {"reason", candidate.reason}});
  return all;
}

Json moire::plan::predictionJson(const cost::ModelCost &model, const ClusterResult &result,
                                 double tokens) {
  const Prediction &p = result.prediction;
  Json json = {{"model", model.name},
               {"parameters", model.parameters},
               {"active_parameters", model.activeParameters},
               {"sequence", model.sequence},
               {"cluster", result.cluster.name},
               {"devices", p.devices()},
               {"plan", planJson(p.plan)},
               {"step",
                {{"total", p.step.total()},
                 {"pipeline", p.step.pipeline},
                 {"gradients", p.step.gradients},
                 {"optimizer", p.step.optimizer}}},
               {"bubble", p.bubble},
               {"exposed_communication", p.exposedCommunication},
               {"tokens_per_step", p.tokensPerStep},
               {"tokens_per_second", p.tokensPerSecond},
               {"model_flops", p.modelFlops},
               {"hardware_flops", p.hardwareFlops},
               {"mfu", p.mfu},
               {"hfu", p.hfu},
               {"memory_limit", p.memoryLimit},
               {"fits", p.fits()}};
  for (size_t rank = 0; rank < p.memory.size(); ++rank) {
    const planner::Memory &m = p.memory[rank];
    Json row = {{"parameters", m.parameters}, {"gradients", m.gradients},
                {"optimizer", m.optimizer},   {"activations", m.activations},
                {"workspace", m.workspace},   {"total", m.total()}};
    json["memory_per_rank"].push_back(row);
  }
  for (const scheduling::RankTiming &rank : p.timing.ranks)
    json["time_per_rank"].push_back({{"busy", rank.busy},
                                     {"idle", rank.idle},
                                     {"transfer_wait", rank.transferWait},
                                     {"collective", rank.collective}});
  if (result.found.considered > 0)
    json["search"] = {{"considered", result.found.considered},
                      {"simulated", result.found.simulated},
                      {"runners_up", candidatesJson(result.found.runnersUp)},
                      {"too_large", candidatesJson(result.found.tooLarge)}};
  if (tokens > 0)
    json["training"] = {{"tokens", tokens},
                        {"steps", result.training.steps},
                        {"seconds", result.training.seconds},
                        {"device_hours", result.training.deviceHours},
                        {"price", result.training.price},
                        {"currency", result.cluster.currency}};
  return json;
}
