//===- Join.cpp - Tasks beside each other in a schedule become pairs ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Join.h"
#include "moire/Scheduling/Simulator.h"

using namespace moire::scheduling;

/// A pair holds what both tasks have: W and F for a moment one activation's weights more.
static constexpr double kMoreMemory = 0.1;

/// What both could be at once, where that would hide anything as far as they tell by themselves.
static std::optional<Action> joinOf(const Problem &problem, const Action &a, const Action &b,
                                    bool makesPairs) {
  if (a.second || b.second)
    return {};
  const Task &x = a.first, &y = b.first;
  // One micro-batch's tasks on a rank wait for each other.
  const bool mayPair = x.path != y.path || x.microBatch != y.microBatch;
  const bool isBackward = !mayPair && x.stage == y.stage && x.kind == TaskKind::BackwardInput;
  if (makesPairs ? !mayPair : !isBackward)
    return {};
  const Action joined =
      mayPair ? Action(x, y) : Action(Task{TaskKind::Backward, x.path, x.stage, x.microBatch});
  if (actionCost(problem, joined) < taskCost(problem, x) + taskCost(problem, y))
    return joined;
  return {};
}

int moire::scheduling::joinNeighbours(Problem problem, Schedule &schedule, int attempts) {
  problem.ordersOps = true;
  const bool ordered = !schedule.messages.empty();
  schedule.messages.clear();
  Timing best = simulate(problem, schedule);
  int joined = 0;
  // A W hides more beside another micro-batch's task than beside its own b, which then stays alone.
  for (int turn = 0; turn < 2 * problem.ranks; ++turn) {
    const int rank = turn % problem.ranks;
    std::vector<Action> &actions = schedule.ranks[rank];
    const Peak before = peakMemory(problem, actions);
    for (size_t i = 0; i + 1 < actions.size() && attempts > 0; ++i) {
      const std::optional<Action> both = joinOf(problem, actions[i], actions[i + 1], /*makesPairs=*/turn == rank);
      if (!both)
        continue;
      --attempts;
      const std::vector<Action> kept = actions;
      actions[i] = *both;
      actions.erase(actions.begin() + i + 1);
      const Peak peak = peakMemory(problem, actions);
      Timing timing;
      const bool fits = peak.bytes <= before.bytes * (1 + kMoreMemory) &&
                        peak.activations <= before.activations;
      if (fits)
        timing = simulate(problem, schedule);
      if (fits && timing.makespan <= best.makespan * (1 + 1e-9) &&
          timing.exposedCommunication() < best.exposedCommunication()) {
        best = std::move(timing);
        ++joined;
      } else {
        actions = kept;
      }
    }
  }
  if (ordered)
    (void)orderMessages(problem, schedule); // the simulation has found no cycle
  return joined;
}
