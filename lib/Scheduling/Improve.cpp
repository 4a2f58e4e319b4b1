//===- Improve.cpp - Small changes to a schedule that shorten it ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Evaluator.h"
#include "ListScheduler.h"
#include <algorithm>
#include <cmath>
#include <random>

using namespace moire::scheduling;

namespace {

/// A step back of this part of the makespan is taken with probability 1/e at the start of a
/// cycle; each cycle cools to nothing and the next starts from the best so far. On DeepSeek-V3's
/// problem cycles at this heat came within 0.01 % of the best that any single cooling found,
/// single ones were spread over 0.6 %.
constexpr double kHeat = 1e-4;
constexpr int kCycles = 8;

using Row = std::vector<Action>;

/// Whether a row adds weight gradients in the order of micro-batches, each W after its b and each
/// backward after its forward.
class RowCheck {
public:
  explicit RowCheck(const Problem &problem) : problem(problem) {}
  bool operator()(const Row &row) {
    next.assign(problem.numPaths() * problem.numStages() * 3, 0);
    for (const Action &action : row) {
      for (int i = 0; i < action.size(); ++i)
        if (action[i].isBackward() && action[i].microBatch >= due(action[i], 0))
          return false; // its forward has not run, or runs beside it
      for (int i = 0; i < action.size(); ++i) {
        const Task &t = action[i];
        if (t.isForward() && t.microBatch != due(t, 0)++)
          return false;
        if (t.isBackward() && t.microBatch != due(t, 1)++)
          return false;
        if (t.accumulates() && (t.microBatch != due(t, 2)++ || due(t, 2) > due(t, 1)))
          return false;
      }
    }
    return true;
  }

private:
  const Problem &problem;
  std::vector<int> next;
  int &due(const Task &t, int what) {
    return next[(t.path * problem.numStages() + t.stage) * 3 + what];
  }
};

class Improver {
public:
  Improver(const Problem &problem, const std::vector<double> &memory, Schedule &schedule)
      : problem(problem), memory(memory), schedule(schedule), evaluator(problem), check(problem) {
    schedule.messages.clear();
    // DualPipe's halves mirror each other: what helps one rank is done to its mirror too.
    evaluator.setMirrored(evaluator.isMirrored(schedule.ranks));
    for (int r = 0; r < evaluator.rows(); ++r)
      evaluator.setRow(r, schedule.ranks[r]);
  }

  double run(long budget) {
    if (!evaluator.run(times))
      return times.makespan;
    evaluator.criticalPath(times, critical);
    double now = valueOf(times), best = now;
    const long whole = budget;
    std::vector<Row> bestRows = schedule.ranks;
    double bestMakespan = times.makespan;
    Evaluator::Times tried;
    std::mt19937 random(1);
    int cycle = 0;
    // Timing an action again takes a sixteenth of what placing it by a policy takes.
    long size = 16;
    for (int r = 0; r < evaluator.rows(); ++r)
      size += static_cast<long>(schedule.ranks[r].size());
    size /= 16;
    for (budget -= size; budget > 0;) {
      const double done = kCycles * (1 - static_cast<double>(budget) / static_cast<double>(whole));
      if (static_cast<int>(done) > cycle) {
        cycle = static_cast<int>(done);
        schedule.ranks = bestRows;
        for (int r = 0; r < evaluator.rows(); ++r)
          evaluator.setRow(r, schedule.ranks[r]);
        evaluator.run(times);
        evaluator.criticalPath(times, critical);
        now = best;
      }
      // Half of the steps begin at what the makespan waits for.
      chosen = -1;
      int r = static_cast<int>(random() % evaluator.rows());
      if (!critical.empty() && random() % 2) {
        const Evaluator::Place place = critical[random() % critical.size()];
        r = place.row;
        chosen = place.action;
      }
      Row &row = schedule.ranks[r];
      const Row before = row;
      if (!change(random, r, row) || !admit(r, row)) {
        row = before;
        budget -= 2 + static_cast<long>(row.size()) / 32;
        continue;
      }
      budget -= size;
      evaluator.setRow(r, row);
      // Annealing: a step back is taken the more rarely the later and the longer it is.
      const double heat = kHeat * (cycle + 1 - done) * best;
      const double slack = heat * -std::log(static_cast<double>(random() % 65536 + 1) / 65537);
      if (evaluator.run(tried) && valueOf(tried) <= now + slack) {
        now = valueOf(tried);
        std::swap(times, tried);
        evaluator.criticalPath(times, critical);
        if (now < best) {
          best = now;
          bestRows = schedule.ranks;
          bestMakespan = times.makespan;
        }
        continue;
      }
      row = before;
      evaluator.setRow(r, row);
    }
    schedule.ranks = bestRows;
    for (int r = evaluator.rows(); r < problem.ranks; ++r)
      schedule.ranks[r] = evaluator.mirrorOf(schedule.ranks[problem.ranks - 1 - r]);
    return bestMakespan;
  }

private:
  const Problem &problem;
  const std::vector<double> &memory;
  Schedule &schedule;
  Evaluator evaluator;
  RowCheck check;
  Evaluator::Times times;
  std::vector<Evaluator::Place> critical;
  int chosen = -1;

  /// The makespan and, below it, the ends and the starts of all ranks: what lets a later change
  /// shorten the makespan is worth keeping.
  static double valueOf(const Evaluator::Times &times) {
    return times.makespan + 1e-3 * times.meanEnd + 1e-2 * times.meanStart;
  }

  /// A mirrored rank has the same stages the other way round, and as much memory.
  bool admit(int r, const Row &row) {
    return check(row) && peakMemory(problem, row).bytes <= memory[r];
  }

  /// A position at or near a gap of the rank, or any.
  size_t pickPlace(std::mt19937 &random, int r, const Row &row) const {
    if (chosen >= 0)
      return std::min(static_cast<size_t>(chosen), row.size() - 1);
    if (random() % 4) {
      const int count = static_cast<int>(row.size());
      for (int tries = 0; tries < 24; ++tries) {
        const int i = 1 + static_cast<int>(random() % std::max(1, count - 1));
        if (i < count && times.start[r][i] > times.finish[r][i - 1] * (1 + 1e-9)) {
          const int near = i + static_cast<int>(random() % 5) - 2;
          return static_cast<size_t>(std::clamp(near, 0, count - 1));
        }
      }
    }
    return random() % row.size();
  }

  bool change(std::mt19937 &random, int r, Row &row) const {
    if (row.size() < 2)
      return false;
    const size_t i = pickPlace(random, r, row);
    const int reach = 1 + static_cast<int>(random() % 12);
    const size_t low = i > static_cast<size_t>(reach) ? i - reach : 0;
    const size_t high = std::min(row.size() - 1, i + reach);
    const size_t j = low + random() % (high - low + 1);
    switch (random() % 6) {
    case 0: // move
    case 1:
      if (i == j)
        return false;
      if (i < j)
        std::rotate(row.begin() + i, row.begin() + i + 1, row.begin() + j + 1);
      else
        std::rotate(row.begin() + j, row.begin() + i, row.begin() + i + 1);
      return true;
    case 2: { // pair a lone forward and a lone backward, or two of a kind
      const auto lone = [](const Action &action) {
        return !action.second && action.first.kind != TaskKind::BackwardWeight;
      };
      if (i == j || !lone(row[i]) || !lone(row[j]))
        return false;
      if (row[i].first.isForward() == row[j].first.isForward()) {
        const Action pair(row[i].first, row[j].first);
        if (actionCost(problem, pair) >=
            taskCost(problem, pair.first) + taskCost(problem, *pair.second))
          return false;
        row[i] = pair;
        row.erase(row.begin() + j);
        return true;
      }
      Task forward = row[i].first, backward = row[j].first;
      if (!forward.isForward())
        std::swap(forward, backward);
      // A b takes its weights back: pairs with full backwards save most.
      const bool whole = backward.kind == TaskKind::BackwardInput && random() % 4;
      Task weight = backward;
      weight.kind = TaskKind::BackwardWeight;
      if (whole)
        backward.kind = TaskKind::Backward;
      row[i] = Action(forward, backward);
      row.erase(row.begin() + j);
      if (whole)
        row.erase(std::find(row.begin(), row.end(), Action(weight)));
      return true;
    }
    case 3: { // part a pair
      if (!row[i].second)
        return false;
      const Action pair = row[i];
      const bool forwardFirst = random() % 2;
      row[i] = forwardFirst ? pair.first : *pair.second;
      row.insert(row.begin() + i + 1, forwardFirst ? *pair.second : pair.first);
      return true;
    }
    case 4: { // split a backward, its weights later
      for (int k = 0; k < row[i].size(); ++k) {
        Task &task = k == 0 ? row[i].first : *row[i].second;
        if (task.kind != TaskKind::Backward)
          continue;
        Task weight = task;
        task.kind = TaskKind::BackwardInput;
        weight.kind = TaskKind::BackwardWeight;
        row.insert(row.begin() + std::max(i, j) + 1, weight);
        return true;
      }
      return false;
    }
    default: { // a backward with its weights at once
      if (row[i].first.kind != TaskKind::BackwardWeight)
        return false;
      Task input = row[i].first;
      input.kind = TaskKind::BackwardInput;
      for (size_t k = i; k-- > 0;)
        for (int n = 0; n < row[k].size(); ++n)
          if (row[k][n] == input) {
            (n == 0 ? row[k].first : *row[k].second).kind = TaskKind::Backward;
            row.erase(row.begin() + i);
            return true;
          }
      return false;
    }
    }
  }
};

} // namespace

double moire::scheduling::improveSchedule(const Problem &problem, const std::vector<double> &memory,
                                          long budget, Schedule &schedule) {
  return Improver(problem, memory, schedule).run(budget);
}
