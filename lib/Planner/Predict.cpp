//===- Predict.cpp - Memory and time of a plan -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Planner/Predict.h"
#include "../Scheduling/Text.h"
#include "Stages.h"
#include "moire/Scheduling/Search.h"
#include <algorithm>
#include <cmath>
#include <set>

using namespace moire::planner;
using namespace moire::cost;
using namespace moire::scheduling;

/// Actions that the search for a schedule may place: half a second.
static constexpr long kScheduleBudget = 5000000;

//===----------------------------------------------------------------------===//
// Schedule
//===----------------------------------------------------------------------===//

/// Into how many stages the model is cut: for `auto` as fine as ranks can share them.
static int stageCount(const ModelCost &model, const Plan &plan) {
  if (plan.schedule.name != Kind::Auto)
    return plan.schedule.stages(plan.pp);
  const int parts = static_cast<int>(model.parts.size());
  for (int perRank : {4, 2})
    if (perRank * plan.pp <= parts)
      return perRank * plan.pp;
  return plan.pp;
}

static Refusal schedule(const Workload &workload, Prediction &prediction) {
  const Plan &plan = prediction.plan;
  if (plan.schedule.name == Kind::Auto) {
    SearchOptions options;
    options.budget = kScheduleBudget;
    SearchResult result;
    if (Refusal refusal = searchSchedule(workload, options, result))
      return refusal;
    prediction.problem = std::move(result.problem);
    prediction.schedule = std::move(result.schedule);
    prediction.timing = std::move(result.timing);
    return {};
  }
  if (Refusal refusal = place(workload, plan.schedule, prediction.problem))
    return refusal;
  if (Refusal refusal = generate(prediction.problem, plan.schedule, prediction.schedule))
    return refusal;
  prediction.timing = simulate(prediction.problem, prediction.schedule);
  return {};
}

/// The stages that a rank holds, each once.
static std::set<int> heldBy(const Problem &problem, int rank) {
  std::set<int> held;
  for (const std::vector<int> &path : problem.rankOf)
    for (int s = 0; s < problem.numStages(); ++s)
      if (path[s] == rank)
        held.insert(s);
  return held;
}

//===----------------------------------------------------------------------===//
// After the last backward
//===----------------------------------------------------------------------===//

namespace {
/// What a rank does with its gradients.
struct Finish {
  double reduce = 0;   ///< seconds of communication
  double lastPart = 0; ///< of it, what cannot start before the last backward ends
  double cover = 0;    ///< computation of the last backwards, beside which it runs
  double update = 0;
};
} // namespace

static Finish finishOf(const std::vector<PartCost> &held, const Cluster &cluster,
                       const Plan &plan) {
  Finish finish;
  const Group dense = denseGroup(plan), experts = expertGroup(plan);
  const bool f32 = plan.precision == "f32";
  double touched = 0, gathered = 0, gatheredExperts = 0;
  for (const PartCost &part : held) {
    double time = 0;
    if (plan.zero < 2) {
      const double bytes = part.parameters * plan.gradientBytes;
      const double expertBytes = part.expertParameters * plan.gradientBytes;
      time = plan.zero == 0 ? allReduceTime(cluster, dense, bytes) +
                                  allReduceTime(cluster, experts, expertBytes)
                            : reduceScatterTime(cluster, dense, bytes) +
                                  reduceScatterTime(cluster, experts, expertBytes);
    }
    finish.reduce += time;
    finish.lastPart = std::max(finish.lastPart, time);
    finish.cover += part.backwardCompute();
    const double divided = plan.zero >= 1 ? 1 : 0;
    const double own = part.parameters / (divided ? replicas(plan) : 1);
    const double ownExperts = part.expertParameters / (divided ? expertReplicas(plan) : 1);
    // Norm of the gradients; gradient and state read, state and parameter written.
    const double state = plan.optimizerBytes - (f32 ? 4 : 0);
    touched += (own + ownExperts) * (2 * plan.gradientBytes + 2 * state + (f32 ? 8 : 2));
    if (plan.zero == 1 || plan.zero == 2) {
      gathered += part.parameters * (f32 ? 4 : 2);
      gatheredExperts += part.expertParameters * (f32 ? 4 : 2);
    }
  }
  finish.update = touched / (cluster.device.memoryBandwidth * cluster.device.efficiency.memory) +
                  allGatherTime(cluster, dense, gathered) +
                  allGatherTime(cluster, experts, gatheredExperts);
  // The norm and the flag of overflow are summed over all ranks.
  const int ranks = cluster.devices();
  finish.update += 2 * allReduceTime(cluster, {ranks, 1}, 8);
  return finish;
}

/// Bytes that a rank takes beside its state and what it keeps, if it holds all of `parts`.
static double workspaceOf(const std::vector<PartCost> &parts, const Cluster &cluster) {
  double largest = 0, exchange = 0, output = 0, divided = 0;
  for (const PartCost &part : parts) {
    // What recompute makes again, and cotangents of about half of what a part keeps.
    largest = std::max(largest, part.recomputed + (part.recomputed + part.activations) / 2);
    exchange = std::max(exchange, part.exchangeBuffer);
    divided = std::max(divided, part.dividedBuffer);
    output = std::max(output, part.output);
  }
  return cluster.device.reserved + largest + exchange + 4 * output + divided;
}

/// The plan under the schedule's name whose placement it got: `auto` may take DualPipe's, where a
/// stage is on two ranks.
static Plan asPlaced(const Prediction &prediction) {
  Plan plan = prediction.plan;
  if (prediction.problem.numPaths() == 2)
    plan.schedule = {Kind::DualPipe, 1};
  return plan;
}

/// The parts of one rank of a prediction.
static std::vector<PartCost> partsOn(const ModelCost &model, const std::vector<PartCost> &parts,
                                     const Prediction &prediction, int rank) {
  std::vector<int> held;
  for (const int s : heldBy(prediction.problem, rank))
    for (int i = prediction.parts[s].first; i < prediction.parts[s].second; ++i)
      held.push_back(i);
  return heldParts(model, parts, held, prediction.plan);
}

/// Adds what follows the pipeline to its makespan: each rank goes on when its own work ends.
static void addFinish(const ModelCost &model, const std::vector<PartCost> &parts,
                      const Cluster &cluster, Prediction &prediction) {
  const Plan plan = asPlaced(prediction);
  const Timing &timing = prediction.timing;
  double reduced = 0, done = 0;
  for (int rank = 0; rank < plan.pp; ++rank) {
    const Finish finish = finishOf(partsOn(model, parts, prediction, rank), cluster, plan);
    double exposed = finish.reduce;
    if (plan.overlapGradients) {
      const double early =
          std::min(finish.reduce - finish.lastPart, finish.cover * cluster.contention);
      exposed = finish.reduce - early;
    }
    const double end = timing.finish[rank].empty() ? 0 : timing.finish[rank].back();
    // DualPipe's sum waits for the rank that holds the other copies.
    const double other =
        plan.schedule.name == Kind::DualPipe ? timing.finish[plan.pp - 1 - rank].back() : end;
    reduced = std::max(reduced, std::max(end, other) + exposed);
    done = std::max(done, finish.update);
  }
  prediction.step.pipeline = timing.makespan;
  prediction.step.gradients = std::max(0.0, reduced - timing.makespan);
  // The norm of the gradients holds up every rank until the last has its own.
  prediction.step.optimizer = done;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

static void addMemory(const ModelCost &model, const std::vector<PartCost> &parts,
                      const Cluster &cluster, Prediction &prediction) {
  const Plan plan = asPlaced(prediction);
  prediction.memory.assign(plan.pp, {});
  prediction.fullest = 0;
  for (int rank = 0; rank < plan.pp; ++rank) {
    Memory &memory = prediction.memory[rank];
    const std::vector<PartCost> held = partsOn(model, parts, prediction, rank);
    for (const PartCost &part : held) {
      const State state = stateOf(part, plan);
      memory.parameters += state.parameters;
      memory.gradients += state.gradients;
      memory.optimizer += state.optimizer;
    }
    memory.activations =
        prediction.timing.ranks[rank].peakBytes - prediction.problem.parameterBytes(rank);
    memory.workspace = workspaceOf(held, cluster);
    if (memory.total() > prediction.memory[prediction.fullest].total())
      prediction.fullest = rank;
  }
  prediction.memoryLimit = cluster.device.memory;
}

//===----------------------------------------------------------------------===//
// Prediction
//===----------------------------------------------------------------------===//

static void addRates(const ModelCost &model, const std::vector<PartCost> &parts,
                     const Cluster &cluster, Prediction &prediction) {
  const Plan &plan = prediction.plan;
  const double seconds = prediction.step.total();
  prediction.tokensPerStep = static_cast<double>(plan.globalBatch()) * model.sequence;
  prediction.tokensPerSecond = prediction.tokensPerStep / seconds;
  double again = 0;
  for (size_t i = 0; i < parts.size(); ++i)
    if (!model.parts[i].further)
      again += parts[i].recomputeFlops;
  prediction.modelFlops = model.flopsPerToken * prediction.tokensPerStep;
  prediction.hardwareFlops = prediction.modelFlops + again * prediction.tokensPerStep;
  const double share = seconds * plan.ranks();
  prediction.modelRate = prediction.modelFlops / share;
  prediction.hardwareRate = prediction.hardwareFlops / share;
  const auto &flops = cluster.device.flops;
  const auto bf16 = flops.find("bf16");
  const double peak =
      plan.precision != "f32" && bf16 != flops.end() ? bf16->second : flops.at(plan.precision);
  prediction.mfu = prediction.modelRate / peak;
  prediction.hfu = prediction.hardwareRate / peak;
  prediction.bubble = prediction.timing.bubble();
  prediction.exposedCommunication =
      (prediction.timing.exposedCommunication() / plan.pp + prediction.step.gradients) / seconds;
}

Refusal moire::planner::predict(const ModelCost &model, const Cluster &cluster, const Plan &plan,
                                Prediction &prediction) {
  if (Refusal refusal = check(model, cluster, plan))
    return refusal;
  prediction = Prediction();
  prediction.plan = plan;
  const std::vector<PartCost> parts = costOfParts(model, cluster, plan);
  std::vector<double> times;
  for (const PartCost &part : parts)
    times.push_back(part.forwardCompute() + part.backwardCompute() + part.time.exchange +
                    part.time.exchangeBack + part.time.reduce + part.time.reduceBack);

  Workload workload;
  workload.ranks = plan.pp;
  workload.microBatches = plan.microBatches;
  workload.pieces = 1;
  workload.contention = cluster.contention;
  // A search for a schedule has to know its limit.
  if (plan.schedule.name == Kind::Auto)
    workload.memoryLimit = std::max(1.0, cluster.device.memory - workspaceOf(parts, cluster));
  const bool oneNode = cluster.nodes == 1;
  workload.link = oneNode ? cluster.within : cluster.between;
  workload.link.bandwidth *= cluster.device.efficiency.network;
  const auto ranges = cutParts(times, stageCount(model, plan));
  for (const std::pair<int, int> range : ranges)
    workload.parts.push_back(stageOf(parts, range, cluster, plan));
  if (Refusal refusal = schedule(workload, prediction))
    return refusal;
  // `auto` may have joined neighbours again.
  const size_t joined = ranges.size() / prediction.problem.stages.size();
  for (size_t s = 0; s < prediction.problem.stages.size(); ++s)
    prediction.parts.push_back({ranges[s * joined].first, ranges[(s + 1) * joined - 1].second});

  addFinish(model, parts, cluster, prediction);
  addMemory(model, parts, cluster, prediction);
  addRates(model, parts, cluster, prediction);
  return {};
}

//===----------------------------------------------------------------------===//
// What would fit
//===----------------------------------------------------------------------===//

/// Plans that differ from `plan` in one thing, or in micro-batch and recompute, and may take less
/// memory, with the words for it.
static std::vector<std::pair<Plan, std::string>> smaller(const Plan &plan) {
  std::vector<std::pair<Plan, std::string>> plans;
  const auto with = [&](auto change, const auto &...words) {
    Plan changed = plan;
    change(changed);
    plans.push_back({changed, text(words...)});
  };
  for (const Recompute recompute : {Recompute::Selective, Recompute::Full})
    if (recompute > plan.recompute)
      with([&](Plan &p) { p.recompute = recompute; }, "recompute ", name(recompute));
  for (int zero = plan.zero + 1; zero <= 3; ++zero)
    with([&](Plan &p) { p.zero = zero; }, "zero ", zero);
  for (int size = plan.microBatch / 2; size >= 1; size /= 2) {
    if (plan.microBatch % size)
      continue;
    const auto cut = [&](Plan &p) {
      p.microBatches *= plan.microBatch / size;
      p.microBatch = size;
    };
    with(cut, "micro-batches of ", size);
    for (const Recompute recompute : {Recompute::Selective, Recompute::Full})
      if (recompute > plan.recompute)
        with([&](Plan &p) { cut(p), p.recompute = recompute; }, "micro-batches of ", size,
             " with recompute ", name(recompute));
  }
  if (plan.schedule.name != Kind::OneFOneB)
    with([](Plan &p) { p.schedule = {Kind::OneFOneB, 1}; }, "schedule 1f1b");
  for (const int factor : {2, 4, 8}) {
    if (plan.dp % factor)
      continue;
    with([&](Plan &p) { p.dp /= factor, p.tp *= factor, p.microBatches *= factor; },
         "tp=", plan.tp * factor, " and dp=", plan.dp / factor);
    with([&](Plan &p) { p.dp /= factor, p.ep *= factor; }, "ep=", plan.ep * factor,
         " and dp=", plan.dp / factor);
    with([&](Plan &p) { p.dp /= factor, p.pp *= factor, p.microBatches *= factor; },
         "pp=", plan.pp * factor, " and dp=", plan.dp / factor);
  }
  return plans;
}

static std::string gigabytes(double bytes) {
  char words[32];
  std::snprintf(words, sizeof words, "%.1f", bytes / 1e9);
  return words;
}

Refusal moire::planner::refuseMemory(const ModelCost &model, const Cluster &cluster,
                                     const Prediction &prediction) {
  if (prediction.fits())
    return {};
  const std::string needs = text("pipeline rank ", prediction.fullest, " needs ",
                                 gigabytes(prediction.memory[prediction.fullest].total()),
                                 " GB of ", gigabytes(prediction.memoryLimit), "; ");
  Cluster limited = cluster;
  limited.device.memory = prediction.memoryLimit;
  std::string how;
  double best = 0, least = prediction.memory[prediction.fullest].total();
  for (const auto &[plan, words] : smaller(prediction.plan)) {
    Prediction tried;
    if (plan.schedule.name == Kind::Auto || predict(model, limited, plan, tried))
      continue;
    least = std::min(least, tried.memory[tried.fullest].total());
    if (tried.fits() && (how.empty() || tried.step.total() < best)) {
      best = tried.step.total();
      how = words;
    }
  }
  if (how.empty())
    return needs + "no change of one thing makes it fit, the best needs " + gigabytes(least) +
           " GB";
  return needs + how + " makes it fit";
}
