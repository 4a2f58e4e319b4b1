//===- Plan.cpp - Whether a plan suits a model and a cluster ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Planner/Plan.h"
#include "../Scheduling/Text.h"
#include "Stages.h"
#include <cmath>

using namespace moire::planner;
using moire::cost::Cluster;
using moire::cost::ModelCost;
using moire::cost::Part;
using moire::scheduling::Kind;
using moire::scheduling::text;

std::string Plan::mesh() const {
  std::string words;
  const std::pair<const char *, int> axes[] = {{"pp", pp}, {"dp", dp}, {"ep", ep}, {"tp", tp}};
  for (const auto &[axis, size] : axes)
    if (size > 1)
      words += text(words.empty() ? "" : ",", axis, "=", size);
  return words.empty() ? "dp=1" : words;
}

/// The divisors of `number` up to `most`, for a sentence: `1, 2, 4 and 8`.
static std::string divisors(int number, int most) {
  std::string list;
  for (int d = 1; d <= std::min(number, most); ++d)
    if (number % d == 0)
      list += text(list.empty() ? "" : ", ", d);
  return list;
}

/// A schedule that puts off weight gradients would keep what full recompute makes again.
static bool putsOff(Kind kind) {
  return kind.name == Kind::ZeroBubbleH1 || kind.name == Kind::ZeroBubbleH2 ||
         kind.name == Kind::ZeroBubbleV || kind.name == Kind::VHalf;
}

Refusal moire::planner::check(const ModelCost &model, const Cluster &cluster, const Plan &plan) {
  const std::tuple<const char *, long, long> axes[] = {
      {"dp", plan.dp, kMostOfAxis},
      {"pp", plan.pp, 4096},
      {"ep", plan.ep, kMostOfAxis},
      {"tp", plan.tp, kMostOfAxis},
      {"micro_batch", plan.microBatch, 1 << 20},
      {"micro_batches", plan.microBatches, 1 << 20}};
  for (const auto &[axis, size, most] : axes)
    if (size < 1 || size > most)
      return text(axis, " is ", size, "; use 1 to ", most);
  const long ranks = plan.ranks();
  if (ranks != cluster.devices())
    return text("the mesh ", plan.mesh(), " has ", ranks, " ranks, not the ", cluster.devices(),
                " devices of cluster '", cluster.name, "'; use a mesh of ", cluster.devices(),
                ", or a cluster of ", ranks);
  if (Refusal refusal = cost::checkDtype(cluster, plan.precision))
    return refusal;
  if (plan.zero < 0 || plan.zero > 3)
    return text("zero is ", plan.zero, "; use 0 to 3");
  if (!(plan.imbalance >= 1) || !std::isfinite(plan.imbalance))
    return text("imbalance is ", plan.imbalance,
                ", but the fullest rank has at least the mean load; use 1 or more");
  if (model.heads % plan.tp)
    return text("tp=", plan.tp, " does not divide the ", model.heads, " key heads of ", model.name,
                "; use ", divisors(model.heads, cluster.devicesPerNode));
  int experts = 0;
  for (const Part &part : model.parts)
    if (part.experts > 0)
      experts = experts == 0 ? part.experts : std::min(experts, part.experts);
  if (plan.ep > 1 && experts == 0)
    return text("ep=", plan.ep, " for ", model.name,
                ", which has 0 experts; use ep=1 and dp=", plan.dp * plan.ep);
  for (const Part &part : model.parts)
    if (part.experts > 0 && part.experts % plan.ep)
      return text("expert count ", part.experts, " of '", part.name,
                  "' does not divide over mesh axis \"ep\" of size ", plan.ep,
                  "; use an axis of size ", divisors(part.experts, part.experts));
  const Kind kind = plan.schedule;
  const int parts = static_cast<int>(model.parts.size());
  if (kind.stages(plan.pp) > parts)
    return text(kind.str(), " on ", plan.pp, " pipeline ranks takes ", kind.stages(plan.pp),
                " stages, more than the ", parts, " parts of ", model.name, "; use pp=",
                std::max(1, parts / (kind.name == Kind::DualPipe ? 1 : kind.stagesPerRank())),
                " or less");
  // As many tasks as can be simulated in seconds.
  const long tasks = 2L * kind.stages(plan.pp) * plan.microBatches, most = 1L << 22;
  if (tasks > most)
    return text(kind.str(), " with ", kind.stages(plan.pp), " stages and ", plan.microBatches,
                " micro-batches is ", tasks, " tasks, more than the ", most,
                " that are simulated; use at most ", most / 2 / kind.stages(plan.pp),
                " micro-batches, larger ones or more replicas");
  if (plan.recompute == cost::Recompute::Full && putsOff(kind))
    return text("recompute full with ", kind.str(),
                " would keep until the weights' gradients all that it computes again; use ",
                "recompute none or selective, or 1f1b");
  // What the schedule itself asks for, in its own words.
  scheduling::Workload workload;
  workload.ranks = plan.pp;
  workload.microBatches = plan.microBatches;
  workload.parts.resize(kind.stages(plan.pp));
  scheduling::Problem problem;
  return kind.name == Kind::Auto ? Refusal() : scheduling::place(workload, kind, problem);
}
