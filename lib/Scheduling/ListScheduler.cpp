//===- ListScheduler.cpp - Schedules made action by action ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Of all ranks the one acts whose next action starts first; then nothing that is placed later can
// come before it, and each choice sees exactly what its rank would see at that time.
//
//===----------------------------------------------------------------------===//
#include "ListScheduler.h"
#include "Graph.h"
#include <algorithm>
#include <cmath>

using namespace moire::scheduling;

namespace {

constexpr double kNever = 1e300;

class ListScheduler {
public:
  ListScheduler(const Problem &problem, const Policy &policy, const std::vector<double> &memory)
      : problem(problem), policy(policy), S(problem.numStages()), cells(problem),
        forwardAt(cells.size(), kNever), backwardAt(cells.size(), kNever), ranks(problem.ranks) {
    for (int r = 0; r < problem.ranks; ++r)
      ranks[r].room = memory[r];
    for (int path = 0; path < problem.numPaths(); ++path)
      for (int s = 0; s < S; ++s) {
        Rank &rank = ranks[problem.rankOf[path][s]];
        rank.lanes.push_back({path, s, 0, 0, kNever});
        rank.total += problem.microBatches[path];
        if (s == 0)
          for (int m = 0; m < problem.microBatches[path]; ++m)
            forwardAt[cells.of(path, 0, m)] = 0;
      }
    for (Rank &rank : ranks)
      rank.left = rank.total;
    boundFlight();
  }

  bool run(Schedule &schedule, double &makespan) {
    schedule = Schedule();
    schedule.ranks.resize(ranks.size());
    for (size_t r = 0; r < ranks.size(); ++r)
      choose(static_cast<int>(r));
    while (true) {
      int first = -1;
      for (size_t r = 0; r < ranks.size(); ++r)
        if (ranks[r].begin < kNever && (first < 0 || ranks[r].begin < ranks[first].begin))
          first = static_cast<int>(r);
      if (first < 0)
        break;
      commit(first, schedule);
    }
    makespan = 0;
    for (const Rank &rank : ranks) {
      if (rank.left > 0 || rank.weighed < rank.weights.size())
        return false;
      for (const Lane &lane : rank.lanes)
        if (lane.backward < problem.microBatches[lane.path])
          return false;
      makespan = std::max(makespan, rank.free);
    }
    return true;
  }

private:
  /// A stage on a rank: micro-batches go through in order.
  struct Lane {
    int path, stage, forward, backward;
    double flight = kNever; // forwards that may be without their backward
  };
  struct Rank {
    std::vector<Lane> lanes;
    std::vector<Task> weights;
    size_t weighed = 0;
    double free = 0, held = 0, room = 0;
    int total = 0, left = 0; // forwards
    Action action;
    double begin = kNever;
  };
  const Problem &problem;
  const Policy &policy;
  const int S;
  Cells cells;
  std::vector<double> forwardAt, backwardAt; // when inputs arrive
  std::vector<Rank> ranks;

  /// Little's law: what is in flight is how long a micro-batch is away, going through the later
  /// stages and back in slots of pairs, over the time in which a rank takes another.
  void boundFlight() {
    double period = 0;
    std::vector<double> slot;
    for (int s = 0; s < S; ++s)
      slot.push_back(actionCost(
          problem, Action(Task{TaskKind::Forward, 0, s, 1}, Task{TaskKind::Backward, 0, s, 0})));
    for (const Rank &rank : ranks) {
      double work = 0;
      for (const Lane &lane : rank.lanes)
        work += slot[lane.stage] * problem.microBatches[lane.path] / problem.totalMicroBatches();
      period = std::max(period, work);
    }
    for (Rank &rank : ranks)
      for (Lane &lane : rank.lanes) {
        double away = slot[lane.stage];
        for (int s = lane.stage + 1; s < S; ++s)
          away += 2 * slot[s];
        const double each = period * problem.totalMicroBatches() / problem.microBatches[lane.path];
        if (each > 0)
          lane.flight = std::ceil(policy.flight * away / each - 1e-9) + policy.flightMore;
      }
  }

  /// Memory that must stay free when this lane starts a forward: one activation of every later
  /// stage of the path here, and of each other path that has none in flight.
  double reserve(const Rank &rank, const Lane &lane) const {
    double bytes = 0;
    for (const Lane &other : rank.lanes)
      if (other.path == lane.path ? other.stage > lane.stage : other.forward == other.backward)
        bytes += problem.stages[other.stage].activationBytes;
    return bytes;
  }

  double share(int r) const {
    const double at = problem.ranks > 1 ? static_cast<double>(r) / (problem.ranks - 1) : 0;
    // Paths that enter at both ends see the ranks from both ends.
    const double depth = problem.numPaths() > 1 ? 1 - std::abs(2 * at - 1) : at;
    return policy.memoryFirst + (policy.memoryLast - policy.memoryFirst) * depth;
  }

  /// A forward that runs alone leaves room for one more: a pair holds its forward's activation
  /// before it frees its backward's, and a rank that is full could only run backwards alone.
  bool fits(int r, const Rank &rank, const Lane &lane, bool alone) const {
    if (lane.forward - lane.backward >= lane.flight + (alone ? 0 : 1))
      return false;
    const double need = problem.stages[lane.stage].activationBytes;
    const double spare = alone && rank.held > 0 ? policy.spare * need : 0;
    const double after = rank.held + need + spare + reserve(rank, lane);
    if (after > rank.room)
      return false;
    // The policy's fraction binds only what starts a micro-batch on this rank.
    return reserve(rank, lane) == 0 || rank.held == 0 || after <= rank.room * share(r) ||
           lane.stage > S / 2;
  }

  struct Candidate {
    int lane = -1;
    double begin = kNever;
  };

  Candidate bestForward(int r, bool alone, int except = -1) const {
    const Rank &rank = ranks[r];
    Candidate best;
    for (size_t i = 0; i < rank.lanes.size(); ++i) {
      const Lane &lane = rank.lanes[i];
      if (static_cast<int>(i) == except || lane.forward == problem.microBatches[lane.path] ||
          !fits(r, rank, lane, alone))
        continue;
      consider(best, static_cast<int>(i), forwardAt[cells.of(lane.path, lane.stage, lane.forward)],
               r, policy.forwardDeep, lane.forward);
    }
    return best;
  }
  Candidate bestBackward(int r, int except = -1) const {
    const Rank &rank = ranks[r];
    Candidate best;
    for (size_t i = 0; i < rank.lanes.size(); ++i) {
      const Lane &lane = rank.lanes[i];
      if (static_cast<int>(i) == except || lane.backward == lane.forward)
        continue;
      consider(best, static_cast<int>(i),
               backwardAt[cells.of(lane.path, lane.stage, lane.backward)], r, policy.backwardDeep,
               lane.backward);
    }
    return best;
  }
  void consider(Candidate &best, int lane, double arrival, int r, bool deep, int m) const {
    if (arrival >= kNever)
      return;
    const Rank &rank = ranks[r];
    const double begin = std::max(rank.free, arrival);
    bool better = best.lane < 0 || begin < best.begin;
    if (best.lane >= 0 && begin == best.begin) {
      const Lane &a = rank.lanes[lane], &b = rank.lanes[best.lane];
      if (a.path != b.path)
        better = m < std::max(b.forward, 0); // the path that is behind
      else
        better = deep == (a.stage > b.stage);
    }
    if (better)
      best = {lane, begin};
  }

  Task forwardTask(const Rank &rank, int lane) const {
    const Lane &l = rank.lanes[lane];
    return {TaskKind::Forward, l.path, l.stage, l.forward};
  }
  Task backwardTask(const Rank &rank, int lane, bool split) const {
    const Lane &l = rank.lanes[lane];
    return {split ? TaskKind::BackwardInput : TaskKind::Backward, l.path, l.stage, l.backward};
  }
  /// A full backward may not add its weights before those of earlier micro-batches that wait.
  bool mustSplit(const Rank &rank, int lane) const {
    for (size_t i = rank.weighed; i < rank.weights.size(); ++i)
      if (rank.weights[i].stage == rank.lanes[lane].stage &&
          rank.weights[i].path == rank.lanes[lane].path)
        return true;
    return false;
  }
  double saved(const Action &pair) const {
    return taskCost(problem, pair.first) + taskCost(problem, *pair.second) -
           actionCost(problem, pair);
  }

  /// Sets what a rank would do next, given what is known of arrivals.
  void choose(int r) {
    Rank &rank = ranks[r];
    rank.begin = kNever;
    const Candidate b = bestBackward(r);
    Candidate f = bestForward(r, false);
    const bool pending = rank.weighed < rank.weights.size();
    if (f.lane >= 0 && b.lane >= 0) {
      const bool split = mustSplit(rank, b.lane);
      Action pair(forwardTask(rank, f.lane), backwardTask(rank, b.lane, split));
      const double gain = saved(pair);
      if (gain > 0 && std::abs(f.begin - b.begin) <= policy.patience * gain) {
        set(rank, pair, std::max(f.begin, b.begin));
      } else if (split && gain <= 0 && !rank.weights.empty()) {
        // Weights that wait keep F from pairing with a full B: clear them when that pair saves.
        const Action full(pair.first, backwardTask(rank, b.lane, false));
        if (saved(full) > 0 && std::abs(f.begin - b.begin) <= policy.patience * saved(full))
          return set(rank, rank.weights[rank.weighed], rank.free);
      }
    }
    f = bestForward(r, true);
    if (rank.begin == kNever && b.lane >= 0 && b.begin <= f.begin) {
      const bool split = mustSplit(rank, b.lane) || rank.left <= policy.splitBelow * rank.total;
      set(rank, backwardTask(rank, b.lane, split), b.begin);
      const Candidate other = policy.equalPairs ? bestBackward(r, b.lane) : Candidate();
      if (other.lane >= 0 && other.begin <= b.begin) {
        const bool too = split || mustSplit(rank, other.lane);
        const Action pair(backwardTask(rank, b.lane, too), backwardTask(rank, other.lane, too));
        if (saved(pair) > 0)
          set(rank, pair, b.begin);
      }
    }
    if (rank.begin == kNever && f.lane >= 0) {
      set(rank, forwardTask(rank, f.lane), f.begin);
      const Candidate other = policy.equalPairs ? bestForward(r, true, f.lane) : Candidate();
      if (other.lane >= 0 && other.begin <= f.begin) {
        const Action pair(forwardTask(rank, f.lane), forwardTask(rank, other.lane));
        const double bytes = problem.stages[pair.first.stage].activationBytes +
                             problem.stages[pair.second->stage].activationBytes;
        if (saved(pair) > 0 && rank.held + bytes <= rank.room)
          set(rank, pair, f.begin);
      }
    }
    if (pending) {
      const Task &weight = rank.weights[rank.weighed];
      if (rank.begin - rank.free >= policy.gap * taskCost(problem, weight) &&
          rank.begin > rank.free)
        set(rank, weight, rank.free);
    }
  }
  void set(Rank &rank, const Action &action, double begin) {
    rank.action = action;
    rank.begin = begin;
  }

  void commit(int r, Schedule &schedule) {
    Rank &rank = ranks[r];
    const Action action = rank.action;
    rank.free = rank.begin + actionCost(problem, action);
    schedule.ranks[r].push_back(action);
    int woken[2] = {-1, -1};
    for (int i = 0; i < action.size(); ++i)
      woken[i] = finish(r, action[i]);
    choose(r);
    for (int other : woken)
      if (other >= 0 && other != r)
        choose(other);
  }

  /// Books a task that ends at rank.free; returns the rank that gets its result.
  int finish(int r, const Task &task) {
    Rank &rank = ranks[r];
    const StageCost &cost = problem.stages[task.stage];
    if (task.kind == TaskKind::BackwardWeight) {
      ++rank.weighed;
      rank.held -= cost.residualBytes();
      return -1;
    }
    for (Lane &lane : rank.lanes)
      if (lane.path == task.path && lane.stage == task.stage)
        ++(task.isForward() ? lane.forward : lane.backward);
    if (task.isForward()) {
      rank.held += cost.activationBytes;
      --rank.left;
      if (task.stage + 1 == S)
        backwardAt[cells.of(task)] = rank.free;
    } else if (task.kind == TaskKind::Backward) {
      rank.held -= cost.activationBytes;
    } else {
      rank.held -= cost.activationBytes - cost.residualBytes();
      Task weight = task;
      weight.kind = TaskKind::BackwardWeight;
      rank.weights.push_back(weight);
    }
    const int to = task.stage + (task.isForward() ? 1 : -1);
    if (to < 0 || to >= S)
      return -1;
    const int other = problem.rankOf[task.path][to];
    double at = rank.free;
    if (other != r) {
      const Link &link = problem.linkOf(r, other);
      at += link.latency + problem.stages[std::min(to, task.stage)].outputBytes / link.bandwidth;
    }
    (task.isForward() ? forwardAt : backwardAt)[cells.of(task.path, to, task.microBatch)] = at;
    return other;
  }
};

} // namespace

bool moire::scheduling::listSchedule(const Problem &problem, const Policy &policy,
                                     const std::vector<double> &memory, Schedule &schedule,
                                     double &makespan) {
  return ListScheduler(problem, policy, memory).run(schedule, makespan);
}
