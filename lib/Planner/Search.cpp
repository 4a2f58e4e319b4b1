//===- Search.cpp - The plan for a cluster and a batch ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
//   1. Every mesh, micro-batch and recompute that divides what it must is costed once per part;
//      every schedule that takes it gets an estimate of time and memory from closed formulas.
//   2. The best estimates that fit are simulated, at most SearchOptions::simulate for each way to
//      divide state (zero), so that trying one more of these never loses a plan, and none whose
//      work alone takes longer than the best step found.
//   3. What was simulated is ordered by its step; the reasons compare with the best.
//
//===----------------------------------------------------------------------===//
#include "moire/Planner/Search.h"
#include "../Scheduling/Text.h"
#include "Estimate.h"
#include "Stages.h"
#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

using namespace moire::planner;
using namespace moire::cost;
using moire::scheduling::Kind;
using moire::scheduling::text;

static std::string format(const char *how, double value) {
  char words[64];
  std::snprintf(words, sizeof words, how, value);
  return words;
}
static std::string percent(double share) { return format("%.1f", 100 * share) + " %"; }
static std::string gigabytes(double bytes) { return format("%.1f", bytes / 1e9) + " GB"; }

//===----------------------------------------------------------------------===//
// What plans there are
//===----------------------------------------------------------------------===//

static bool allowed(const std::vector<int> &values, int value) {
  return values.empty() || std::find(values.begin(), values.end(), value) != values.end();
}

/// Axes that are tried: all divisors that are powers of two or have been asked for, and for pp all.
static bool tried(const std::vector<int> &asked, int value) {
  return asked.empty() ? (value & (value - 1)) == 0 : allowed(asked, value);
}

static std::vector<Kind> kindsFor(const SearchOptions &options, int pp, int parts) {
  if (!options.schedules.empty())
    return options.schedules;
  if (pp == 1)
    return {{Kind::OneFOneB, 1}}; // all others do the same in another order
  std::vector<Kind> kinds = moire::scheduling::generatorKinds();
  for (const int chunks : {3, 4, 6, 8})
    if (pp * chunks <= parts)
      kinds.push_back({Kind::Interleaved, chunks});
  return kinds;
}

namespace {
/// Plans of one search with their estimates, in the order in which they are made.
struct Space {
  const ModelCost &model;
  const Cluster &cluster;
  const long batch;
  const SearchOptions &options;
  std::vector<Estimated> plans = {};
  int meshes = 0;       ///< that have the asked axes
  int dividing = 0;     ///< of them, those that divide the batch
  Refusal refusal = {}; ///< the first of a plan that does

  void addMesh(Plan plan);
  void addAll();
};
} // namespace

void Space::addMesh(Plan plan) {
  const long pipelines = static_cast<long>(plan.dp) * plan.ep;
  ++meshes;
  if (batch % pipelines)
    return;
  ++dividing;
  const long sequences = batch / pipelines;
  const int parts = static_cast<int>(model.parts.size());
  const std::vector<int> zeros = !options.zero.empty() ? options.zero
                                 : pipelines > 1       ? std::vector<int>{1, 2, 3}
                                                       : std::vector<int>{1};
  for (int microBatch = 1; microBatch <= sequences && microBatch <= 64; ++microBatch) {
    if (sequences % microBatch || !tried(options.microBatch, microBatch))
      continue;
    plan.microBatch = microBatch;
    plan.microBatches = static_cast<int>(sequences / microBatch);
    for (const Recompute recompute : {Recompute::None, Recompute::Selective, Recompute::Full}) {
      if (!options.recompute.empty() &&
          std::find(options.recompute.begin(), options.recompute.end(), recompute) ==
              options.recompute.end())
        continue;
      plan.recompute = recompute;
      std::vector<Kind> kinds;
      Estimator estimator(model, cluster, plan);
      for (const Kind kind : kindsFor(options, plan.pp, parts)) {
        plan.schedule = kind;
        plan.zero = zeros.front();
        if (Refusal found = check(model, cluster, plan)) {
          if (!refusal)
            refusal = found;
          continue;
        }
        kinds.push_back(kind);
      }
      for (const int zero : zeros) {
        plan.zero = zero;
        for (const Kind kind : kinds) {
          plan.schedule = kind;
          plans.push_back(estimator.estimate(plan));
        }
      }
    }
  }
}

void Space::addAll() {
  const int devices = cluster.devices();
  const int parts = static_cast<int>(model.parts.size());
  int experts = 0;
  for (const Part &part : model.parts)
    experts = std::max(experts, part.experts);
  Plan plan = options.base;
  for (int tp = 1; tp <= std::min(cluster.devicesPerNode, model.heads); ++tp) {
    if (devices % tp || model.heads % tp || !tried(options.tp, tp))
      continue;
    plan.tp = tp;
    for (int pp = 1; pp <= std::min(devices / tp, parts); ++pp) {
      if (devices / tp % pp || !allowed(options.pp, pp))
        continue;
      plan.pp = pp;
      const int rest = devices / tp / pp;
      for (int ep = 1; ep <= std::min(rest, std::max(1, experts)); ++ep) {
        if (rest % ep || (experts > 0 && experts % ep) || !tried(options.ep, ep) ||
            !allowed(options.dp, rest / ep))
          continue;
        plan.ep = ep;
        plan.dp = rest / ep;
        addMesh(plan);
      }
    }
  }
}

//===----------------------------------------------------------------------===//
// Reasons
//===----------------------------------------------------------------------===//

/// Why `other` takes longer than `best`: how much, and the one thing that costs it the most.
static std::string reasonFor(const Prediction &best, const Prediction &other) {
  const auto exposed = [](const Prediction &p) {
    return p.timing.exposedCommunication() / p.plan.pp + p.step.gradients;
  };
  const auto idle = [](const Prediction &p) { return p.bubble * p.step.pipeline; };
  const auto work = [&](const Prediction &p) {
    return p.step.pipeline - idle(p) - p.timing.exposedCommunication() / p.plan.pp;
  };
  const double slower = other.step.total() / best.step.total() - 1;
  struct Loss {
    double seconds;
    std::string words;
  };
  // A bubble may hide communication, so the two may trade places.
  std::vector<Loss> losses = {
      {idle(other) - idle(best),
       "bubble " + percent(other.bubble) + " instead of " + percent(best.bubble)},
      {exposed(other) - exposed(best),
       "exposed communication " + percent(exposed(other) / other.step.total()) + " instead of " +
           percent(exposed(best) / best.step.total())},
      {other.step.optimizer - best.step.optimizer,
       "optimizer " + format("%.2f", other.step.optimizer) + " s instead of " +
           format("%.2f", best.step.optimizer)}};
  const double again = (other.hardwareFlops - best.hardwareFlops) / best.modelFlops;
  if (again > 0.005)
    losses.push_back({work(other) - work(best), "recompute adds " + percent(again) + " of FLOPs"});
  else
    losses.push_back({work(other) - work(best), "computation " + format("%.2f", work(other)) +
                                                    " s a rank instead of " +
                                                    format("%.2f", work(best))});
  const Loss &most =
      *std::max_element(losses.begin(), losses.end(),
                        [](const Loss &a, const Loss &b) { return a.seconds < b.seconds; });
  if (slower < 0.0005)
    return "as fast";
  return percent(slower) + " slower: " + most.words;
}

/// Where nothing fits.
static std::string nothingFits(const ModelCost &model, const Cluster &cluster, double limit,
                               const std::vector<Estimated> &plans) {
  const Estimated &least =
      *std::min_element(plans.begin(), plans.end(),
                        [](const Estimated &a, const Estimated &b) { return a.memory < b.memory; });
  Prediction prediction;
  double need = least.memory;
  if (!predict(model, cluster, least.plan, prediction))
    need = prediction.memory[prediction.fullest].total();
  return text(model.name, " on ", cluster.devices(), " devices of '", cluster.name, "' needs ",
              gigabytes(need), " a device with the least plan (", least.plan.mesh(), ", ",
              least.plan.schedule.str(), ", recompute ", name(least.plan.recompute), ", zero ",
              least.plan.zero, ", micro-batches of ", least.plan.microBatch,
              "), above the limit of ", gigabytes(limit), "; use a limit of ", gigabytes(need),
              " or more devices");
}

/// Where there is no plan at all.
static std::string noPlan(Space &space, const Cluster &cluster) {
  if (space.meshes == 0) {
    std::string asked;
    const std::pair<const char *, const std::vector<int> *> axes[] = {{"dp", &space.options.dp},
                                                                      {"pp", &space.options.pp},
                                                                      {"ep", &space.options.ep},
                                                                      {"tp", &space.options.tp}};
    for (const auto &[axis, values] : axes)
      for (const int value : *values)
        asked += text(asked.empty() ? "" : ",", axis, "=", value);
    return text("no mesh of the ", cluster.devices(), " devices of '", cluster.name, "' has ",
                asked, " for ", space.model.name, " with its ", space.model.parts.size(),
                " parts and ", space.model.heads,
                " key heads; use axes that divide the devices, and tp inside a node of ",
                cluster.devicesPerNode);
  }
  if (space.dividing > 0 && space.refusal)
    return *space.refusal;
  std::vector<long> near;
  for (const int direction : {-1, 1})
    for (long batch = space.batch + direction; batch >= 1 && std::abs(batch - space.batch) <= 4096;
         batch += direction) {
      SearchOptions one = space.options;
      Space other{space.model, cluster, batch, one};
      // The cheapest test: some mesh takes it.
      other.addAll();
      if (other.dividing > 0) {
        near.push_back(batch);
        break;
      }
    }
  std::string use;
  for (const long batch : near)
    use += text(use.empty() ? "" : " or ", batch);
  return text("no mesh of the ", cluster.devices(), " devices of '", cluster.name,
              "' divides a global batch of ", space.batch, " sequences; use ",
              use.empty() ? "fewer devices" : use);
}

//===----------------------------------------------------------------------===//
// Search
//===----------------------------------------------------------------------===//

/// Drops the schedule and its times, which a runner-up does not need to keep.
static Prediction summary(const Prediction &prediction) {
  Prediction kept = prediction;
  kept.schedule = {};
  for (auto *times : {&kept.timing.start, &kept.timing.finish})
    times->clear();
  return kept;
}

static void addTooLarge(const ModelCost &model, const Cluster &cluster,
                        const std::vector<Estimated> &plans, const SearchOptions &options,
                        Found &found) {
  std::set<std::string> seen;
  int fixed = 0, left = options.simulate; // of predictions; estimates are off by some percent
  for (const Estimated &estimated : plans) {
    if (fixed >= options.tooLarge || left == 0 || estimated.seconds >= 1.1 * found.bestGenerated)
      break;
    const std::string key = estimated.plan.mesh();
    if (estimated.memory <= cluster.device.memory || estimated.least >= found.bestGenerated ||
        seen.count(key))
      continue;
    Prediction prediction;
    --left;
    if (predict(model, cluster, estimated.plan, prediction) || prediction.fits() ||
        prediction.step.total() >= found.bestGenerated)
      continue;
    seen.insert(key);
    const Refusal reason = refuseMemory(model, cluster, prediction);
    const bool fixable = reason->find("no change") == std::string::npos;
    found.tooLarge.insert(fixable ? found.tooLarge.begin() + fixed++ : found.tooLarge.end(),
                          {summary(prediction), *reason});
  }
  if (static_cast<int>(found.tooLarge.size()) > options.tooLarge)
    found.tooLarge.resize(options.tooLarge);
}

Refusal moire::planner::search(const ModelCost &model, const Cluster &cluster, long globalBatch,
                               const SearchOptions &options, Found &found) {
  found = Found();
  if (globalBatch < 1 || globalBatch > 1 << 24)
    return text("a global batch of ", globalBatch, " sequences; use 1 to ", 1 << 24);
  if (Refusal refusal = checkDtype(cluster, options.base.precision))
    return refusal;
  Cluster limited = cluster;
  if (options.memoryLimit > 0)
    limited.device.memory = options.memoryLimit;

  // 1.
  Space space{model, limited, globalBatch, options};
  space.addAll();
  if (space.plans.empty())
    return noPlan(space, limited);
  found.considered = static_cast<long>(space.plans.size());
  std::stable_sort(space.plans.begin(), space.plans.end(),
                   [](const Estimated &a, const Estimated &b) { return a.seconds < b.seconds; });

  // 2.
  // A schedule that is searched for takes a second.
  const bool searches = std::any_of(options.schedules.begin(), options.schedules.end(),
                                    [](Kind kind) { return kind.name == Kind::Auto; });
  const int ways = options.zero.empty() ? 3 : static_cast<int>(options.zero.size());
  const int most = searches ? std::min(options.simulate, std::max(1, 6 / ways)) : options.simulate;
  Refusal refused;
  std::map<int, int> simulated; // of each zero
  std::vector<Prediction> done;
  double best = std::numeric_limits<double>::infinity();
  for (const Estimated &estimated : space.plans) {
    int &ofThis = simulated[estimated.plan.zero];
    if (ofThis >= most && (best < std::numeric_limits<double>::infinity() || searches))
      continue;
    if (estimated.memory > limited.device.memory || estimated.least >= best)
      continue;
    Prediction prediction;
    ++found.simulated, ++ofThis;
    if (Refusal refusal = predict(model, limited, estimated.plan, prediction)) {
      refused = refusal; // `auto` within the limit
      continue;
    }
    if (!prediction.fits())
      continue;
    best = std::min(best, prediction.step.total());
    done.push_back(std::move(prediction));
  }
  if (done.empty() && searches && refused)
    return refused;
  if (done.empty())
    return nothingFits(model, limited, limited.device.memory, space.plans);

  // 3.
  const auto byStep = [](const Prediction &a, const Prediction &b) {
    return a.step.total() < b.step.total();
  };
  std::stable_sort(done.begin(), done.end(), byStep);
  const size_t generated = done.size();
  found.bestGenerated = done.front().step.total();
  std::set<int> searchedFor;
  for (size_t i = 0; i < generated && options.searchSchedules && options.schedules.empty(); ++i) {
    Prediction prediction;
    Plan plan = done[i].plan;
    plan.schedule = {Kind::Auto, 1};
    // Beyond that a schedule hardly makes up for the rest.
    if (done[i].step.total() > 1.1 * found.bestGenerated)
      break;
    if (plan.pp == 1 || !searchedFor.insert(plan.zero).second)
      continue;
    ++found.simulated;
    if (!predict(model, limited, plan, prediction) && prediction.fits())
      done.push_back(std::move(prediction));
  }
  std::stable_sort(done.begin(), done.end(), byStep);
  found.best = done.front();
  std::set<std::string> seen = {found.best.plan.mesh() + " " + found.best.plan.schedule.str()};
  for (const Prediction &prediction : done) {
    if (static_cast<int>(found.runnersUp.size()) >= options.runnersUp)
      break;
    if (seen.insert(prediction.plan.mesh() + " " + prediction.plan.schedule.str()).second)
      found.runnersUp.push_back({summary(prediction), reasonFor(found.best, prediction)});
  }
  addTooLarge(model, limited, space.plans, options, found);
  return {};
}

TrainingCost moire::planner::trainingCost(const Prediction &prediction, const Cluster &cluster,
                                          double tokens) {
  TrainingCost cost;
  cost.steps = tokens / prediction.tokensPerStep;
  cost.seconds = cost.steps * prediction.step.total();
  cost.deviceHours = cost.seconds / 3600 * prediction.plan.ranks();
  cost.price = cost.deviceHours * cluster.device.pricePerHour;
  return cost;
}
