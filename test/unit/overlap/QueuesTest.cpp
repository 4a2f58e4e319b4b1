//===- QueuesTest.cpp - Orders that have a circle, and that have none -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/Overlap/Queues.h"

#include <gtest/gtest.h>
#include <random>

using namespace moire::overlap;

TEST(Queues, EqualOrdersMeet) {
  EXPECT_FALSE(findCircle({{0, 1, 2}, {0, 1, 2}, {1, 2}}));
  EXPECT_FALSE(findCircle({{}, {}}));
}

TEST(Queues, TwoRanksInOppositeOrder) {
  const auto circle = findCircle({{7, 3}, {3, 7}, {3}});
  ASSERT_TRUE(circle);
  EXPECT_EQ(circle->waits, (std::vector<std::pair<int, int>>{{0, 7}, {1, 3}}));
}

TEST(Queues, ACircleOfThreeBehindOneWhoWaitsForIt) {
  // Rank 0 waits for rank 1 and is in no circle itself.
  const auto circle = findCircle({{9}, {1, 3, 9}, {2, 1}, {3, 2}});
  ASSERT_TRUE(circle);
  EXPECT_EQ(circle->waits.size(), 3u);
  for (auto [rank, meeting] : circle->waits)
    EXPECT_EQ(meeting, rank); // each at its first
}

// Orders that are taken from one order of all meetings never have a circle; one exchange of
// two meetings of the same pair of ranks, on one side alone, always makes one.
TEST(Queues, RandomOrders) {
  std::mt19937 gen(5);
  for (int round = 0; round < 200; ++round) {
    Queues queues(6);
    std::vector<std::pair<int, int>> pairs;
    for (int meeting = 0; meeting < 30; ++meeting) {
      const int a = int(gen() % 6), b = (a + 1 + int(gen() % 5)) % 6;
      queues[a].push_back(meeting);
      queues[b].push_back(meeting);
      pairs.push_back({std::min(a, b), std::max(a, b)});
    }
    EXPECT_FALSE(findCircle(queues));
    for (int first = 0; first < 30; ++first)
      for (int second = first + 1; second < 30; ++second)
        if (pairs[first] == pairs[second]) {
          Queues wrong = queues;
          auto &queue = wrong[pairs[first].first];
          std::swap(*std::find(queue.begin(), queue.end(), first),
                    *std::find(queue.begin(), queue.end(), second));
          EXPECT_TRUE(findCircle(wrong));
        }
  }
}
