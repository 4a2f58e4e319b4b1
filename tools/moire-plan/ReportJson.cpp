//===- ReportJson.cpp - Outcomes as JSON ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The keys are documented in docs/moire-plan.md; test/Plan compares.
//
//===----------------------------------------------------------------------===//
#include "Report.h"
#include <nlohmann/json.hpp>

using namespace moire::plan;
using namespace moire::scheduling;
using Json = nlohmann::ordered_json;

Json moire::plan::scheduleJson(const Outcome &outcome, const Units &units, double optimizer) {
  Json json;
  json["schedule"] = outcome.name;
  if (outcome.refused) {
    json["refused"] = *outcome.refused;
    return json;
  }
  const Problem &problem = outcome.problem;
  const Timing &timing = outcome.timing;
  json["time_unit"] = units.seconds ? "s" : "1";
  json["memory_unit"] = units.bytes ? "B" : "1";
  json["ranks"] = problem.ranks;
  json["stages"] = problem.numStages();
  json["micro_batches"] = problem.totalMicroBatches();
  json["makespan"] = timing.makespan;
  json["optimizer"] = optimizer;
  json["step"] = timing.makespan + optimizer;
  json["bubble"] = timing.bubble();
  json["exposed_communication"] = timing.exposedCommunication();
  json["peak_memory"] = timing.peakBytes();
  json["peak_activations"] = outcome.activations();
  if (!outcome.how.empty()) {
    json["found_by"] = outcome.how;
    json["bound"] = outcome.bound.time;
  }
  for (const RankTiming &rank : timing.ranks) {
    Json row;
    row["busy"] = rank.busy;
    row["idle"] = rank.idle;
    row["transfer_wait"] = rank.transferWait;
    row["collective"] = rank.collective;
    row["peak_memory"] = rank.peakBytes;
    row["peak_activations"] = rank.peakActivations;
    json["per_rank"].push_back(row);
  }
  return json;
}
