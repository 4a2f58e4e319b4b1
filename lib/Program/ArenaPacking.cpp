//===- ArenaPacking.cpp - Offsets of buffers with known live ranges ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Program/ArenaPacking.h"

#include <algorithm>
#include <functional>
#include <numeric>

using namespace moire::program;

static int64_t align(int64_t bytes, int64_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

static bool meet(const LiveRange &a, const LiveRange &b) {
  return a.first <= b.last && b.first <= a.last;
}

int64_t moire::program::lowerBound(const ArenaProblem &problem) {
  std::vector<std::pair<int64_t, int64_t>> events; // (time, change)
  for (const LiveRange &r : problem.ranges) {
    int64_t bytes = align(r.bytes, problem.alignment);
    events.push_back({r.first, bytes});
    events.push_back({r.last + 1, -bytes});
  }
  std::sort(events.begin(), events.end());
  int64_t live = 0, most = 0;
  for (size_t i = 0; i < events.size(); ++i) {
    live += events[i].second;
    // A time's events all count before its sum does.
    if (i + 1 == events.size() || events[i + 1].first != events[i].first)
      most = std::max(most, live);
  }
  return most;
}

/// Places the ranges in the given order, each at the lower end of the smallest
/// (with `firstFit`: the lowest) gap between those already placed that live at
/// the same time; where none fits, after them. Gives up (returns bytes of -1) beyond `limit`.
static ArenaSolution place(const ArenaProblem &problem, const std::vector<size_t> &order,
                           bool firstFit, int64_t limit) {
  ArenaSolution solution;
  solution.offsets.assign(problem.ranges.size(), 0);
  std::vector<size_t> placed; // by offset
  for (size_t i : order) {
    const LiveRange &range = problem.ranges[i];
    int64_t bytes = align(range.bytes, problem.alignment);
    int64_t at = 0, best = -1, bestGap = INT64_MAX;
    for (size_t j : placed) {
      const LiveRange &other = problem.ranges[j];
      if (!meet(range, other))
        continue;
      int64_t gap = solution.offsets[j] - at;
      if (gap >= bytes && gap < bestGap && !(firstFit && best >= 0)) {
        best = at;
        bestGap = gap;
      }
      at = std::max(at, solution.offsets[j] + align(other.bytes, problem.alignment));
    }
    if (best < 0)
      best = at;
    if (best + bytes > limit) {
      solution.bytes = -1;
      return solution;
    }
    solution.offsets[i] = best;
    solution.bytes = std::max(solution.bytes, best + bytes);
    auto where = std::upper_bound(
        placed.begin(), placed.end(), best,
        [&](int64_t offset, size_t k) { return offset < solution.offsets[k]; });
    placed.insert(where, i);
  }
  return solution;
}

ArenaSolution moire::program::packArena(const ArenaProblem &problem) {
  const auto &ranges = problem.ranges;
  int64_t bound = lowerBound(problem);
  auto length = [&](size_t i) { return ranges[i].last - ranges[i].first + 1; };
  using Key = std::function<std::pair<int64_t, int64_t>(size_t)>;
  // Descending keys.
  const Key keys[] = {
      [&](size_t i) { return std::pair(ranges[i].bytes, length(i)); },
      [&](size_t i) { return std::pair(ranges[i].bytes * length(i), ranges[i].bytes); },
      [&](size_t i) { return std::pair(length(i), ranges[i].bytes); },
      [&](size_t i) { return std::pair(-ranges[i].first, ranges[i].bytes); },
      [&](size_t i) { return std::pair(ranges[i].last, ranges[i].bytes); },
  };
  ArenaSolution best;
  best.bytes = -1;
  std::vector<size_t> order(ranges.size());
  std::vector<size_t> bestOrder;
  auto attempt = [&](const std::vector<size_t> &candidate) {
    bool better = false;
    for (bool firstFit : {false, true}) {
      ArenaSolution s =
          place(problem, candidate, firstFit, best.bytes < 0 ? INT64_MAX : best.bytes - 1);
      if (s.bytes < 0)
        continue;
      best = std::move(s);
      bestOrder = candidate;
      better = true;
    }
    return better;
  };
  for (const Key &key : keys) {
    std::iota(order.begin(), order.end(), size_t(0));
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return key(a) > key(b); });
    attempt(order);
    if (best.bytes == bound)
      return best;
  }
  // What sticks out at the top is placed earlier the next time: to the very
  // front first, then to places drawn by a fixed generator. About a second at
  // most.
  int64_t n = ranges.size(), rounds = std::min<int64_t>(200, 100000000 / (n * n + 1));
  uint64_t state = 1;
  auto random = [&](size_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return size_t((state >> 33) % below);
  };
  bool front = true;
  for (int64_t round = 0; round < rounds && best.bytes > bound; ++round) {
    std::vector<size_t> top, rest;
    for (size_t i : bestOrder) {
      bool high = best.offsets[i] + align(ranges[i].bytes, problem.alignment) == best.bytes;
      (high ? top : rest).push_back(i);
    }
    for (size_t i : top)
      rest.insert(rest.begin() + (front ? 0 : random(rest.size() + 1)), i);
    front = attempt(rest);
  }
  return best;
}

std::optional<std::pair<size_t, size_t>>
moire::program::findOverlap(const ArenaProblem &problem, const ArenaSolution &solution) {
  // Sorted by offset, only the followers up to the range's end can share bytes.
  std::vector<size_t> order(problem.ranges.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return solution.offsets[a] < solution.offsets[b];
  });
  for (size_t i = 0; i < order.size(); ++i) {
    const LiveRange &a = problem.ranges[order[i]];
    int64_t end = solution.offsets[order[i]] + a.bytes;
    for (size_t j = i + 1; j < order.size() && solution.offsets[order[j]] < end; ++j)
      if (problem.ranges[order[j]].bytes > 0 && meet(a, problem.ranges[order[j]]))
        return std::pair(std::min(order[i], order[j]), std::max(order[i], order[j]));
  }
  return std::nullopt;
}
