//===- JoinTest.cpp - Pairs of neighbours --------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Join.h"
#include "moire/Scheduling/Simulator.h"
#include <gtest/gtest.h>
#include <random>

using namespace moire::scheduling;

namespace {

/// The tasks of a rank in order, pairs or not; a B as b and W.
std::vector<Task> tasksOf(const std::vector<Action> &actions) {
  std::vector<Task> tasks;
  for (const Action &action : actions)
    for (int i = 0; i < action.size(); ++i) {
      tasks.push_back(action[i]);
      if (action[i].kind == TaskKind::Backward) {
        tasks.back().kind = TaskKind::BackwardInput;
        tasks.push_back(action[i]);
        tasks.back().kind = TaskKind::BackwardWeight;
      }
    }
  return tasks;
}

Workload makeWork(int ranks, int perRank, int microBatches, double collective, std::mt19937 &random) {
  Workload work;
  work.ranks = ranks;
  work.microBatches = microBatches;
  work.pieces = 1;
  std::uniform_real_distribution<double> around(0.8, 1.2);
  for (int i = 0; i < ranks * perRank; ++i) {
    StageCost cost;
    cost.forward = around(random) + collective;
    cost.backwardInput = around(random) + collective;
    cost.backwardWeight = around(random);
    cost.backward = cost.backwardInput + cost.backwardWeight;
    cost.forwardCollective = cost.backwardCollective = collective;
    cost.activationBytes = 1;
    work.parts.push_back(cost);
  }
  return work;
}

} // namespace

TEST(Join, KeepsOrderAndTimeAndHidesMore) {
  std::mt19937 random(5);
  int joinedInAll = 0;
  for (const char *name : {"gpipe", "1f1b", "zb-h1", "zb-h2", "zb-v", "dualpipe", "dualpipev"})
    for (double collective : {0.0, 0.3}) {
      Kind kind;
      ASSERT_FALSE(parseKind(name, kind));
      const int ranks = 4;
      Problem problem;
      Schedule schedule;
      const Workload work = makeWork(ranks, kind.stages(1), 12, collective, random);
      ASSERT_FALSE(place(work, kind, problem)) << name;
      ASSERT_FALSE(generate(problem, kind, schedule)) << name;
      const Schedule before = schedule;
      problem.ordersOps = true;
      const Timing timeBefore = simulate(problem, before);

      const int joined = joinNeighbours(problem, schedule);
      joinedInAll += joined;
      if (collective == 0)
        EXPECT_EQ(joined, 0) << name << " has nothing to hide";
      EXPECT_FALSE(verify(problem, schedule).has_value()) << name;
      const Timing timeAfter = simulate(problem, schedule);
      EXPECT_LE(timeAfter.makespan, timeBefore.makespan * (1 + 1e-6)) << name;
      if (joined > 0)
        EXPECT_LT(timeAfter.exposedCommunication(), timeBefore.exposedCommunication()) << name;
      size_t fewer = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        EXPECT_TRUE(tasksOf(schedule.ranks[rank]) == tasksOf(before.ranks[rank])) << name;
        EXPECT_LE(timeAfter.ranks[rank].peakActivations, timeBefore.ranks[rank].peakActivations);
        fewer += before.ranks[rank].size() - schedule.ranks[rank].size();
      }
      EXPECT_EQ(int(fewer), joined) << name;
    }
  EXPECT_GT(joinedInAll, 20);
}

/// The first stage sends no cotangent: its b and W are one B, in which W hides what b exchanges.
TEST(Join, MakesOneBackwardWhereNobodyWaitsForItsInputCotangent) {
  std::mt19937 random(7);
  Kind kind;
  ASSERT_FALSE(parseKind("dualpipe", kind));
  Problem problem;
  Schedule schedule;
  ASSERT_FALSE(place(makeWork(4, 1, 16, 0.3, random), kind, problem));
  ASSERT_FALSE(generate(problem, kind, schedule));
  auto split = [&] {
    int count = 0;
    for (const Action &action : schedule.ranks[0])
      count += action.first.kind == TaskKind::BackwardInput && action.first.stage == 0;
    return count;
  };
  EXPECT_GT(split(), 0);
  joinNeighbours(problem, schedule);
  EXPECT_EQ(split(), 0);
}

/// A message leaves when it is made, though W goes on.
TEST(Join, OutputsLeaveBeforeTheActionEnds) {
  Problem problem;
  problem.ranks = 2;
  problem.rankOf = {{0, 1}};
  problem.microBatches = {2};
  problem.stages.resize(2);
  for (StageCost &cost : problem.stages) {
    cost.forward = 3;
    cost.backwardInput = 3;
    cost.backwardWeight = 2;
    cost.backward = 5;
    cost.forwardCollective = cost.backwardCollective = 1;
  }
  auto task = [](TaskKind kind, int stage, int microBatch) {
    return Task{kind, 0, stage, microBatch};
  };
  const TaskKind F = TaskKind::Forward, B = TaskKind::Backward;
  Schedule schedule;
  const TaskKind b = TaskKind::BackwardInput, W = TaskKind::BackwardWeight;
  schedule.ranks = {{task(F, 0, 0), task(F, 0, 1), task(B, 0, 0), task(B, 0, 1)},
                    {task(F, 1, 0), task(b, 1, 0), task(F, 1, 1),
                     Action(task(W, 1, 0), task(b, 1, 1)), task(W, 1, 1)}};
  ASSERT_FALSE(verify(problem, schedule).has_value());
  // F 3, then F 3, b 3, F 3, W and b 4 on rank 1, B 5 on rank 0.
  EXPECT_DOUBLE_EQ(simulate(problem, schedule).makespan, 3 + 3 + 3 + 3 + 4 + 5);
  // The second b is there after 3 of 4, and a B takes 4 instead of 5.
  problem.ordersOps = true;
  const Timing timing = simulate(problem, schedule);
  EXPECT_DOUBLE_EQ(timing.start[0][3], 3 + 3 + 3 + 3 + 3);
  EXPECT_DOUBLE_EQ(timing.makespan, 3 + 3 + 3 + 3 + 3 + 4);
  ASSERT_TRUE(orderMessages(problem, schedule));
  EXPECT_FALSE(verify(problem, schedule).has_value());
  // As with links that take their time.
  problem.link = {0, 1e9};
  for (StageCost &cost : problem.stages)
    cost.outputBytes = 1;
  EXPECT_NEAR(simulate(problem, schedule).makespan, timing.makespan, 1e-6);
}

TEST(Join, StopsAfterSoManyAttempts) {
  std::mt19937 random(6);
  Kind kind;
  ASSERT_FALSE(parseKind("zb-h1", kind));
  Problem problem;
  Schedule schedule;
  ASSERT_FALSE(place(makeWork(4, 1, 12, 0.3, random), kind, problem));
  ASSERT_FALSE(generate(problem, kind, schedule));
  EXPECT_LE(joinNeighbours(problem, schedule, 3), 3);
}
