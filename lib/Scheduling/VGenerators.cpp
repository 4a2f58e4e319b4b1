//===- VGenerators.cpp - ZB-V, V-Half, DualPipe, DualPipeV ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Two stages on a rank. In the V placements rank r holds stages r and 2P-1-r (chunks 0 and 1), so
// that data comes in and loss comes out at rank 0; in DualPipe two pipelines run against each
// other.
//
//===----------------------------------------------------------------------===//
#include "Generators.h"
#include "Graph.h"
#include <algorithm>
#include <deque>

using namespace moire::scheduling;

//===----------------------------------------------------------------------===//
// ZB-V and V-Half
//===----------------------------------------------------------------------===//

/// Unit times at which rank r runs the parts of micro-batch 0; micro-batch m follows 6 m later.
struct Block {
  int forward0, forward1, input1, input0;
};

// A block repeats on every rank each 6 units: F, b and W of two chunks (Qi et al., "Pipeline
// Parallelism with Controllable Memory", 2024). How many units a micro-batch takes from one rank
// to the next, down with chunk 0 (a), up with chunk 1 (b), down again with its cotangent (c) and
// up (d), decides how long activations live: about (a+b+c+d) P units, in 6 of which a rank makes
// two. Executed as soon as possible, in the order of these times, the gaps at the start close.
//
// One block on three ranks, (a,b,c,d) = (2,1,2,1); W fills what is free:
//
//   unit    0  1  2  3  4  5  6  7  8  9 10 11 12 13 14
//   rank 0 |F0                   F1 b1                ... b0
//   rank 1 |      F0          F1       b1       b0
//   rank 2 |            F0 F1             b1 b0
static Rows fromBlocks(const Problem &problem, const std::vector<Block> &blocks) {
  const int P = problem.ranks, M = problem.microBatches[0];
  Rows rows(P);
  for (int r = 0; r < P; ++r) {
    const Block &block = blocks[r];
    bool used[6] = {};
    for (int at : {block.forward0, block.forward1, block.input1, block.input0})
      used[at % 6] = true;
    auto freeFrom = [&](int at) {
      while (used[at % 6])
        ++at;
      used[at % 6] = true;
      return at;
    };
    const int weight1 = freeFrom(block.input1 + 1), weight0 = freeFrom(block.input0 + 1);
    const int low = r, high = 2 * P - 1 - r;
    struct Entry {
      int at;
      Task task;
    };
    std::vector<Entry> entries;
    for (int m = 0; m < M; ++m) {
      entries.push_back({6 * m + block.forward0, {TaskKind::Forward, 0, low, m}});
      entries.push_back({6 * m + block.forward1, {TaskKind::Forward, 0, high, m}});
      entries.push_back({6 * m + block.input1, {TaskKind::BackwardInput, 0, high, m}});
      entries.push_back({6 * m + block.input0, {TaskKind::BackwardInput, 0, low, m}});
      entries.push_back({6 * m + weight1, {TaskKind::BackwardWeight, 0, high, m}});
      entries.push_back({6 * m + weight0, {TaskKind::BackwardWeight, 0, low, m}});
    }
    std::stable_sort(entries.begin(), entries.end(),
                     [](const Entry &a, const Entry &b) { return a.at < b.at; });
    for (const Entry &entry : entries)
      rows[r].push_back(entry.task);
  }
  int most = 0;
  for (const std::vector<Action> &row : rows)
    most = std::max(most, peakMemory(problem, row).activations);
  placeWeights(problem, rows, most);
  return rows;
}

/// Blocks with these hops; every turn (loss at rank 0, bottom of the V) is as short as leaves the
/// four times different modulo 6 on every rank.
static std::vector<Block> makeBlocks(int P, int a, int b, int c, int d) {
  for (int bottom = 1; bottom <= 6; ++bottom)
    for (int loss = 1; loss <= 6; ++loss)
      for (int back = 1; back <= 6; ++back) {
        std::vector<Block> blocks(P);
        bool clash = false;
        for (int r = 0; r < P; ++r) {
          Block &block = blocks[r];
          block.forward0 = a * r;
          block.forward1 = a * (P - 1) + bottom + b * (P - 1 - r);
          const int turned = a * (P - 1) + bottom + b * (P - 1) + loss;
          block.input1 = turned + c * r;
          block.input0 = turned + c * (P - 1) + back + d * (P - 1 - r);
          bool used[6] = {};
          for (int at : {block.forward0, block.forward1, block.input1, block.input0}) {
            clash |= used[at % 6];
            used[at % 6] = true;
          }
        }
        if (!clash)
          return blocks;
      }
  return {};
}

// ZB-V: (4,2,4,2), as much memory as 1F1B.
//
//   rank 0 |0. 1. 2.       a. [a]3. b. [b]{a}c. [c][0]{b}d. [d][1]{c}[2]{0}[3]{d}{1}{2}{3}
//   rank 1 |   0. 1.    a. 2. b. [a]3. {a}c. [b][0]{b}d. [c][1][d][2]{0}[3]{c}{1}{d}{2}{3}
//   rank 2 |      0. a. 1. b. 2. c. [a][0]{a}3. {0}d. [b][1][c][2][d][3]{b}{1}{c}{2}{d}{3}
Rows moire::scheduling::zeroBubbleV(const Problem &problem) {
  return fromBlocks(problem, makeBlocks(problem.ranks, 4, 2, 4, 2));
}

// V-Half: (2,1,2,1), half of the memory of 1F1B.
//
//   rank 0 |0. 1.          a. [a]2. {a}b. [b]{b}[0]3. {0}c. [c]{c}[1]{1}   d. [d][2]{d}{2}   [3]{3}
//   rank 1 |   0.       a. 1.    [a]b. {a}2. [0][b]{0}c. {b}3. [1][c]{1}d. {c}[2][d]{2}{d}[3]{3}
//   rank 2 |      0. a.       1. b. [a][0]{a}2. {0}c. [b][1]{b}3. {1}d. [c][2]{c}{2}[d][3]{d}{3}
Rows moire::scheduling::vHalf(const Problem &problem) {
  return fromBlocks(problem, makeBlocks(problem.ranks, 2, 1, 2, 1));
}

//===----------------------------------------------------------------------===//
// DualPipe and DualPipeV
//===----------------------------------------------------------------------===//

// DualPipe (DeepSeek-AI 2024): 4 ranks, 4 micro-batches from either end, the second direction in
// letters; d+1 is the forward of d with the backward of 1, F = b = W = 1, B = 2, F&B = 3.
//
//   rank 0 |0. 1. 2. a. [a]{a}b. 3+b.....    c+0..... <c>..    d+1..... <d>.. [2]{2}[3]{3}
//   rank 1 |   0. a. 1. b. 2. <a>.. c+0..... 3+b..... d+1..... <c>.. <2>..    [d][3]{d}{3}
//   rank 2 |   a. 0. b. 1. c. <0>.. 2+a..... d+1..... 3+b..... <2>.. <c>..    [3][d]{3}{d}
//   rank 3 |a. b. c. 0. [0]{0}1. d+1.....    2+a..... <2>..    3+b..... <3>.. [c]{c}[d]{d}
//
// DualPipeV is the same with the two halves of the V for directions, folded so that rank r does
// what ranks r and 2P-1-r of DualPipe do.
//
//   rank 0 |0. 1. 2. a. [a]{a}b. 3+b.....    c+0..... <c>..    d+1..... <d>.. [2]{2}[3]{3}
//   rank 1 |   0. a. 1. b. 2. <a>.. c+0..... 3+b..... d+1..... <c>.. <2>..    [d][3]{d}{3}
//
// `half` is H and `depth` is h below; phase p is direction p on the upper half of DualPipe's
// ranks and 1-p on the lower, or chunk p of a V.
namespace {
class EightPhases {
public:
  EightPhases(const Problem &problem, int rank, bool folded)
      : folded(folded), problem(problem), rank(rank), P(problem.ranks), half(folded ? P : P / 2),
        depth(folded ? rank : std::min(rank, P - 1 - rank)) {}

  std::vector<Action> run() {
    const bool middle = depth == half - 1;
    const int rest = half - depth - 1;
    // 1. Fill with the first direction.
    for (int i = 0; i < 2 * rest; ++i)
      actions.push_back(next(TaskKind::Forward, 0));
    // 2. Both directions arrive.
    for (int i = 0; i <= depth; ++i) {
      actions.push_back(next(TaskKind::Forward, 0));
      actions.push_back(next(TaskKind::Forward, 1));
    }
    // 3. First cotangents: hand them on at once, weights in the gaps.
    for (int i = 0; i < rest; ++i) {
      split(1);
      popWeight();
      actions.push_back(next(TaskKind::Forward, 1));
    }
    // 4. The steady state.
    const int M = problem.totalMicroBatches();
    const int steady = (folded ? M - 2 * P : M / 2 - P) + depth + 1;
    for (int i = 0; i < steady; ++i) {
      if (i == 0 && middle) {
        actions.push_back(next(TaskKind::Forward, 0));
        actions.push_back(next(TaskKind::Backward, 1));
      } else {
        overlap(0, 1);
      }
      overlap(1, 0);
    }
    // 5. No forward of the first direction is left.
    for (int i = 0; i < rest; ++i) {
      actions.push_back(next(TaskKind::Backward, 1));
      overlap(1, 0);
    }
    // 6. Drain; from the middle on weights wait, so that cotangents go faster.
    bool late = false;
    auto drain = [&](int phase) {
      if (late)
        split(phase);
      else
        actions.push_back(next(TaskKind::Backward, phase));
    };
    for (int i = 0; i <= depth; ++i) {
      const bool turn = i == (depth + 1) / 2;
      late |= turn && depth % 2 == 1;
      drain(1);
      late |= turn;
      drain(0);
    }
    // 7. and 8. The weights that waited.
    for (int i = 0; i < rest; ++i) {
      popWeight();
      split(0);
    }
    while (!fifo.empty())
      popWeight();
    return actions;
  }

private:
  const bool folded;
  const Problem &problem;
  const int rank, P, half, depth;
  std::vector<Action> actions;
  std::deque<Task> fifo;
  int forwards[2] = {0, 0}, backwards[2] = {0, 0};

  Task next(TaskKind kind, int phase) {
    int &count = kind == TaskKind::Forward ? forwards[phase] : backwards[phase];
    const int m = count++;
    if (folded)
      return {kind, 0, phase == 0 ? rank : 2 * P - 1 - rank, m};
    const int direction = phase ^ (rank >= half ? 1 : 0);
    return {kind, direction, direction == 0 ? rank : P - 1 - rank, m};
  }
  void overlap(int forwardPhase, int backwardPhase) {
    const Task f = next(TaskKind::Forward, forwardPhase);
    actions.push_back({f, next(TaskKind::Backward, backwardPhase)});
  }
  void split(int phase) {
    Task task = next(TaskKind::BackwardInput, phase);
    actions.push_back(task);
    task.kind = TaskKind::BackwardWeight;
    fifo.push_back(task);
  }
  void popWeight() {
    actions.push_back(fifo.front());
    fifo.pop_front();
  }
};
} // namespace

static Rows eightPhases(const Problem &problem, bool folded) {
  Rows rows(problem.ranks);
  for (int r = 0; r < problem.ranks; ++r)
    rows[r] = EightPhases(problem, r, folded).run();
  return rows;
}

Rows moire::scheduling::dualPipe(const Problem &problem) { return eightPhases(problem, false); }
Rows moire::scheduling::dualPipeV(const Problem &problem) { return eightPhases(problem, true); }
