//===- GeneratorsTest.cpp - Bubbles and memory against closed forms -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TestProblems.h"

using namespace testproblems;

namespace {

Workload costs(const std::string &kind, int P, int M, double F, double b, double W) {
  Workload work = unitWorkload(kind, P, M);
  for (StageCost &cost : work.parts) {
    cost.forward = F, cost.backwardInput = b, cost.backwardWeight = W, cost.backward = b + W;
    cost.forwardWithBackward = F + b + W;
  }
  return work;
}

double largestIdle(const Outcome &run) {
  double most = 0;
  for (const RankTiming &rank : run.timing.ranks)
    most = std::max(most, rank.idle);
  return most;
}

int largestPeak(const Outcome &run) {
  int most = 0;
  for (const RankTiming &rank : run.timing.ranks)
    most = std::max(most, rank.peakActivations);
  return most;
}

TEST(Generators, GPipeAndOneForwardOneBackwardHaveThePublishedBubble) {
  for (int P = 1; P <= 9; ++P)
    for (int M = P; M < P + 9; M += 3)
      for (double b : {1.0, 2.5}) {
        Outcome gpipe = runWorkload("gpipe", costs("gpipe", P, M, 1, b, 1));
        Outcome one = runWorkload("1f1b", costs("1f1b", P, M, 1, b, 1));
        EXPECT_DOUBLE_EQ(largestIdle(gpipe), (P - 1) * (2 + b));
        EXPECT_DOUBLE_EQ(largestIdle(one), (P - 1) * (2 + b)) << "(PP-1)(F+B)";
        EXPECT_EQ(largestPeak(gpipe), M);
        EXPECT_EQ(largestPeak(one), P);
      }
}

TEST(Generators, InterleavingDividesTheBubbleByItsChunks) {
  for (int P : {2, 3, 4, 8})
    for (int V : {2, 3, 4})
      for (int M : {P, 2 * P, 4 * P}) {
        Outcome run = runUnit("interleaved:" + std::to_string(V), P, M);
        // Stages of 1/V: the idle time of P-1 small stages, not of P-1 whole ones.
        EXPECT_EQ(largestIdle(run), (P - 1) * 3) << P << " " << V << " " << M;
        if (M > P) { // SC21: what 1F1B holds, times 1 + (P-1)/(PV)
          EXPECT_EQ(largestPeak(run), P * V + P - 1);
        }
      }
}

TEST(Generators, ZeroBubbleH1) {
  for (int P : {2, 4, 8, 16})
    for (int M : {2 * P, 3 * P, 5 * P}) {
      Outcome run = runUnit("zb-h1", P, M);
      EXPECT_EQ(largestIdle(run), P - 1) << "(PP-1)(F+B-2W)";
      EXPECT_EQ(largestPeak(run), P);
    }
}

TEST(Generators, ZeroBubbleH2HasNoBubbleWithinARank) {
  for (int P : {2, 4, 8, 16}) {
    Outcome run = runUnit("zb-h2", P, 4 * P);
    for (const RankTiming &rank : run.timing.ranks)
      EXPECT_EQ(rank.span, rank.busy);
    EXPECT_EQ(largestPeak(run), 2 * P - 1);
  }
}

TEST(Generators, ZeroBubbleVHoldsWhat1F1BHolds) {
  for (int P : {2, 4, 8, 16}) {
    Outcome run = runUnit("zb-v", P, 4 * P);
    // Half stages: 2P of them are the P activations of 1F1B. Only the way to the last rank and
    // back from it is idle.
    EXPECT_EQ(largestPeak(run), 2 * P);
    EXPECT_EQ(largestIdle(run), P - 1);
  }
}

TEST(Generators, VHalfHoldsHalfOfWhat1F1BHolds) {
  for (int P : {4, 8, 16}) {
    Outcome half = runUnit("v-half", P, 4 * P);
    Outcome one = runUnit("1f1b", P, 4 * P);
    EXPECT_LE(largestPeak(half), P + 3) << "of half stages: P/2 and the turns of the V";
    // Published: half the bubble of 1F1B (its stages here are twice as large).
    EXPECT_LE(largestIdle(half), largestIdle(one) * 2 / 2);
  }
}

/// Table 2 of the DeepSeek-V3 report at unit costs: 21/7/6 for 8 ranks, 45/15/14 for 16.
TEST(Generators, BubblesOfTheDualPipeReport) {
  for (auto [P, one, zero, dual] : {std::tuple(8, 21, 7, 6), std::tuple(16, 45, 15, 14)}) {
    EXPECT_EQ(largestIdle(runUnit("1f1b", P, 3 * P)), one);
    EXPECT_EQ(largestIdle(runUnit("zb-h1", P, 3 * P)), zero);
    EXPECT_EQ(largestIdle(runUnit("dualpipe", P, 3 * P)), dual);
  }
}

TEST(Generators, FewMicroBatchesStillRun) {
  for (const char *kind : {"gpipe", "1f1b", "zb-h1", "zb-h2", "zb-v", "v-half"})
    for (int P = 1; P <= 6; ++P)
      for (int M = 1; M <= P; ++M)
        EXPECT_GT(runUnit(kind, P, M).timing.makespan, 0) << kind;
}

} // namespace
