//===- SimulatorTest.cpp - Times that can be worked out by hand -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TestProblems.h"

using namespace testproblems;

namespace {

Workload twoRanks(double bytes, double bandwidth, double latency) {
  Workload work = unitWorkload("1f1b", 2, 1);
  for (StageCost &cost : work.parts)
    cost.outputBytes = bytes;
  work.link = {latency, bandwidth};
  return work;
}

TEST(Simulator, TransfersTakeLatencyAndBytes) {
  // F0 [0,1], 0.5 + 6/4 on the way, F1 B1 [3,6], as long back, B0 [8,10].
  Outcome run = runWorkload("1f1b", twoRanks(6, 4, 0.5));
  EXPECT_DOUBLE_EQ(run.timing.makespan, 10);
  EXPECT_DOUBLE_EQ(run.timing.ranks[0].transferWait, 2);
  EXPECT_DOUBLE_EQ(run.timing.ranks[1].transferWait, 2);
  EXPECT_DOUBLE_EQ(run.timing.ranks[0].idle, 7);
  EXPECT_DOUBLE_EQ(run.timing.bubble(), 14.0 / 20);
  EXPECT_DOUBLE_EQ(run.timing.exposedCommunication(), 4);
}

TEST(Simulator, ALinkMovesOneMessageAfterAnother) {
  Workload work = twoRanks(8, 2, 0);
  work.microBatches = 3;
  work.contention = 1;
  // GPipe: activations leave at 1, 2, 3 and take 4 each: 5, 9, 13.
  Outcome run = runWorkload("gpipe", work);
  EXPECT_DOUBLE_EQ(run.timing.start[1][0], 5);
  EXPECT_DOUBLE_EQ(run.timing.start[1][1], 9);
  EXPECT_DOUBLE_EQ(run.timing.start[1][2], 13);
}

TEST(Simulator, TransfersUnderComputeAreSlower) {
  Workload work = twoRanks(8, 4, 0);
  work.microBatches = 2;
  work.contention = 0.5;
  // The first activation leaves at 1. Rank 0 computes until 2: 2 bytes at half speed; the other
  // 6 take 1.5: there at 3.5. The second queues, and moves at half speed under F of rank 1
  // [3.5,4.5] and its B, [4.5,6.5] (1F1B runs B of 0 first): 2 + 4 bytes by 6.5, 2 more at full
  // speed, unless the cotangent's sender idles, by 7.
  Outcome run = runWorkload("1f1b", work);
  EXPECT_DOUBLE_EQ(run.timing.start[1][0], 3.5);
  EXPECT_DOUBLE_EQ(run.timing.start[1][2], 7);
}

TEST(Simulator, FluidAndInstantTransfersAgree) {
  // A bandwidth so large that bytes take no time must give what the other method gives.
  std::mt19937 random(5);
  for (int trial = 0; trial < 200; ++trial) {
    RandomCase c = randomCase(random);
    Problem problem;
    Schedule schedule;
    c.work.link.bandwidth = INFINITY;
    ASSERT_FALSE(place(c.work, c.kind, problem));
    ASSERT_FALSE(generate(problem, c.kind, schedule));
    const double instant = simulate(problem, schedule).makespan;
    problem.link.bandwidth = 1e15;
    EXPECT_NEAR(simulate(problem, schedule).makespan, instant, 1e-6 * instant) << c.kind.str();
  }
}

TEST(Simulator, LatencyOfEachPair) {
  Workload work = twoRanks(0, INFINITY, 0);
  Problem problem;
  Schedule schedule;
  ASSERT_FALSE(place(work, kindOf("1f1b"), problem));
  problem.links.assign(4, Link());
  problem.links[0 * 2 + 1].latency = 3; // only the way down
  ASSERT_FALSE(generate(problem, kindOf("1f1b"), schedule));
  EXPECT_DOUBLE_EQ(simulate(problem, schedule).makespan, 6 + 3);
}

TEST(Simulator, CostOfPairs) {
  Problem problem;
  problem.rankOf = {{0, 0}};
  problem.microBatches = {2};
  StageCost given, derived;
  given.forward = 4, given.backward = 8, given.forwardWithBackward = 9; // saves 3
  derived.forward = 4, derived.backward = 8;
  derived.forwardCollective = 1, derived.backwardCollective = 2; // saves what can hide: 3 of 12
  problem.stages = {given, derived};
  auto pair = [&](int f, int b) {
    return Action(Task{TaskKind::Forward, 0, f, 1}, Task{TaskKind::Backward, 0, b, 0});
  };
  EXPECT_DOUBLE_EQ(actionCost(problem, pair(0, 0)), 9);
  EXPECT_DOUBLE_EQ(actionCost(problem, pair(1, 1)), 9) << "3 of network under 9 of compute";
  EXPECT_DOUBLE_EQ(actionCost(problem, pair(0, 1)), 12 - 3);
  EXPECT_DOUBLE_EQ(exposedCollective(problem, pair(1, 1)), 0);
  EXPECT_DOUBLE_EQ(exposedCollective(problem, Task{TaskKind::Forward, 0, 1, 0}), 1);
  problem.contention = 0.3; // 3 of network take 10, more than 9 of compute
  EXPECT_DOUBLE_EQ(actionCost(problem, pair(1, 1)), 10);
  EXPECT_DOUBLE_EQ(exposedCollective(problem, pair(1, 1)), 1);
}

TEST(Simulator, MemoryIsHeldFromForwardToBackwardOrWeight) {
  Workload work = unitWorkload("zb-h1", 1, 1);
  work.parts[0].parameterBytes = 100, work.parts[0].activationBytes = 10;
  work.parts[0].weightResidualBytes = 4;
  Problem problem;
  ASSERT_FALSE(place(work, kindOf("zb-h1"), problem));
  problem.microBatches = {2};
  auto peak = [&](std::vector<Action> row) { return peakMemory(problem, row).bytes; };
  auto task = [](TaskKind kind, int m) { return Task{kind, 0, 0, m}; };
  const Task f0 = task(TaskKind::Forward, 0), f1 = task(TaskKind::Forward, 1);
  EXPECT_EQ(peak({f0, task(TaskKind::Backward, 0), f1}), 10);
  EXPECT_EQ(peak({f0, task(TaskKind::BackwardInput, 0), f1, task(TaskKind::BackwardWeight, 0)}),
            14);
  EXPECT_EQ(peak({f0, Action(f1, task(TaskKind::Backward, 0))}), 20) << "a pair allocates first";
  Outcome run = runWorkload("zb-h1", work);
  EXPECT_EQ(run.timing.ranks[0].peakBytes, 110);
}

TEST(Simulator, ASchedulesThatWaitsForEverTakesForEver) {
  Outcome run = runUnit("1f1b", 2, 2);
  std::swap(run.schedule.ranks[1][0], run.schedule.ranks[1][1]);
  EXPECT_EQ(simulate(run.problem, run.schedule).makespan, INFINITY);
}

TEST(Simulator, LargeSchedulesAreFast) {
  Workload work = unitWorkload("1f1b", 64, 1024);
  for (StageCost &cost : work.parts)
    cost.outputBytes = 1;
  work.link = {0.1, 10};
  Outcome run = runWorkload("1f1b", work);
  EXPECT_GT(run.timing.makespan, 3 * (1024 + 63));
}

} // namespace
