//===- Schedule.cpp - Costs, memory and names of actions ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Schedule.h"
#include "Text.h"
#include <algorithm>

using namespace moire::scheduling;

static double costOf(const StageCost &cost, TaskKind kind) {
  switch (kind) {
  case TaskKind::Forward:
    return cost.forward;
  case TaskKind::Backward:
    return cost.backward;
  case TaskKind::BackwardInput:
    return cost.backwardInput;
  case TaskKind::BackwardWeight:
    return cost.backwardWeight;
  }
  return 0;
}

static double collectiveOf(const StageCost &cost, TaskKind kind) {
  if (kind == TaskKind::Forward)
    return cost.forwardCollective;
  return kind == TaskKind::BackwardWeight ? 0 : cost.backwardCollective;
}

/// The given time of two tasks of one stage together; 0 where none is given.
static double givenPair(const StageCost &cost, TaskKind a, TaskKind b) {
  if (static_cast<int>(a) > static_cast<int>(b))
    std::swap(a, b);
  if (a == TaskKind::Forward)
    return b == TaskKind::Backward        ? cost.forwardWithBackward
           : b == TaskKind::BackwardInput ? cost.forwardWithBackwardInput
           : b == TaskKind::Forward       ? cost.twoForwards
                                          : 0;
  if (a == TaskKind::Backward && b == TaskKind::Backward)
    return cost.twoBackwards;
  if (a == TaskKind::BackwardInput && b == TaskKind::BackwardInput)
    return cost.twoBackwardInputs;
  return 0;
}

/// What overlapping saves when both tasks are of a stage with this cost.
static double saving(const StageCost &cost, TaskKind a, TaskKind b, double contention) {
  const double apart = costOf(cost, a) + costOf(cost, b);
  if (double together = givenPair(cost, a, b))
    return apart - together;
  const double network = collectiveOf(cost, a) + collectiveOf(cost, b);
  if (network == 0)
    return 0;
  return std::max(0.0, apart - std::max(apart - network, network / contention));
}

double moire::scheduling::taskCost(const Problem &problem, const Task &task) {
  return costOf(problem.stages[task.stage], task.kind);
}

/// The time of collectives in a B that its own W hides.
static double hiddenByWeights(const Problem &problem, const Task &task) {
  const StageCost &cost = problem.stages[task.stage];
  if (task.kind != TaskKind::Backward)
    return 0;
  return std::clamp(std::min(cost.backwardCollective, cost.backward - cost.backwardInput), 0.0,
                    cost.backward);
}

double moire::scheduling::outputTime(const Problem &problem, const Action &action, int i) {
  const double whole = actionCost(problem, action);
  if (problem.knownOutput)
    if (const double known = problem.knownOutput(action, i); known >= 0)
      return std::min(known, whole);
  if (!problem.ordersOps)
    return whole;
  const Task &task = action[i];
  // Two tasks that hide each other's collectives keep pace; W only fills in.
  if (action.second && action[1 - i].kind != TaskKind::BackwardWeight)
    return whole;
  const StageCost &cost = problem.stages[task.stage];
  return std::min(whole, task.kind == TaskKind::Backward ? cost.backwardInput
                                                         : taskCost(problem, task));
}

double moire::scheduling::actionCost(const Problem &problem, const Action &action) {
  if (problem.knownCost)
    if (const double known = problem.knownCost(action); known >= 0)
      return known;
  double cost = taskCost(problem, action.first);
  if (!action.second)
    return problem.ordersOps ? cost - hiddenByWeights(problem, action.first) : cost;
  const Task &a = action.first, &b = *action.second;
  const double other = taskCost(problem, b);
  double saved = saving(problem.stages[a.stage], a.kind, b.kind, problem.contention);
  if (a.stage != b.stage)
    saved = (saved + saving(problem.stages[b.stage], a.kind, b.kind, problem.contention)) / 2;
  // Neither task gets shorter than it is alone.
  return std::max({cost + other - saved, cost, other});
}

double moire::scheduling::exposedCollective(const Problem &problem, const Action &action) {
  double compute = 0;
  for (int i = 0; i < action.size(); ++i)
    compute += taskCost(problem, action[i]) -
               collectiveOf(problem.stages[action[i].stage], action[i].kind);
  return std::max(0.0, actionCost(problem, action) - compute);
}

Peak moire::scheduling::peakMemory(const Problem &problem, const std::vector<Action> &actions) {
  Peak peak;
  double bytes = 0;
  int held = 0;
  for (size_t n = 0; n < actions.size(); ++n) {
    const Action &action = actions[n];
    for (int i = 0; i < action.size(); ++i)
      if (action[i].isForward()) {
        bytes += problem.stages[action[i].stage].activationBytes;
        ++held;
      }
    if (bytes > peak.bytes || (peak.bytes == 0 && held > peak.activations))
      peak.action = static_cast<int>(n);
    peak.activations = std::max(peak.activations, held);
    peak.bytes = std::max(peak.bytes, bytes);
    for (int i = 0; i < action.size(); ++i) {
      const StageCost &cost = problem.stages[action[i].stage];
      if (action[i].kind == TaskKind::Backward)
        bytes -= cost.activationBytes;
      else if (action[i].kind == TaskKind::BackwardInput)
        bytes -= cost.activationBytes - cost.residualBytes();
      else if (action[i].kind == TaskKind::BackwardWeight)
        bytes -= cost.residualBytes();
      held -= action[i].accumulates();
    }
  }
  return peak;
}

char moire::scheduling::letter(TaskKind kind) { return "FBbW"[static_cast<int>(kind)]; }

std::string moire::scheduling::describe(const Problem &problem, const Task &task) {
  return text(letter(task.kind), " of micro-batch ", task.microBatch, " at stage ", task.stage,
              problem.numPaths() > 1 ? text(" on path ", task.path) : std::string());
}

int moire::scheduling::laneOf(const Problem &problem, const Task &task) {
  return problem.numPaths() > 1 ? task.path : problem.chunkOf(task.path, task.stage);
}

std::string moire::scheduling::shortName(const Problem &problem, const Action &action) {
  std::string name;
  for (int i = 0; i < action.size(); ++i)
    name += text(i ? "+" : "", letter(action[i].kind), laneOf(problem, action[i]), ".",
                 action[i].microBatch);
  return name;
}
