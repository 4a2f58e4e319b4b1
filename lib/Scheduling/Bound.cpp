//===- Bound.cpp - What no schedule on a placement can beat ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A rank has no backward before the first micro-batch has gone down all stages and come back to
// it. Until then it can only run forwards, as many as have arrived and as its memory holds; each
// of them takes a partner from a pair. Seen from the other end of the step, after a rank's last
// forward a micro-batch still has to go down and back up all the way, and the rank can only run
// backwards, of which memory holds as many.
//
//    rank 7  ......|F F F F F F F|FB FB FB … FB|B B B B B B|.....
//            first F at its rank   first B           last F ends
//
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Search.h"
#include <algorithm>
#include <cmath>

using namespace moire::scheduling;

namespace {

/// The work of one rank.
struct RankWork {
  double arrive = INFINITY;           ///< its first forward can begin
  double backward = INFINITY;         ///< its first backward can begin
  double after = INFINITY;            ///< from the end of its last forward to the end of the step
  double forwards = 0, backwards = 0; ///< seconds alone
  double count = 0;                   ///< of forwards, and of backwards
  double longestF = 0, longestB = 0;
  /// The most that a pair saves: of a forward and a backward, of two forwards, of two backwards.
  double saveFB = 0, saveFF = 0, saveBB = 0;
  /// Seconds of forwards, of backwards, whose activations are held at once.
  double heldF = INFINITY, heldB = INFINITY;
  /// Time in pairs of two over the time of the two alone.
  double shortF = 1, shortB = 1;
};

/// Way of one micro-batch on one path, everything as early as it can be.
struct Way {
  std::vector<double> forwardAt, backwardAt; ///< [stage] inputs arrive
  double end = 0;
};

Way wayOf(const Problem &problem, int path) {
  const int S = problem.numStages();
  Way way;
  way.forwardAt.assign(S, 0);
  way.backwardAt.assign(S, 0);
  const std::vector<int> &rankOf = problem.rankOf[path];
  const auto transfer = [&](int from, int to) {
    if (rankOf[from] == rankOf[to])
      return 0.0;
    const Link &link = problem.linkOf(rankOf[from], rankOf[to]);
    return link.latency + problem.stages[std::min(from, to)].outputBytes / link.bandwidth;
  };
  double at = 0;
  for (int s = 0; s < S; ++s) {
    way.forwardAt[s] = at;
    at += problem.stages[s].forward + (s + 1 < S ? transfer(s, s + 1) : 0);
  }
  for (int s = S - 1; s >= 0; --s) {
    way.backwardAt[s] = at;
    const StageCost &cost = problem.stages[s];
    at += std::min(cost.backward, cost.backwardInput) + (s > 0 ? transfer(s, s - 1) : 0);
  }
  way.end = at;
  return way;
}

double wholeBackward(const StageCost &cost) {
  return std::min(cost.backward, cost.backwardInput + cost.backwardWeight);
}

RankWork workOf(const Problem &problem, const std::vector<Way> &ways, int rank) {
  RankWork work;
  std::vector<int> stages;
  double shortestF = INFINITY, shortestB = INFINITY;
  for (int path = 0; path < problem.numPaths(); ++path)
    for (int s = 0; s < problem.numStages(); ++s) {
      if (problem.rankOf[path][s] != rank)
        continue;
      const StageCost &cost = problem.stages[s];
      const double M = problem.microBatches[path], B = wholeBackward(cost);
      const Way &way = ways[path];
      stages.push_back(s);
      work.arrive = std::min(work.arrive, way.forwardAt[s]);
      work.backward = std::min(work.backward, way.backwardAt[s]);
      work.after = std::min(work.after, way.end - way.forwardAt[s] - cost.forward);
      work.forwards += M * cost.forward;
      work.backwards += M * B;
      work.count += M;
      work.longestF = std::max(work.longestF, cost.forward);
      work.longestB = std::max(work.longestB, B);
      shortestF = std::min(shortestF, cost.forward);
      shortestB = std::min(shortestB, B);
    }
  // Of what a task takes in the cheapest form, with or without its weights at once.
  const auto alone = [&](TaskKind kind, int stage) {
    const StageCost &cost = problem.stages[stage];
    return kind == TaskKind::Forward    ? cost.forward
           : kind == TaskKind::Backward ? wholeBackward(cost)
                                        : wholeBackward(cost) - cost.backwardWeight;
  };
  for (const int a : stages)
    for (const int b : stages) {
      const auto saved = [&](TaskKind x, TaskKind y) {
        return alone(x, a) + alone(y, b) -
               actionCost(problem, Action(Task{x, 0, a, 0}, Task{y, 0, b, 1}));
      };
      for (const TaskKind kind : {TaskKind::Backward, TaskKind::BackwardInput}) {
        work.saveFB = std::max(work.saveFB, saved(TaskKind::Forward, kind));
        work.saveBB = std::max(work.saveBB, saved(kind, kind));
      }
      work.saveBB = std::max(work.saveBB, saved(TaskKind::Backward, TaskKind::BackwardInput));
      work.saveFF = std::max(work.saveFF, saved(TaskKind::Forward, TaskKind::Forward));
    }
  // Neither of a pair gets shorter than it is alone, so that a pair is at least half of both.
  work.shortF = shortestF > 0 ? std::max(0.5, 1 - work.saveFF / 2 / shortestF) : 0.5;
  work.shortB = shortestB > 0 ? std::max(0.5, 1 - work.saveBB / 2 / shortestB) : 0.5;
  if (problem.unlimited())
    return work;
  const double room = problem.memoryLimit * (1 + 1e-9) - problem.parameterBytes(rank);
  double perByteF = 0, perByteB = 0;
  bool equal = true;
  for (const int s : stages) {
    const StageCost &cost = problem.stages[s], &first = problem.stages[stages[0]];
    equal &= cost.activationBytes == first.activationBytes;
    perByteF = std::max(perByteF, cost.forward / cost.activationBytes);
    // What b leaves until W may be all that is held.
    const double held = std::min(cost.activationBytes, cost.residualBytes());
    perByteB = std::max(perByteB, wholeBackward(cost) / held);
  }
  if (std::isfinite(perByteF)) {
    const double each = problem.stages[stages[0]].activationBytes;
    work.heldF = equal ? std::floor(room / each) * work.longestF : room * perByteF;
  }
  if (std::isfinite(perByteB))
    work.heldB = room * perByteB;
  return work;
}

/// The least time of `f` forwards and `b` backwards that take `alone` one by one.
double paired(const RankWork &work, double alone, double f, double b) {
  f = std::max(0.0, f), b = std::max(0.0, b);
  // Linear in the number of mixed pairs, so one of the ends is best.
  const double mixed = std::min(f, b);
  double saved = 0;
  for (const double x : {0.0, mixed})
    saved =
        std::max(saved, x * work.saveFB + (f - x) / 2 * work.saveFF + (b - x) / 2 * work.saveBB);
  return alone - saved;
}

} // namespace

Bound moire::scheduling::makespanBound(const Problem &problem) {
  std::vector<Way> ways;
  Bound bound;
  for (int path = 0; path < problem.numPaths(); ++path) {
    ways.push_back(wayOf(problem, path));
    bound.time = std::max(bound.time, ways.back().end);
  }
  const auto raise = [&](const Bound &other) {
    if (other.time > bound.time * (1 + 1e-12))
      bound = other;
  };
  for (int rank = 0; rank < problem.ranks; ++rank) {
    const RankWork work = workOf(problem, ways, rank);
    if (work.count == 0)
      continue;
    const double all = work.forwards + work.backwards;
    // More forwards before the first backward save time there and cost pairs later. Between the
    // ends and where they fill the window the time is concave in them, so it is least at one.
    const double most = std::min(work.heldF, work.forwards);
    const double window = (work.backward - work.arrive) / work.shortF;
    Bound first{INFINITY, Bound::FirstBackward, rank, work.backward, 0, work.heldF < window};
    for (const double head : {std::min(window, most), most, 0.0}) {
      const double f = work.longestF > 0 ? work.count - head / work.longestF : 0;
      const double time = std::max(work.backward, work.arrive + head * work.shortF) +
                          paired(work, all - head, f, work.count);
      if (time < first.time)
        first.time = time, first.filled = head;
    }
    raise(first);
    const double mostB = std::min(work.heldB, work.backwards);
    const double end = work.after / work.shortB;
    Bound last{INFINITY, Bound::LastForward, rank, work.after, 0, work.heldB < end};
    for (const double tail : {std::min(end, mostB), mostB, 0.0}) {
      const double b = work.longestB > 0 ? work.count - tail / work.longestB : 0;
      const double time = work.arrive + std::max(work.after, tail * work.shortB) +
                          paired(work, all - tail, work.count, b);
      if (time < last.time)
        last.time = time, last.filled = tail;
    }
    raise(last);
  }
  return bound;
}
