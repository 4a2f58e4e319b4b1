//===- ListSchedulerTest.cpp - Orders of work on two resources ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/Overlap/ListScheduler.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <numeric>
#include <random>

using namespace moire::overlap;

namespace {
constexpr Resource kCompute = Resource::compute, kNetwork = Resource::network;

std::vector<int> inOrder(const Problem &problem) {
  std::vector<int> order(problem.tasks.size());
  std::iota(order.begin(), order.end(), 0);
  return order;
}

/// The shortest time of all orders that are possible.
double shortest(const Problem &problem) {
  std::vector<int> order = inOrder(problem);
  double best = 1e9;
  do {
    std::vector<int> place(order.size());
    for (size_t i = 0; i < order.size(); ++i)
      place[order[i]] = int(i);
    bool possible = true;
    for (size_t i = 0; i < order.size(); ++i)
      for (int other : problem.tasks[i].after)
        possible &= place[other] < place[i];
    if (possible)
      best = std::min(best, simulate(problem, order).seconds);
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}
} // namespace

//      compute  | a: 2 | w: 3    | b: 1 |
//      network         | x: 3    |
TEST(ListScheduler, AGradientOfAWeightHidesATransfer) {
  // As written: the gradient of the weight first, then what the transfer needs.
  const Problem problem{{{kCompute, 3, {}, {}},       // w
                         {kCompute, 2, {}, {}},       // a
                         {kNetwork, 3, {1}, {}},      // x
                         {kCompute, 1, {2}, {}}},     // b
                        {}};
  ASSERT_EQ(check(problem), "");
  const Timetable before = simulate(problem, inOrder(problem));
  EXPECT_DOUBLE_EQ(before.seconds, 9);
  EXPECT_DOUBLE_EQ(before.exposed, 3);
  const Timetable after = schedule(problem);
  EXPECT_EQ(verify(problem, after), "");
  EXPECT_EQ(after.order, (std::vector<int>{1, 2, 0, 3}));
  EXPECT_DOUBLE_EQ(after.seconds, 6);
  EXPECT_DOUBLE_EQ(after.exposed, 0);
  EXPECT_DOUBLE_EQ(after.computing, 6);
  EXPECT_DOUBLE_EQ(after.moving, 3);
}

TEST(ListScheduler, TransfersGoOneAfterAnother) {
  const Problem problem{{{kNetwork, 2, {}, {}}, {kNetwork, 3, {}, {}}, {kCompute, 1, {1}, {}}}, {}};
  const Timetable t = simulate(problem, {0, 1, 2});
  EXPECT_DOUBLE_EQ(t.begin[1], 2);
  EXPECT_DOUBLE_EQ(t.seconds, 6);
  // The one that is needed goes first.
  EXPECT_EQ(schedule(problem).order.front(), 1);
  EXPECT_DOUBLE_EQ(schedule(problem).seconds, 5);
}

TEST(ListScheduler, ATransferHoldsItsBuffersUntilItIsWaitedFor) {
  const Problem problem{{{kCompute, 1, {}, {0}},
                         {kNetwork, 1, {0}, {0, 1}},
                         {kCompute, 1, {}, {2}},
                         {kCompute, 1, {1}, {1}}},
                        {100, 10, 1}};
  EXPECT_EQ(simulate(problem, {0, 1, 2, 3}).peakBytes, 111);
  EXPECT_EQ(simulate(problem, {2, 0, 1, 3}).peakBytes, 110);
}

TEST(ListScheduler, MemoryForbidsWhatItDoesNotHold) {
  // Ten pairs that make and use 100 bytes, each with a transfer between: all at once hide the
  // transfers, one at a time they do not.
  Problem problem;
  for (int i = 0; i < 10; ++i) {
    problem.tasks.push_back({kCompute, 1, {}, {i}});
    problem.tasks.push_back({kNetwork, 1, {3 * i}, {i}});
    problem.tasks.push_back({kCompute, 1, {3 * i + 1}, {i}});
    problem.bufferBytes.push_back(100);
  }
  const Timetable free = schedule(problem);
  EXPECT_NEAR(free.seconds, 20, 1.01);
  problem.memoryLimit = 100;
  const Timetable tight = schedule(problem);
  EXPECT_EQ(tight.peakBytes, 100);
  EXPECT_DOUBLE_EQ(tight.seconds, 30);
  problem.memoryLimit = 300;
  const Timetable some = schedule(problem);
  EXPECT_LE(some.peakBytes, 300);
  EXPECT_LT(some.seconds, 25);
}

// Random graphs: every timetable is a legal one, no slower than the given order, no faster than
// either resource, and near the best of all orders where these can be tried.
TEST(ListScheduler, RandomGraphs) {
  std::mt19937 gen(11);
  double sum = 0, best = 0;
  for (int round = 0; round < 300; ++round) {
    Problem problem;
    const int n = round < 100 ? 7 : 200;
    for (int i = 0; i < n; ++i) {
      Task task;
      task.resource = gen() % 4 ? kCompute : kNetwork;
      task.seconds = double(gen() % 10);
      for (int e = 0; i > 0 && e < 2; ++e)
        if (const int other = int(gen() % i); gen() % 2 && !std::count(task.after.begin(), task.after.end(), other))
          task.after.push_back(other);
      task.buffers.push_back(i);
      for (int other : task.after)
        task.buffers.push_back(other);
      problem.bufferBytes.push_back(int64_t(gen() % 100));
      problem.tasks.push_back(task);
    }
    ASSERT_EQ(check(problem), "");
    const Timetable before = simulate(problem, inOrder(problem));
    ASSERT_EQ(verify(problem, before), "");
    problem.memoryLimit = before.peakBytes;
    const Timetable after = schedule(problem);
    ASSERT_EQ(verify(problem, after), "");
    EXPECT_LE(after.seconds, before.seconds);
    EXPECT_GE(after.seconds, std::max(after.computing, after.moving));
    EXPECT_LE(after.peakBytes, before.peakBytes);
    if (n > 7)
      continue;
    problem.memoryLimit = INT64_MAX;
    const Timetable freely = schedule(problem);
    const double least = shortest(problem);
    EXPECT_GE(freely.seconds, least);
    sum += freely.seconds;
    best += least;
  }
  EXPECT_LE(sum, 1.02 * best);
}

TEST(ListScheduler, WhatIsWrongIsSaid) {
  EXPECT_EQ(check({{{kCompute, 1, {0}, {}}}, {}}),
            "task 0 comes after task 0, which must have a smaller number");
  EXPECT_EQ(check({{{kCompute, 1, {}, {2}}}, {5}}), "task 0 uses buffer 2 of 1");
  const Problem problem{{{kCompute, 1, {}, {}}, {kNetwork, 1, {0}, {}}}, {}};
  Timetable t = simulate(problem, {0, 1});
  EXPECT_EQ(verify(problem, t), "");
  t.begin[1] = 0.5;
  EXPECT_EQ(verify(problem, t), "task 1 begins before task 0 has ended");
  t = simulate(problem, {0, 1});
  t.order = {0, 0};
  EXPECT_EQ(verify(problem, t), "task 0 is in the order twice, or is none");
}
