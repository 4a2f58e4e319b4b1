//===- ListScheduler.cpp - An order of work on two resources -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Overlap/ListScheduler.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>

using namespace moire::overlap;

static bool isTransfer(const Task &task) { return task.resource == Resource::network; }

std::string moire::overlap::check(const Problem &problem) {
  for (size_t i = 0; i < problem.tasks.size(); ++i) {
    const Task &task = problem.tasks[i];
    const std::string which = "task " + std::to_string(i);
    if (!(task.seconds >= 0))
      return which + " takes " + std::to_string(task.seconds) + " s; it must be 0 or more";
    for (int other : task.after)
      if (other < 0 || other >= int(i))
        return which + " comes after task " + std::to_string(other) +
               ", which must have a smaller number";
    for (int buffer : task.buffers)
      if (buffer < 0 || buffer >= int(problem.bufferBytes.size()))
        return which + " uses buffer " + std::to_string(buffer) + " of " +
               std::to_string(problem.bufferBytes.size());
    if (task.job < 0 || task.job > 1)
      return which + " is of job " + std::to_string(task.job) + "; there are two, 0 and 1";
  }
  if (problem.outputs.size() > 2)
    return "outputs are of " + std::to_string(problem.outputs.size()) + " jobs; there are two";
  for (const std::vector<int> &outputs : problem.outputs)
    for (int task : outputs)
      if (task < 0 || task >= int(problem.tasks.size()))
        return "an output is of task " + std::to_string(task) + " of " +
               std::to_string(problem.tasks.size());
  return {};
}

std::string moire::overlap::verify(const Problem &problem, const Timetable &timetable) {
  const size_t n = problem.tasks.size();
  if (timetable.order.size() != n)
    return std::to_string(timetable.order.size()) + " tasks are in the order, not " +
           std::to_string(n);
  std::vector<bool> seen(n, false);
  double free[2] = {0, 0};
  for (int i : timetable.order) {
    const std::string which = "task " + std::to_string(i);
    if (i < 0 || i >= int(n) || seen[i])
      return which + " is in the order twice, or is none";
    seen[i] = true;
    const Task &task = problem.tasks[i];
    for (int other : task.after)
      if (!seen[other] || timetable.begin[i] < timetable.end[other])
        return which + " begins before task " + std::to_string(other) + " has ended";
    double &resource = free[isTransfer(task)];
    if (timetable.begin[i] < resource)
      return which + " begins while its resource is taken";
    resource = timetable.end[i];
  }
  return {};
}

//===----------------------------------------------------------------------===//
// What an order gives
//===----------------------------------------------------------------------===//

/// The largest sum of live buffers. A transfer's are in use until the first task that
/// comes after it, which waits for it.
static int64_t peakOf(const Problem &problem, const std::vector<int> &order) {
  const int n = int(order.size());
  std::vector<int> place(n), held(n);
  for (int at = 0; at < n; ++at)
    place[order[at]] = at;
  for (int i = 0; i < n; ++i)
    held[i] = isTransfer(problem.tasks[i]) ? n - 1 : place[i];
  for (int i = 0; i < n; ++i)
    for (int other : problem.tasks[i].after)
      if (isTransfer(problem.tasks[other]))
        held[other] = std::min(held[other], place[i]);
  std::vector<int> first(problem.bufferBytes.size(), n), last(problem.bufferBytes.size(), -1);
  for (int i = 0; i < n; ++i)
    for (int buffer : problem.tasks[i].buffers) {
      first[buffer] = std::min(first[buffer], place[i]);
      last[buffer] = std::max(last[buffer], held[i]);
    }
  std::vector<int64_t> change(n + 1, 0);
  for (size_t b = 0; b < first.size(); ++b)
    if (last[b] >= 0) {
      change[first[b]] += problem.bufferBytes[b];
      change[last[b] + 1] -= problem.bufferBytes[b];
    }
  int64_t live = 0, peak = 0;
  for (int64_t bytes : change)
    peak = std::max(peak, live += bytes);
  return peak;
}

Timetable moire::overlap::simulate(const Problem &problem, std::vector<int> order) {
  Timetable t;
  t.begin.assign(problem.tasks.size(), 0);
  t.end.assign(problem.tasks.size(), 0);
  double thread = 0, network = 0;
  for (int i : order) {
    const Task &task = problem.tasks[i];
    for (int other : task.after)
      thread = std::max(thread, t.end[other]);
    double &resource = isTransfer(task) ? network : thread;
    t.begin[i] = std::max(thread, resource);
    t.end[i] = resource = t.begin[i] + task.seconds;
    (isTransfer(task) ? t.moving : t.computing) += task.seconds + task.beside;
  }
  t.seconds = std::max(thread, network);
  t.exposed = t.seconds - t.computing;
  t.peakBytes = peakOf(problem, order);
  for (size_t job = 0; job < problem.outputs.size(); ++job)
    for (int task : problem.outputs[job])
      t.outputs[job] = std::max(t.outputs[job], t.end[task]);
  t.order = std::move(order);
  return t;
}

//===----------------------------------------------------------------------===//
// List scheduling
//===----------------------------------------------------------------------===//

namespace {
class Lister {
public:
  Lister(const Problem &problem, const std::vector<double> &keys)
      : problem(problem), keys(keys), successors(problem.tasks.size()),
        missing(problem.tasks.size()), from(problem.tasks.size(), 0), end(problem.tasks.size(), 0),
        users(problem.bufferBytes.size(), 0), live(problem.bufferBytes.size(), false) {
    for (size_t i = 0; i < problem.tasks.size(); ++i) {
      missing[i] = int(problem.tasks[i].after.size());
      for (int other : problem.tasks[i].after)
        successors[other].push_back(int(i));
      for (int buffer : problem.tasks[i].buffers)
        ++users[buffer];
      if (missing[i] == 0)
        waiting.insert({0, int(i)});
    }
  }

  std::vector<int> run() {
    while (order.size() < problem.tasks.size()) {
      while (!waiting.empty() && waiting.begin()->first <= thread) {
        const int i = waiting.begin()->second;
        waiting.erase(waiting.begin());
        ready[isTransfer(problem.tasks[i])].insert({keys[i], i});
      }
      const auto transfer = allowed(ready[1]), compute = allowed(ready[0]);
      const bool starts = transfer != ready[1].end(), computes = compute != ready[0].end();
      if (starts && (!computes || transfer->first <= compute->first))
        take(ready[1], transfer);
      else if (computes)
        take(ready[0], compute);
      else if (!waiting.empty())
        thread = waiting.begin()->first; // for a transfer
      else                               // memory forbids all that is left
        take(ready[ready[0].empty()], first(ready[ready[0].empty()]));
    }
    return std::move(order);
  }

private:
  using Ready = std::set<std::pair<double, int>>; ///< by key

  /// The smallest key that memory allows.
  Ready::iterator allowed(Ready &set) {
    return std::find_if(set.begin(), set.end(), [&](const auto &entry) {
      int64_t bytes = 0;
      for (int buffer : problem.tasks[entry.second].buffers)
        bytes += live[buffer] ? 0 : problem.bufferBytes[buffer];
      return used + bytes <= problem.memoryLimit;
    });
  }
  /// The first of the problem's own order.
  static Ready::iterator first(Ready &set) {
    return std::min_element(set.begin(), set.end(),
                            [](const auto &a, const auto &b) { return a.second < b.second; });
  }

  void take(Ready &set, Ready::iterator it) {
    const int i = it->second;
    set.erase(it);
    const Task &task = problem.tasks[i];
    order.push_back(i);
    for (int buffer : task.buffers)
      if (!live[buffer]) {
        live[buffer] = true;
        used += problem.bufferBytes[buffer];
      }
    double &resource = isTransfer(task) ? network : thread;
    end[i] = resource = std::max(thread, resource) + task.seconds;
    if (!isTransfer(task))
      release(task);
    for (int other : task.after)
      if (isTransfer(problem.tasks[other]) && from[other] >= 0) {
        release(problem.tasks[other]); // it is waited for here
        from[other] = -1;
      }
    for (int next : successors[i]) {
      from[next] = std::max(from[next], end[i]);
      if (--missing[next] == 0)
        waiting.insert({from[next], next});
    }
  }

  void release(const Task &task) {
    for (int buffer : task.buffers)
      if (--users[buffer] == 0) {
        live[buffer] = false;
        used -= problem.bufferBytes[buffer];
      }
  }

  const Problem &problem;
  const std::vector<double> &keys;
  std::vector<std::vector<int>> successors;
  std::vector<int> missing; ///< predecessors that are not in the order
  std::vector<double> from; ///< when predecessors end; -1: a transfer that was waited for
  std::vector<double> end;
  std::vector<int> users; ///< of a buffer, to come
  std::vector<bool> live;
  Ready ready[2];                           ///< to compute, to start
  std::set<std::pair<double, int>> waiting; ///< by when their predecessors end
  std::vector<int> order;
  double thread = 0, network = 0;
  int64_t used = 0;
};
} // namespace

/// A transfer is as urgent as what it is of.
static void inheritKeys(const Problem &problem, std::vector<double> &keys) {
  for (size_t i = 0; i < keys.size(); ++i) {
    const std::vector<int> &after = problem.tasks[i].after;
    if (!isTransfer(problem.tasks[i]) || after.empty())
      continue;
    keys[i] = keys[after.front()];
    for (int other : after)
      keys[i] = std::max(keys[i], keys[other]);
  }
}

Timetable moire::overlap::listSchedule(const Problem &problem, std::vector<double> keys) {
  inheritKeys(problem, keys);
  return simulate(problem, Lister(problem, keys).run());
}

std::vector<int> moire::overlap::latestOrder(const Problem &problem) {
  const int n = int(problem.tasks.size());
  std::vector<int> order;
  std::vector<bool> placed(n, false);
  const std::function<void(int)> place = [&](int task) {
    if (placed[task])
      return;
    placed[task] = true;
    for (int other : problem.tasks[task].after)
      place(other); // transfers; what is computed stands there already
    order.push_back(task);
  };
  for (int i = 0; i < n; ++i)
    if (!isTransfer(problem.tasks[i]))
      place(i);
  for (int i = 0; i < n; ++i)
    place(i); // what nobody waits for
  return order;
}

/// When tasks end in the problem's own order without transfers.
static std::vector<double> ownTimes(const Problem &problem) {
  std::vector<double> at;
  double time = 0;
  for (const Task &task : problem.tasks)
    at.push_back(time += isTransfer(task) ? 0 : task.seconds);
  return at;
}

/// The same with each job's time stretched to that of both; the second one is `shift` of it late.
static std::vector<double> sideBySide(const Problem &problem, double shift) {
  double all[2] = {0, 0}, time[2] = {0, 0};
  for (const Task &task : problem.tasks)
    all[task.job] += isTransfer(task) ? 0 : task.seconds;
  const double total = all[0] + all[1];
  std::vector<double> at;
  for (const Task &task : problem.tasks) {
    time[task.job] += isTransfer(task) ? 0 : task.seconds;
    at.push_back((all[task.job] > 0 ? time[task.job] / all[task.job] : 0) * total +
                 (task.job ? shift * total : 0));
  }
  return at;
}

/// These times, but what a transfer depends on comes `factor` times its length earlier than the
/// transfer.
static std::vector<double> windowKeys(const Problem &problem, const std::vector<double> &at,
                                      double factor) {
  const int n = int(problem.tasks.size());
  std::vector<double> keys = at;
  std::vector<int> mark(n, -1), todo;
  for (int i = 0; i < n; ++i) {
    if (!isTransfer(problem.tasks[i]))
      continue;
    const double key = at[i] - factor * problem.tasks[i].seconds;
    todo = {i};
    while (!todo.empty()) {
      const int task = todo.back();
      todo.pop_back();
      if (mark[task] == i || at[task] <= key)
        continue;
      mark[task] = i;
      keys[task] = std::min(keys[task], key);
      todo.insert(todo.end(), problem.tasks[task].after.begin(), problem.tasks[task].after.end());
    }
  }
  return keys;
}

/// The negative of the longest path to the end.
static std::vector<double> pathKeys(const Problem &problem) {
  std::vector<double> keys(problem.tasks.size(), 0);
  for (int i = int(problem.tasks.size()) - 1; i >= 0; --i) {
    keys[i] -= problem.tasks[i].seconds;
    for (int other : problem.tasks[i].after)
      keys[other] = std::min(keys[other], keys[i]);
  }
  return keys;
}

/// These times, but what no output depends on comes after all else; with `inTurn` what the second
/// job's outputs depend on after the first one's.
static std::vector<double> outputsFirst(const Problem &problem, const std::vector<double> &at,
                                        bool inTurn) {
  const double total = 1 + *std::max_element(at.begin(), at.end());
  std::vector<int> turn(at.size(), 2);
  for (size_t job = problem.outputs.size(); job-- > 0;)
    for (int task : problem.outputs[job])
      turn[task] = inTurn ? int(job) : 0;
  for (size_t i = at.size(); i-- > 0;)
    for (int other : problem.tasks[i].after)
      turn[other] = std::min(turn[other], turn[i]);
  std::vector<double> keys = at;
  for (size_t i = 0; i < at.size(); ++i)
    keys[i] += turn[i] * total;
  return keys;
}

Timetable moire::overlap::schedule(const Problem &problem) {
  Timetable best = simulate(problem, latestOrder(problem));
  double fastest = best.seconds;
  const bool sends = std::any_of(problem.outputs.begin(), problem.outputs.end(),
                                 [](const std::vector<int> &tasks) { return !tasks.empty(); });
  auto attempt = [&](Timetable found) {
    // A thousandth is not worth another order, but for outputs.
    if (found.peakBytes > problem.memoryLimit || found.seconds > 1.001 * fastest)
      return;
    const bool earlier =
        sends && found.outputs[0] + found.outputs[1] < 0.999 * (best.outputs[0] + best.outputs[1]);
    if (found.seconds >= 0.999 * fastest && !earlier)
      return;
    fastest = std::min(fastest, found.seconds);
    best = std::move(found);
  };
  std::vector<int> own(problem.tasks.size());
  std::iota(own.begin(), own.end(), 0);
  attempt(simulate(problem, own));
  std::vector<std::vector<double>> times = {ownTimes(problem)};
  if (std::any_of(problem.tasks.begin(), problem.tasks.end(),
                  [](const Task &task) { return task.job != 0; }))
    for (double shift : {0.0, -0.05, 0.05, -0.15, 0.15, -0.3, 0.3})
      times.push_back(sideBySide(problem, shift));
  if (sends && !problem.tasks.empty()) {
    times.push_back(outputsFirst(problem, times.front(), /*inTurn=*/true));
    if (times.size() > 2)
      times.push_back(outputsFirst(problem, times[1], /*inTurn=*/false));
  }
  for (const std::vector<double> &at : times)
    for (double factor : {0.0, 1.0, 2.0, 4.0, 0.5, 8.0})
      attempt(listSchedule(problem, windowKeys(problem, at, factor)));
  attempt(listSchedule(problem, pathKeys(problem)));
  return best;
}
