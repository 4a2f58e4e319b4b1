//===- Search.cpp - The schedule named auto -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Search.h"
#include "ListScheduler.h"
#include "Text.h"
#include <algorithm>
#include <cmath>
#include <random>

using namespace moire::scheduling;

namespace {

class SearchRun {
public:
  SearchRun(const SearchOptions &options, SearchResult &result)
      : result(result), budget(options.budget) {
    result = SearchResult();
    result.timing.makespan = INFINITY;
  }

  void tryGenerator(const Problem &problem, Kind kind) {
    Schedule schedule;
    if (Refusal refusal = generate(problem, kind, schedule)) {
      noteMemory(problem, schedule);
      return;
    }
    ++result.tried;
    const Timing timing = simulate(problem, schedule);
    if (result.generator.empty() || timing.makespan < result.generatorMakespan) {
      result.generator = kind.str();
      result.generatorMakespan = timing.makespan;
    }
    take(problem, schedule, timing, kind.str());
  }

  /// Policies on one placement: a grid, then steps from the best while they gain.
  void tryPolicies(const Problem &problem, const std::string &name, long share) {
    const long stop = budget - share;
    const long size = 3L * problem.totalMicroBatches() * problem.numStages();
    const std::vector<double> memory = memoryOf(problem);
    Policy best;
    double bestMakespan = INFINITY;
    auto attempt = [&](const Policy &policy) {
      budget -= size;
      ++result.tried;
      Schedule schedule;
      double makespan = 0;
      if (!listSchedule(problem, policy, memory, schedule, makespan))
        return;
      if (makespan < bestMakespan * (1 - 1e-12)) {
        bestMakespan = makespan;
        best = policy;
        if (makespan < result.timing.makespan && orderMessages(problem, schedule) &&
            !verify(problem, schedule))
          take(problem, schedule, simulate(problem, schedule), "list schedule on " + name);
      }
    };
    for (double flight : {1.0, 1e9})
      for (double spare : {0.0, 1.0})
        for (double patience : {0.0, 1.0, 2.0})
          for (int order = 0; order < 4 && budget > stop; ++order) {
            Policy policy;
            policy.flight = flight, policy.spare = spare, policy.patience = patience;
            policy.flightMore = flight == 1 ? 1 : 0;
            policy.splitBelow = 0;
            policy.forwardDeep = order & 1, policy.backwardDeep = !(order & 2);
            attempt(policy);
            if (budget > stop) {
              policy.splitBelow = 1, policy.equalPairs = true;
              attempt(policy);
            }
          }
    std::mt19937 random(1);
    auto unit = [&] { return static_cast<double>(random() % 1001) / 1000; };
    while (budget > stop && std::isfinite(bestMakespan)) {
      Policy policy = best;
      for (int n = 1 + random() % 2; n > 0; --n)
        switch (random() % 11) {
        case 8:
          policy.flight = random() % 4 ? 0.7 + unit() * 0.8 : 1e9;
          break;
        case 9:
          policy.flightMore = random() % 4;
          break;
        case 10:
          policy.spare = random() % 4;
          break;
        case 0:
          policy.memoryFirst = std::clamp(policy.memoryFirst + (unit() - 0.5) * 0.3, 0.0, 1.0);
          break;
        case 1:
          policy.memoryLast = std::clamp(policy.memoryLast + (unit() - 0.5) * 0.3, 0.0, 1.0);
          break;
        case 2:
          policy.patience = 3 * unit();
          break;
        case 3:
          policy.gap = unit() * 1.5;
          break;
        case 4:
          policy.splitBelow = unit() * unit();
          break;
        case 5:
          policy.forwardDeep = !policy.forwardDeep;
          break;
        case 6:
          policy.backwardDeep = !policy.backwardDeep;
          break;
        case 7:
          policy.equalPairs = !policy.equalPairs;
          break;
        }
      attempt(policy);
    }
  }

  /// Small steps from the best schedule of all.
  void improve(long share) {
    if (std::isinf(result.timing.makespan))
      return;
    Schedule schedule = result.schedule;
    improveSchedule(result.problem, memoryOf(result.problem), share, schedule);
    if (!orderMessages(result.problem, schedule) || verify(result.problem, schedule))
      return;
    const Problem problem = result.problem;
    take(problem, schedule, simulate(problem, schedule), result.how + ", improved");
  }

  Refusal finish(const std::string &why, double limit) {
    if (std::isinf(result.timing.makespan))
      return !why.empty() ? why
                          : text("no schedule that was tried keeps the memory limit of ", limit,
                                 "; use a limit of ", least);
    result.bound = makespanBound(result.problem);
    return {};
  }

private:
  SearchResult &result;
  long budget;
  double least = INFINITY;

  /// Bytes of activations that each rank may hold.
  static std::vector<double> memoryOf(const Problem &problem) {
    std::vector<double> memory;
    double all = 1;
    for (const StageCost &cost : problem.stages)
      all += cost.activationBytes * problem.totalMicroBatches();
    for (int r = 0; r < problem.ranks; ++r)
      memory.push_back(problem.unlimited()
                           ? all
                           : problem.memoryLimit * (1 + 1e-12) - problem.parameterBytes(r));
    return memory;
  }

  void take(const Problem &problem, const Schedule &schedule, Timing timing,
            const std::string &how) {
    if (!(timing.makespan < result.timing.makespan))
      return;
    result.problem = problem;
    result.schedule = schedule;
    result.timing = std::move(timing);
    result.how = how;
  }
  void noteMemory(const Problem &problem, const Schedule &schedule) {
    if (schedule.ranks.empty())
      return;
    double most = 0;
    for (int r = 0; r < problem.ranks; ++r)
      most =
          std::max(most, problem.parameterBytes(r) + peakMemory(problem, schedule.ranks[r]).bytes);
    least = std::min(least, most);
  }
};

} // namespace

Refusal moire::scheduling::searchSchedule(const Workload &workload, const SearchOptions &options,
                                          SearchResult &result) {
  SearchRun run(options, result);
  std::string why; // nothing can be placed because
  bool placed = false;
  std::vector<Kind> kinds = generatorKinds();
  for (int chunks = 3; chunks <= options.stagesPerRank; ++chunks)
    kinds.push_back({Kind::Interleaved, chunks});
  std::vector<std::pair<std::string, Problem>> places;
  for (Kind kind : kinds) {
    Problem problem;
    if (Refusal refusal = place(workload, kind, problem)) {
      if (why.empty())
        why = *refusal;
      continue;
    }
    placed = true;
    run.tryGenerator(problem, kind);
    if (kind.name == Kind::OneFOneB || kind.name == Kind::DualPipe ||
        kind.name == Kind::Interleaved)
      places.push_back(
          {text(kind.name == Kind::OneFOneB   ? "one stage a rank"
                : kind.name == Kind::DualPipe ? std::string("dualpipe's placement")
                                              : text(kind.chunks, " stages a rank in cycles")),
           problem});
  }
  for (int perRank = 2; perRank <= options.stagesPerRank; perRank += 2) {
    Problem problem;
    if (!placeSnake(workload, perRank, problem)) {
      placed = true;
      places.push_back({text(perRank, " stages a rank, down and up"), problem});
    }
  }
  for (size_t i = 0; i < places.size(); ++i)
    run.tryPolicies(places[i].second, places[i].first,
                    options.budget / 2 / static_cast<long>(places.size()));
  run.improve(options.budget / 2);
  return run.finish(placed ? std::string() : why, workload.memoryLimit);
}

Refusal moire::scheduling::searchPlaced(const Problem &problem, const SearchOptions &options,
                                        SearchResult &result) {
  if (Refusal refusal = check(problem))
    return refusal;
  SearchRun run(options, result);
  const int perRank = (problem.numStages() + problem.ranks - 1) / problem.ranks;
  std::vector<Kind> kinds = generatorKinds();
  kinds.push_back({Kind::Interleaved, perRank});
  for (Kind kind : kinds)
    if (!check(problem, kind))
      run.tryGenerator(problem, kind);
  run.tryPolicies(problem, "the given placement", options.budget / 2);
  run.improve(options.budget / 2);
  return run.finish({}, problem.memoryLimit);
}
