//===- Join.cpp - Tasks beside each other in a schedule become pairs ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Join.h"
#include "moire/Scheduling/Simulator.h"

using namespace moire::scheduling;

/// A pair holds what both tasks have: W and F for a moment one activation's weights more.
static constexpr double kMoreMemory = 0.1;

/// Whether a pair of both would hide anything, as far as they tell by themselves.
static bool mayJoin(const Problem &problem, const Action &a, const Action &b) {
  if (a.second || b.second)
    return false;
  const Task &x = a.first, &y = b.first;
  // One micro-batch's tasks on a rank wait for each other.
  if (x.path == y.path && x.microBatch == y.microBatch)
    return false;
  return actionCost(problem, Action(x, y)) < taskCost(problem, x) + taskCost(problem, y);
}

int moire::scheduling::joinNeighbours(const Problem &problem, Schedule &schedule, int attempts) {
  const bool ordered = !schedule.messages.empty();
  schedule.messages.clear();
  Timing best = simulate(problem, schedule);
  int joined = 0;
  for (int rank = 0; rank < problem.ranks; ++rank) {
    std::vector<Action> &actions = schedule.ranks[rank];
    const Peak before = peakMemory(problem, actions);
    for (size_t i = 0; i + 1 < actions.size() && attempts > 0; ++i) {
      if (!mayJoin(problem, actions[i], actions[i + 1]))
        continue;
      --attempts;
      const std::vector<Action> kept = actions;
      actions[i] = Action(actions[i].first, actions[i + 1].first);
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
