//===- Evaluator.cpp - The makespan of a schedule, many times -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Evaluator.h"
#include "Graph.h"
#include <algorithm>

using namespace moire::scheduling;

Evaluator::Evaluator(const Problem &problem) : problem(problem) {
  const int S = problem.numStages();
  for (int path = 0; path < problem.numPaths(); ++path) {
    base.push_back(cells);
    cells += S * problem.microBatches[path];
  }
  // Links of their own may differ between the halves.
  symmetric = problem.numPaths() == 2 && problem.microBatches[0] == problem.microBatches[1] &&
              problem.ranks % 2 == 0 && problem.links.empty();
  for (int s = 0; symmetric && s < S; ++s)
    symmetric = problem.rankOf[1][s] == problem.ranks - 1 - problem.rankOf[0][s];
  pairCost.assign(16 * S * S, -1);
  compact.resize(problem.ranks);
  done.resize(2 * cells);
  maker.resize(2 * cells);
  waiter.resize(2 * cells);
  next.resize(problem.ranks);
}

std::vector<Action> Evaluator::mirrorOf(const std::vector<Action> &row) const {
  std::vector<Action> result = row;
  for (Action &action : result) {
    action.first.path = 1 - action.first.path;
    if (action.second)
      action.second->path = 1 - action.second->path;
  }
  return result;
}

bool Evaluator::isMirrored(const std::vector<std::vector<Action>> &rows) const {
  bool same = symmetric;
  for (int r = 0; same && r < problem.ranks / 2; ++r)
    same = rows[problem.ranks - 1 - r] == mirrorOf(rows[r]);
  return same;
}

double Evaluator::costOf(const Action &action) {
  if (!action.second)
    return taskCost(problem, action.first);
  const Task &a = action.first, &b = *action.second;
  const int S = problem.numStages();
  double &cost =
      pairCost[((a.stage * 4 + static_cast<int>(a.kind)) * S + b.stage) * 4 +
               static_cast<int>(b.kind)];
  if (cost < 0)
    cost = actionCost(problem, action);
  return cost;
}

Evaluator::Step Evaluator::stepOf(const Task &task) const {
  Step step;
  const int cell = cellOf(task.path, task.stage, task.microBatch);
  int count = 0;
  auto needs = [&](bool backward, int stage) {
    const int from = problem.rankOf[task.path][stage], to = problem.rankOf[task.path][task.stage];
    step.need[count] = (backward ? cells : 0) + cellOf(task.path, stage, task.microBatch);
    if (from != to) {
      const Message message{backward, task.path, stage, task.microBatch};
      const Link &link = problem.linkOf(from, to);
      step.delay[count] = link.latency + messageBytes(problem, message) / link.bandwidth;
    }
    ++count;
  };
  if (task.isForward()) {
    step.makesForward = cell;
    if (task.stage > 0)
      needs(false, task.stage - 1);
  } else if (task.isBackward()) {
    step.makesBackward = cell;
    needs(false, task.stage);
    if (task.stage + 1 < problem.numStages())
      needs(true, task.stage + 1);
  } else {
    needs(true, task.stage);
  }
  return step;
}

void Evaluator::setRow(int rank, const std::vector<Action> &row) {
  std::vector<Compact> &to = compact[rank];
  to.resize(row.size());
  for (size_t i = 0; i < row.size(); ++i) {
    to[i].cost = costOf(row[i]);
    to[i].count = row[i].size();
    for (int k = 0; k < row[i].size(); ++k)
      to[i].steps[k] = stepOf(row[i][k]);
  }
}

bool Evaluator::run(Times &times) {
  const int count = rows();
  std::fill(done.begin(), done.end(), -1.0);
  std::fill(waiter.begin(), waiter.end(), -1);
  std::fill(next.begin(), next.end(), 0);
  times.start.resize(count);
  times.finish.resize(count);
  size_t actions = 0;
  for (int r = 0; r < count; ++r) {
    times.start[r].resize(compact[r].size());
    times.finish[r].resize(compact[r].size());
    actions += compact[r].size();
  }
  work.clear();
  for (int r = count - 1; r >= 0; --r)
    work.push_back(r);
  size_t placed = 0;
  double starts = 0;
  while (!work.empty()) {
    const int r = work.back();
    work.pop_back();
    const std::vector<Compact> &row = compact[r];
    int i = next[r];
    double free = i > 0 ? times.finish[r][i - 1] : 0;
    for (; i < static_cast<int>(row.size()); ++i) {
      const Compact &action = row[i];
      double start = free;
      int missing = -1;
      for (int k = 0; k < action.count; ++k)
        for (int n = 0; n < 2; ++n) {
          const int need = action.steps[k].need[n];
          if (need < 0)
            break;
          if (done[need] < 0)
            missing = need;
          start = std::max(start, done[need] + action.steps[k].delay[n]);
        }
      if (missing >= 0) {
        // What a rank waits for and makes itself comes later in its own row: it never runs.
        waiter[missing] = r;
        break;
      }
      free = start + action.cost;
      times.start[r][i] = start;
      times.finish[r][i] = free;
      starts += start;
      ++placed;
      for (int k = 0; k < action.count; ++k) {
        const Step &step = action.steps[k];
        for (int made : {step.makesForward, step.makesBackward < 0 ? -1 : cells + step.makesBackward})
          if (made >= 0) {
            done[made] = free;
            maker[made] = {r, i};
            if (waiter[made] >= 0)
              work.push_back(waiter[made]);
          }
      }
    }
    next[r] = i;
  }
  if (placed < actions)
    return false;
  times.makespan = times.meanEnd = 0;
  for (int r = 0; r < count; ++r)
    if (!times.finish[r].empty()) {
      times.makespan = std::max(times.makespan, times.finish[r].back());
      times.meanEnd += times.finish[r].back() / count;
    }
  times.meanStart = actions ? starts / static_cast<double>(actions) : 0;
  return true;
}

void Evaluator::criticalPath(const Times &times, std::vector<Place> &path) const {
  path.clear();
  Place at;
  for (int r = 0; r < rows(); ++r)
    if (!times.finish[r].empty() && times.finish[r].back() == times.makespan)
      at = {r, static_cast<int>(times.finish[r].size()) - 1};
  while (at.row >= 0) {
    path.push_back(at);
    Place before;
    if (at.action > 0 && times.finish[at.row][at.action - 1] >= times.start[at.row][at.action])
      before = {at.row, at.action - 1};
    double latest = -1;
    if (before.row < 0) {
      const Compact &action = compact[at.row][at.action];
      for (int k = 0; k < action.count; ++k)
        for (int n = 0; n < 2 && action.steps[k].need[n] >= 0; ++n) {
          const int need = action.steps[k].need[n];
          if (done[need] + action.steps[k].delay[n] > latest) {
            latest = done[need] + action.steps[k].delay[n];
            before = maker[need];
          }
        }
    }
    at = before;
  }
}
