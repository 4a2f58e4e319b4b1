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

/// The tasks of a rank in order, pairs or not.
std::vector<Task> tasksOf(const std::vector<Action> &actions) {
  std::vector<Task> tasks;
  for (const Action &action : actions)
    for (int i = 0; i < action.size(); ++i)
      tasks.push_back(action[i]);
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
