//===- ArenaPackingTest.cpp - Packings against bounds and brute force ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Program/ArenaPacking.h"
#include "gtest/gtest.h"
#include <random>

using namespace moire::program;

namespace {

/// No two ranges share a byte at one time, by marking bytes.
bool isDisjoint(const ArenaProblem &problem, const ArenaSolution &solution) {
  int64_t end = 0;
  for (const LiveRange &r : problem.ranges)
    end = std::max(end, r.last + 1);
  for (int64_t time = 0; time < end; ++time) {
    std::vector<bool> taken(solution.bytes, false);
    for (size_t i = 0; i < problem.ranges.size(); ++i) {
      const LiveRange &r = problem.ranges[i];
      if (time < r.first || time > r.last)
        continue;
      for (int64_t b = solution.offsets[i]; b < solution.offsets[i] + r.bytes; ++b) {
        if (b >= solution.bytes || taken[b])
          return false;
        taken[b] = true;
      }
    }
  }
  return true;
}

TEST(ArenaPacking, Nothing) { EXPECT_EQ(packArena({}).bytes, 0); }

TEST(ArenaPacking, ReusesBytes) {
  // A chain: each buffer lives with its neighbour only.
  ArenaProblem problem;
  for (int64_t i = 0; i < 10; ++i)
    problem.ranges.push_back({640, i, i + 1});
  EXPECT_EQ(packArena(problem).bytes, 1280);
}

TEST(ArenaPacking, OffsetsAreAligned) {
  ArenaProblem problem;
  for (int64_t i = 0; i < 5; ++i)
    problem.ranges.push_back({100 + i, 0, 1});
  ArenaSolution solution = packArena(problem);
  EXPECT_EQ(solution.bytes, 5 * 128);
  for (int64_t offset : solution.offsets)
    EXPECT_EQ(offset % 64, 0);
}

TEST(ArenaPacking, BoundIsTheLargestSum) {
  ArenaProblem problem;
  problem.alignment = 1;
  problem.ranges = {{10, 0, 1}, {20, 1, 2}, {25, 3, 3}};
  EXPECT_EQ(lowerBound(problem), 30);
}

TEST(ArenaPacking, FindsOverlaps) {
  ArenaProblem problem;
  problem.ranges = {{64, 0, 2}, {64, 2, 3}, {64, 3, 4}};
  EXPECT_EQ(findOverlap(problem, {{0, 64, 0}, 128}), std::nullopt);
  EXPECT_EQ(findOverlap(problem, {{0, 32, 128}, 192}), std::pair(size_t(0), size_t(1)));
}

TEST(ArenaPacking, SmallRandomRangesAreDisjoint) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    std::mt19937 random(seed);
    ArenaProblem problem;
    problem.alignment = 4;
    int64_t n = 2 + random() % 20;
    for (int64_t i = 0; i < n; ++i) {
      int64_t first = random() % 20, size = 1 + random() % 50, length = random() % 10;
      problem.ranges.push_back({size, first, first + length});
    }
    ArenaSolution solution = packArena(problem);
    EXPECT_TRUE(isDisjoint(problem, solution)) << "seed " << seed;
    EXPECT_EQ(findOverlap(problem, solution), std::nullopt) << "seed " << seed;
    EXPECT_GE(solution.bytes, lowerBound(problem));
  }
}

/// The live ranges of a training step: activations live from their forward op to
/// their backward op, most of the rest for a few statements.
TEST(ArenaPacking, TrainingStepsComeWithinTenPercentOfTheBound) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    ArenaProblem problem;
    int64_t n = 50 + random() % 400;
    for (int64_t i = 0; i < n; ++i) {
      int64_t bytes = 64 << random() % 14, first = random() % n;
      int64_t last = random() % 3 == 0 ? 2 * n - first : first + random() % 6;
      problem.ranges.push_back({bytes, first, last});
    }
    ArenaSolution solution = packArena(problem);
    EXPECT_EQ(findOverlap(problem, solution), std::nullopt) << "seed " << seed;
    EXPECT_LE(solution.bytes, lowerBound(problem) * 1.1) << "seed " << seed;
  }
}

} // namespace
