//===- PlanFile.cpp - Plans as TOML ----------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "../Scheduling/Text.h"
#include "moire/CostModel/Fields.h"
#include "moire/Planner/Plan.h"
#include <ostream>

using namespace moire::planner;
using moire::cost::Field;
using moire::cost::number;
using moire::cost::quoted;

Refusal moire::planner::readPlan(const std::string &path, Plan &plan) {
  std::string text;
  if (Refusal refusal = cost::readText(path, text))
    return refusal;
  return parsePlan(text, path, plan);
}

Refusal moire::planner::parsePlan(const std::string &text, const std::string &path, Plan &plan) {
  Plan read;
  std::string schedule = "1f1b", recompute = "none";
  const auto axis = [](const char *table, const char *key, int *value, const char *example,
                       int most = kMostOfAxis) {
    return Field{table, key, value, example, false, 1, static_cast<double>(most)};
  };
  const auto optional = [](const char *table, const char *key, double *value, const char *example,
                           double least) {
    return Field{table, key, value, example, false, least};
  };
  const std::vector<Field> fields = {
      axis("mesh", "dp", &read.dp, "2"),
      axis("mesh", "pp", &read.pp, "4"),
      axis("mesh", "ep", &read.ep, "8"),
      axis("mesh", "tp", &read.tp, "1"),
      {"mesh", "sequence_parallel", &read.sequenceParallel, "true", false},
      {"mesh", "overlap_reduce", &read.overlapReduce, "true", false},
      axis("batch", "micro_batch", &read.microBatch, "1", 1 << 20),
      axis("batch", "micro_batches", &read.microBatches, "16", 1 << 20),
      {"", "schedule", &schedule, "\"1f1b\"", false},
      {"", "recompute", &recompute, "\"none\"", false, 0, 0, false, {"none", "selective", "full"}},
      {"", "precision", &read.precision, "\"bf16\"", false, 0, 0, false, {"f32", "bf16", "fp8"}},
      {"", "zero", &read.zero, "1", false, 0, 3},
      {"", "overlap_gradients", &read.overlapGradients, "true", false},
      optional("", "imbalance", &read.imbalance, "1.2", 1),
      optional("", "gradient_bytes", &read.gradientBytes, "4", 1),
      optional("", "optimizer_bytes", &read.optimizerBytes, "12", 0)};
  if (Refusal refusal = cost::readFields(text, path, fields))
    return refusal;
  if (Refusal refusal = scheduling::parseKind(schedule, read.schedule))
    return scheduling::text("'", path, "': ", *refusal);
  (void)cost::parseRecompute(recompute, read.recompute);
  plan = read;
  return {};
}

void moire::planner::writePlan(std::ostream &out, const Plan &plan) {
  out << "schedule = " << quoted(plan.schedule.str()) << '\n'
      << "recompute = " << quoted(cost::name(plan.recompute)) << '\n'
      << "precision = " << quoted(plan.precision) << '\n'
      << "zero = " << plan.zero << '\n'
      << "overlap_gradients = " << (plan.overlapGradients ? "true" : "false") << '\n'
      << "imbalance = " << number(plan.imbalance) << '\n'
      << "gradient_bytes = " << number(plan.gradientBytes) << '\n'
      << "optimizer_bytes = " << number(plan.optimizerBytes) << '\n'
      << "\n[mesh]\n"
      << "dp = " << plan.dp << "\npp = " << plan.pp << "\nep = " << plan.ep << "\ntp = " << plan.tp
      << '\n'
      << "sequence_parallel = " << (plan.sequenceParallel ? "true" : "false") << '\n'
      << "overlap_reduce = " << (plan.overlapReduce ? "true" : "false") << '\n'
      << "\n[batch]\n"
      << "micro_batch = " << plan.microBatch << "\nmicro_batches = " << plan.microBatches << '\n';
}
