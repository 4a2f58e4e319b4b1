//===- SearchTest.cpp - The schedule named auto ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Search.h"
#include "Executor.h"
#include "TestProblems.h"

using namespace testproblems;

namespace {

SearchResult search(const Workload &work, long budget) {
  SearchOptions options;
  options.budget = budget;
  SearchResult result;
  EXPECT_EQ(searchSchedule(work, options, result).value_or(""), "");
  return result;
}

TEST(Search, NeverWorseThanTheBestGeneratorUnderTheLimit) {
  std::mt19937 random(8);
  int better = 0, found = 0;
  for (int trial = 0; trial < 120; ++trial) {
    Workload work = randomCase(random).work;
    work.ranks = 2 + random() % 4;
    work.parts.resize(1);
    work.parts.resize(work.ranks, work.parts[0]);
    work.microBatches = 2 * work.ranks + 2 * (random() % 6);
    if (random() % 2) {
      work.memoryLimit = work.parts[0].parameterBytes * 2 +
                         work.parts[0].activationBytes * (2 + random() % (2 * work.ranks));
    }
    SearchOptions options;
    options.budget = 60000;
    SearchResult result;
    if (searchSchedule(work, options, result))
      continue;
    ++found;
    ASSERT_EQ(verify(result.problem, result.schedule).value_or(""), "");
    ASSERT_TRUE(Executor::runs(result.problem, result.schedule));
    if (work.memoryLimit > 0) {
      ASSERT_LE(result.timing.peakBytes(), work.memoryLimit * (1 + 1e-9));
    }
    ASSERT_GE(result.timing.makespan, result.bound.time * (1 - 1e-9)) << result.how;
    for (Kind kind : generatorKinds()) {
      Problem problem;
      Schedule schedule;
      if (place(work, kind, problem) || generate(problem, kind, schedule))
        continue;
      ASSERT_LE(result.timing.makespan, simulate(problem, schedule).makespan) << kind.str();
    }
    better += result.generator.empty() || result.timing.makespan < result.generatorMakespan * 0.999;
  }
  std::printf("found %d, better than every generator in %d\n", found, better);
  EXPECT_GT(found, 100);
  EXPECT_GT(better, found / 4);
}

/// Small searches, so that there can be many.
TEST(Search, WhateverItReturnsVerifies) {
  std::mt19937 random(9);
  int found = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    Workload work = randomCase(random).work;
    if (random() % 2)
      work.memoryLimit = work.parts[0].parameterBytes * 2 +
                         work.parts[0].activationBytes * (2 + random() % (2 * work.ranks));
    SearchOptions options;
    options.budget = 4000;
    SearchResult result;
    if (searchSchedule(work, options, result))
      continue;
    ++found;
    ASSERT_EQ(verify(result.problem, result.schedule).value_or(""), "") << result.how;
    ASSERT_TRUE(Executor::runs(result.problem, result.schedule)) << result.how;
    ASSERT_GE(result.timing.makespan, result.bound.time * (1 - 1e-9)) << result.how;
  }
  std::printf("found %d\n", found);
  EXPECT_GT(found, 1500);
}

TEST(Search, IsDeterministic) {
  Workload work = deepSeekV3();
  work.microBatches = 40;
  const SearchResult a = search(work, 1000000), b = search(work, 1000000);
  EXPECT_EQ(a.schedule.ranks, b.schedule.ranks);
  EXPECT_EQ(a.how, b.how);
}

TEST(Search, DeepSeekV3OnTheSameRanksAndMemory) {
  Workload work = deepSeekV3();
  work.memoryLimit = 19; // DualPipe: two copies of a stage's parameters, 17 activations
  const SearchResult result = search(work, 24000000);
  EXPECT_EQ(result.generator, "dualpipe");
  EXPECT_LT(result.timing.makespan / 1000 + 0.29, 18.56) << "DualPipe: 18.645";
  EXPECT_LE(result.timing.peakBytes(), 19);
  EXPECT_EQ(verify(result.problem, result.schedule).value_or(""), "");
  // By hand: the first backward is on ranks 7 and 8 after 16 F and 7 b; 17 forwards fit before it,
  // so that 103 pairs and 17 lone backwards follow.
  EXPECT_EQ(result.bound.why, Bound::FirstBackward);
  EXPECT_EQ(result.bound.rank, 7);
  EXPECT_TRUE(result.bound.byMemory);
  EXPECT_NEAR(result.bound.time, 16 * 57.6 + 7 * 84.1 + 103 * 139.0 + 17 * (84.1 + 41.7), 0.5);
  std::printf("DeepSeek-V3: %.3f s by %s, bound %.3f s\n", result.timing.makespan / 1000 + 0.29,
              result.how.c_str(), result.bound.time / 1000 + 0.29);
}

TEST(Search, UsesMoreMemoryWhereThereIsSome) {
  Workload work = deepSeekV3();
  work.memoryLimit = 26;
  const SearchResult result = search(work, 12000000);
  EXPECT_LT(result.timing.makespan, 0.99 * result.generatorMakespan);
  std::printf("DeepSeek-V3 with 26 for 19: %.3f s by %s\n", result.timing.makespan / 1000 + 0.29,
              result.how.c_str());
}

TEST(Search, PairsForwardsWhereThatSavesTime) {
  // The network takes half of a forward and nobody else hides it in the warm-up.
  Workload work = unitWorkload("1f1b", 4, 12);
  work.contention = 0.9;
  for (StageCost &cost : work.parts) {
    cost.forwardWithBackward = 0;
    cost.forward = 2, cost.forwardCollective = 1, cost.backward = 3, cost.backwardInput = 2,
    cost.backwardCollective = 1;
  }
  const SearchResult result = search(work, 2000000);
  bool pairs = false;
  for (const auto &row : result.schedule.ranks)
    for (const Action &action : row)
      pairs |= action.second && action.first.isForward() == action.second->isForward();
  EXPECT_TRUE(pairs);
  EXPECT_LT(result.timing.makespan, result.generatorMakespan);
}

TEST(Search, OnAGivenPlacement) {
  Problem problem;
  ASSERT_FALSE(place(deepSeekV3(), kindOf("1f1b"), problem));
  SearchOptions options;
  options.budget = 2000000;
  SearchResult result;
  ASSERT_EQ(searchPlaced(problem, options, result).value_or(""), "");
  EXPECT_EQ(result.problem.rankOf, problem.rankOf);
  EXPECT_LE(result.timing.makespan, result.generatorMakespan);
}

TEST(Search, AMemoryLimitThatNobodyMeets) {
  Workload work = deepSeekV3();
  work.memoryLimit = 1.5;
  SearchResult result;
  EXPECT_EQ(searchSchedule(work, SearchOptions(), result).value_or("accepted"),
            "rank 0 needs 2 bytes for its parameters and one micro-batch, above the limit of 1.5; "
            "use a limit of 2 or "
            "more ranks");
}

} // namespace
