//===- Generators.cpp - GPipe, 1F1B, interleaved 1F1B, ZB-H1, ZB-H2 -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Timetables are writeTimetable's: 3 is a forward, <3> its backward, [3] its b, {3} its W, letters
// are the second chunk, dots go on; F = b = W = 1, B = 2.
//
//===----------------------------------------------------------------------===//
#include "Generators.h"
#include "Graph.h"
#include <algorithm>

using namespace moire::scheduling;

static Task forward(int stage, int m) { return {TaskKind::Forward, 0, stage, m}; }
static Task backward(int stage, int m) { return {TaskKind::Backward, 0, stage, m}; }
static Task input(int stage, int m) { return {TaskKind::BackwardInput, 0, stage, m}; }

// GPipe (Huang et al. 2019): all forwards, then all backwards, here in the order of micro-batches.
//
//   rank 0 |0 1 2             <0> <1> <2>
//   rank 1 |  0 1 2       <0> <1> <2>
//   rank 2 |    0 1 2 <0> <1> <2>
Rows moire::scheduling::gpipe(const Problem &problem) {
  const int M = problem.microBatches[0];
  Rows rows(problem.ranks);
  for (int r = 0; r < problem.ranks; ++r) {
    for (int m = 0; m < M; ++m)
      rows[r].push_back(forward(r, m));
    for (int m = 0; m < M; ++m)
      rows[r].push_back(backward(r, m));
  }
  return rows;
}

// 1F1B (PipeDream-Flush, Narayanan et al. 2021): rank r runs P-1-r forwards ahead, then one
// forward and one backward in turns, then the backwards that are left.
//
//   rank 0 |0 1 2         <0> 3 <1>   <2>   <3>
//   rank 1 |  0 1     <0> 2 <1> 3 <2>   <3>
//   rank 2 |    0 <0> 1 <1> 2 <2> 3 <3>
Rows moire::scheduling::oneForwardOneBackward(const Problem &problem) {
  const int P = problem.ranks, M = problem.microBatches[0];
  Rows rows(P);
  for (int r = 0; r < P; ++r) {
    const int ahead = std::min(M, P - 1 - r);
    for (int m = 0; m < ahead; ++m)
      rows[r].push_back(forward(r, m));
    for (int m = 0; m < M; ++m) {
      if (ahead + m < M)
        rows[r].push_back(forward(r, ahead + m));
      rows[r].push_back(backward(r, m));
    }
  }
  return rows;
}

// Interleaved 1F1B (Narayanan et al., SC21): rank r holds stages r, r+P, …; micro-batches go
// through a chunk in groups of P.
//
//   rank 0 |0. 1. a. b. 2.    <a>.. 3. <b>.. c. <0>.. d. <1>..    <c>..    <d>.. <2>.. <3>..
//   rank 1 |   0. 1. a. <a>.. b. <b>.. 2. <0>.. 3. <1>.. c. <c>.. d. <d>.. <2>.. <3>..
Rows moire::scheduling::interleaved(const Problem &problem, int chunks) {
  const int P = problem.ranks, M = problem.microBatches[0], V = chunks;
  if (V == 1)
    return oneForwardOneBackward(problem);
  Rows rows(P);
  const int total = M * V;
  for (int r = 0; r < P; ++r) {
    auto chunk = [&](int k) { return k / P % V; };
    auto microBatch = [&](int k) { return k / (P * V) * P + k % P; };
    const int ahead = M == P ? total : std::min(total, 2 * (P - 1 - r) + (V - 1) * P);
    auto runForward = [&](int k) { rows[r].push_back(forward(chunk(k) * P + r, microBatch(k))); };
    for (int k = 0; k < ahead; ++k)
      runForward(k);
    for (int k = 0; k < total; ++k) {
      if (ahead + k < total)
        runForward(ahead + k);
      rows[r].push_back(backward((V - 1 - chunk(k)) * P + r, microBatch(k)));
    }
  }
  return rows;
}

// ZB-H1 (Qi et al. 2023): 1F1B with the backward in two, so that the next rank gets its cotangent
// after b. Weights wait for gaps or until a rank holds P activations: rank r is then behind by
// those of r micro-batches, and the last of them fill the end.
//
//   rank 0 |0. 1. 2.       [0]{0}3. [1]{1}4. [2]{2}[3]{3}[4]{4}
//   rank 1 |   0. 1.    [0]2. [1]{0}3. [2]{1}4. [3]{2}[4]{3}{4}
//   rank 2 |      0. [0]1. [1]2. [2]{0}3. [3]{1}4. [4]{2}{3}{4}
//
// ZB-H2: with room for 2P-1 activations rank r starts 2(P-1-r)+1 forwards; between its first action
// and its last no rank waits (at F = b = W).
//
//   rank 0 |0. 1. 2. 3. 4. [0]{0}5. [1][2]{1}{2}[3][4]{3}{4}[5]{5}
//   rank 1 |   0. 1. 2. [0]3. [1]4. [2]{0}5. [3][4]{1}{2}[5]{3}{4}{5}
//   rank 2 |      0. [0]1. [1]2. [2]3. [3]4. [4]{0}5. [5]{1}{2}{3}{4}{5}
Rows moire::scheduling::zeroBubble(const Problem &problem, int extra) {
  const int P = problem.ranks, M = problem.microBatches[0];
  Rows rows(P);
  for (int r = 0; r < P; ++r) {
    const int more = P > 1 ? extra * (P - 1 - r) / (P - 1) : 0;
    const int ahead = std::min(M, P - 1 - r + more); // before the first pair of F and b
    for (int m = 0; m < ahead; ++m)
      rows[r].push_back(forward(r, m));
    for (int m = 0; m < M; ++m) {
      if (ahead + m < M)
        rows[r].push_back(forward(r, ahead + m));
      rows[r].push_back(input(r, m));
    }
  }
  placeWeights(problem, rows, P + extra);
  return rows;
}

void moire::scheduling::placeWeights(const Problem &problem, Rows &rows, int most) {
  const int P = problem.ranks, S = problem.numStages();
  Cells cells(problem);
  std::vector<double> forwardAt(cells.size(), -1), inputAt(cells.size(), -1);
  struct Line {
    std::vector<Task> tasks; // F and b in their order
    size_t next = 0, weighed = 0;
    std::vector<Task> weights;
    int held = 0;
    double free = 0;
  };
  std::vector<Line> lines(P);
  for (int r = 0; r < P; ++r) {
    for (const Action &action : rows[r])
      if (action.first.kind != TaskKind::BackwardWeight)
        lines[r].tasks.push_back(action.first);
    rows[r].clear();
  }
  /// When the input of a task is there; negative: its maker has not been placed yet.
  auto arrival = [&](int r, const Task &task) -> double {
    const int from = task.stage + (task.isForward() ? -1 : 1);
    if (from < 0)
      return 0;
    if (from == S)
      return forwardAt[cells.of(task)];
    const double made =
        (task.isForward() ? forwardAt : inputAt)[cells.of(task.path, from, task.microBatch)];
    const int sender = problem.rankOf[task.path][from];
    if (made < 0 || sender == r)
      return made;
    const Link &link = problem.linkOf(sender, r);
    return made + link.latency +
           problem.stages[std::min(from, task.stage)].outputBytes / link.bandwidth;
  };
  while (true) {
    // The rank whose next action starts first; all that could come before it is placed.
    int chosen = -1;
    bool weigh = false;
    double begin = 0;
    for (int r = 0; r < P; ++r) {
      Line &line = lines[r];
      double at = -1;
      bool isWeight = false;
      const bool pending = line.weighed < line.weights.size();
      if (line.next < line.tasks.size()) {
        const Task &task = line.tasks[line.next];
        const bool full = task.isForward() && line.held >= most && pending;
        const double come = full ? -1 : arrival(r, task);
        if (come >= 0)
          at = std::max(line.free, come);
      }
      // A gap takes a W when it hides at least half of it.
      if (pending) {
        const double half = taskCost(problem, line.weights[line.weighed]) / 2;
        if (at < 0 || at - line.free >= half * (1 - 1e-9)) {
          isWeight = at < 0 || at > line.free;
          at = isWeight ? line.free : at;
        }
      }
      if (at >= 0 && (chosen < 0 || at < begin || (at == begin && weigh && !isWeight)))
        chosen = r, begin = at, weigh = isWeight;
    }
    if (chosen < 0)
      return;
    Line &line = lines[chosen];
    Task task = weigh ? line.weights[line.weighed++] : line.tasks[line.next++];
    rows[chosen].push_back(task);
    line.free = begin + taskCost(problem, task);
    line.held += task.isForward() - task.accumulates();
    if (task.isForward())
      forwardAt[cells.of(task)] = line.free;
    if (task.isBackward()) {
      inputAt[cells.of(task)] = line.free;
      task.kind = TaskKind::BackwardWeight;
      line.weights.push_back(task);
    }
  }
}

Refusal moire::scheduling::generate(const Problem &problem, Kind kind, Schedule &schedule) {
  if (Refusal refusal = check(problem, kind))
    return refusal;
  schedule = Schedule();
  switch (kind.name) {
  case Kind::GPipe:
    schedule.ranks = gpipe(problem);
    break;
  case Kind::OneFOneB:
    schedule.ranks = oneForwardOneBackward(problem);
    break;
  case Kind::Interleaved:
    schedule.ranks = interleaved(problem, kind.chunks);
    break;
  case Kind::ZeroBubbleH1:
    schedule.ranks = zeroBubble(problem, 0);
    break;
  case Kind::ZeroBubbleH2:
    schedule.ranks = zeroBubble(problem, problem.ranks - 1);
    break;
  case Kind::ZeroBubbleV:
    schedule.ranks = zeroBubbleV(problem);
    break;
  case Kind::VHalf:
    schedule.ranks = vHalf(problem);
    break;
  case Kind::DualPipe:
    schedule.ranks = dualPipe(problem);
    break;
  case Kind::DualPipeV:
    schedule.ranks = dualPipeV(problem);
    break;
  case Kind::Auto:
    return "auto is a search, not a generator; use searchSchedule";
  }
  orderMessages(problem, schedule);
  return verify(problem, schedule);
}
