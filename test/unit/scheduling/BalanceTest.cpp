//===- BalanceTest.cpp - Expert load balancing ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Json.h"
#include "moire/Scheduling/ExpertBalance.h"
#include "gtest/gtest.h"
#include <algorithm>
#include <ctime>
#include <random>
#include <set>

using namespace moire::scheduling;

namespace {

BalanceProblem make(std::vector<std::vector<float>> load, int replicas, int groups, int nodes,
                    int gpus) {
  BalanceProblem problem;
  problem.load = std::move(load);
  problem.replicas = replicas, problem.groups = groups, problem.nodes = nodes, problem.gpus = gpus;
  return problem;
}

Balance published(const BalanceProblem &problem) {
  Balance balance;
  EXPECT_EQ(rebalanceExperts(problem, balance).value_or(""), "");
  return balance;
}
Balance ours(const BalanceProblem &problem) {
  Balance balance;
  EXPECT_EQ(balanceExperts(problem, balance).value_or(""), "");
  return balance;
}

/// The three tables say the same, and every expert has a slot.
void expectWhole(const BalanceProblem &problem, const Balance &balance) {
  for (size_t layer = 0; layer < problem.load.size(); ++layer) {
    ASSERT_EQ(balance.slotExpert[layer].size(), static_cast<size_t>(problem.replicas));
    for (size_t e = 0; e < problem.load[0].size(); ++e) {
      const std::vector<int> &slots = balance.expertSlots[layer][e];
      ASSERT_EQ(slots.size() - std::count(slots.begin(), slots.end(), -1),
                static_cast<size_t>(balance.counts[layer][e]));
      ASSERT_GE(balance.counts[layer][e], 1);
      for (int slot : slots)
        if (slot >= 0) {
          ASSERT_EQ(balance.slotExpert[layer][slot], static_cast<int>(e));
        }
    }
  }
}

BalanceProblem workedExample(int groups) {
  return make({{90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86},
               {20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27}},
              16, groups, 2, 8);
}

TEST(Balance, WorkedExampleOfThePublishedCode) {
  Balance balance = published(workedExample(4));
  EXPECT_EQ(balance.slotExpert,
            (std::vector<std::vector<int>>{{5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1},
                                           {7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1}}));
  EXPECT_NEAR(balancedness(workedExample(4), balance, 0), 0.828, 5e-4);
  EXPECT_NEAR(balancedness(workedExample(4), balance, 1), 0.805, 5e-4);
  Balance global = published(workedExample(3));
  EXPECT_NEAR(balancedness(workedExample(3), global, 0), 0.932, 5e-4);
  EXPECT_NEAR(balancedness(workedExample(3), global, 1), 0.840, 5e-4);
}

TEST(Balance, EqualsTheGoldenFile) {
  testjson::Value golden;
  if (!testjson::readVectors("eplb.json", golden))
    GTEST_SKIP() << "no ../shared/vectors/eplb.json; set MOIRE_VECTORS";
  ASSERT_EQ(golden.size(), 8u);
  for (const testjson::Value &c : golden.list) {
    std::vector<std::vector<float>> load;
    for (const testjson::Value &layer : c["weight"].list) {
      load.emplace_back();
      for (const testjson::Value &value : layer.list)
        load.back().push_back(static_cast<float>(value.number));
    }
    BalanceProblem problem = make(load, c["num_replicas"].integer(), c["num_groups"].integer(),
                                  c["num_nodes"].integer(), c["num_gpus"].integer());
    Balance balance = published(problem);
    expectWhole(problem, balance);
    for (size_t layer = 0; layer < load.size(); ++layer) {
      const int l = static_cast<int>(layer);
      for (size_t e = 0; e < load[0].size(); ++e)
        EXPECT_EQ(balance.counts[layer][e], c["logcnt"][l][static_cast<int>(e)].integer());
      std::vector<double> mine = deviceLoads(problem, balance, l), theirs;
      for (const testjson::Value &value : c["gpu_loads"][l].list)
        theirs.push_back(value.number);
      std::sort(mine.begin(), mine.end()), std::sort(theirs.begin(), theirs.end());
      ASSERT_EQ(mine.size(), theirs.size());
      for (size_t i = 0; i < mine.size(); ++i)
        EXPECT_NEAR(mine[i], theirs[i], 1e-5 * (1 + theirs[i]));
      EXPECT_LE(largestLoad(problem, ours(problem), l), largestLoad(problem, balance, l) + 1e-6);
    }
  }
}

TEST(Balance, KnownCounterexample) {
  BalanceProblem problem = make({{600, 560, 120, 120, 20, 10, 10, 10}}, 16, 1, 1, 8);
  EXPECT_EQ(largestLoad(problem, published(problem), 0), 232);
  Balance balance = ours(problem);
  expectWhole(problem, balance);
  EXPECT_LE(largestLoad(problem, balance, 0), 197);
}

TEST(Balance, TwoReplicasOnOneDeviceWhereThatIsBest) {
  BalanceProblem problem = make({{501, 167, 334}}, 4, 1, 1, 2);
  EXPECT_EQ(largestLoad(problem, ours(problem), 0), 501);
}

TEST(Balance, NeverWorseOnTenThousandCases) {
  std::mt19937 random(3);
  double gain = 0;
  int better = 0;
  for (int trial = 0; trial < 10000; ++trial) {
    const int gpus = 1 + random() % 8, nodes = gpus % 2 == 0 && random() % 2 ? 2 : 1;
    const int groups = nodes * (1 + random() % 2), experts = groups * (1 + random() % 6);
    const int perGpu = (experts + gpus - 1) / gpus + random() % 3;
    std::vector<float> load;
    for (int e = 0; e < experts; ++e)
      load.push_back(random() % 4 ? random() % 200 : 200 + random() % 2000);
    BalanceProblem problem = make({load}, gpus * perGpu, groups, nodes, gpus);
    problem.groupsStayInNode = random() % 2;
    const Balance base = published(problem), mine = ours(problem);
    expectWhole(problem, mine);
    const double before = largestLoad(problem, base, 0), after = largestLoad(problem, mine, 0);
    ASSERT_LE(after, before * (1 + 1e-9)) << trial;
    if (after > 0) {
      better += after < before * 0.999;
      gain += before / after - 1;
    }
    if (problem.groupsStayInNode)
      for (int group = 0; group < groups; ++group) {
        std::set<int> seen;
        for (int slot = 0; slot < problem.replicas; ++slot)
          if (mine.slotExpert[0][slot] / (experts / groups) == group)
            seen.insert(slot / (problem.replicas / nodes));
        ASSERT_EQ(seen.size(), 1u);
      }
  }
  RecordProperty("better", better);
  std::printf("better in %d of 10000, largest load %.1f %% lower on average\n", better, gain / 100);
  EXPECT_GT(better, 3000);
}

/// All placements of small cases: how far ours is from the best there is.
TEST(Balance, CloseToTheBestOfAllPlacements) {
  std::mt19937 random(4);
  double worst = 1;
  int exact = 0;
  const int trials = 60;
  for (int trial = 0; trial < trials; ++trial) {
    const int experts = 3 + random() % 2, gpus = 2 + random() % 2, perGpu = 2;
    if (gpus * perGpu < experts)
      continue;
    std::vector<float> load;
    for (int e = 0; e < experts; ++e)
      load.push_back(1 + random() % 100);
    BalanceProblem problem = make({load}, gpus * perGpu, 1, 1, gpus);
    Balance any = published(problem);
    double best = 1e300;
    int codes = 1;
    for (int i = 0; i < problem.replicas; ++i)
      codes *= experts;
    for (int code = 0; code < codes; ++code) {
      any.counts[0].assign(experts, 0);
      for (int slot = 0, rest = code; slot < problem.replicas; ++slot, rest /= experts)
        ++any.counts[0][any.slotExpert[0][slot] = rest % experts];
      if (std::find(any.counts[0].begin(), any.counts[0].end(), 0) == any.counts[0].end())
        best = std::min(best, largestLoad(problem, any, 0));
    }
    const double mine = largestLoad(problem, ours(problem), 0);
    worst = std::max(worst, mine / best);
    exact += mine <= best * (1 + 1e-9);
  }
  EXPECT_EQ(exact, trials);
  EXPECT_LE(worst, 1 + 1e-9);
}

TEST(Balance, MovesCountAgainstTheGain) {
  std::mt19937 random(6);
  std::vector<float> load;
  for (int e = 0; e < 32; ++e)
    load.push_back(10 + random() % 200);
  BalanceProblem problem = make({load}, 40, 1, 1, 8);
  problem.present = ours(problem).slotExpert;
  for (float &value : problem.load[0])
    value *= 0.8f + 0.4f * (random() % 1000) / 1000; // the routing drifts
  Balance present;
  const Balance stay = [&] {
    BalanceProblem same = problem;
    same.moveCost = 1e9;
    return ours(same);
  }();
  EXPECT_EQ(moves(problem, stay, 0), 0) << "no move pays";
  int last = 1 << 30;
  for (double cost : {0.0, 0.5, 2.0, 8.0, 32.0}) {
    problem.moveCost = cost;
    const Balance mine = ours(problem);
    expectWhole(problem, mine);
    const int moved = moves(problem, mine, 0);
    EXPECT_LE(largestLoad(problem, mine, 0) + cost * moved, largestLoad(problem, stay, 0) + 1e-6);
    if (cost > 0) {
      EXPECT_LE(moved, last) << "dearer moves are fewer";
      last = moved;
    }
  }
}

TEST(Balance, FiftyEightLayersInFiftyMilliseconds) {
  std::mt19937 random(7);
  std::vector<std::vector<float>> load(58);
  for (auto &layer : load)
    for (int e = 0; e < 256; ++e)
      layer.push_back(std::exp(std::normal_distribution<float>(0, 1)(random)) * 1000);
  for (int gpus : {32, 40, 64}) {
    BalanceProblem problem = make(load, 320, 8, 4, gpus);
    double least = 1e9, mine = 0, theirs = 0;
    for (int attempt = 0; attempt < 5; ++attempt) {
      const std::clock_t begin = std::clock(); // of this process: other work does not count
      Balance balance = ours(problem);
      least = std::min(least, 1000.0 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
      if (attempt == 0)
        for (int layer = 0; layer < 58; ++layer) {
          mine += balancedness(problem, balance, layer) / 58;
          theirs += balancedness(problem, published(problem), layer) / 58;
        }
    }
    std::printf("%d devices: %.1f ms, balancedness %.4f, published %.4f\n", gpus, least, mine,
                theirs);
    EXPECT_LT(least, 50);
  }
}

TEST(Balance, Refusals) {
  auto refused = [](BalanceProblem problem) {
    Balance balance;
    return balanceExperts(problem, balance).value_or("accepted");
  };
  EXPECT_EQ(refused(make({{1, 2, 3}}, 2, 1, 1, 2)), "2 slots do not hold 3 experts; use 4");
  EXPECT_EQ(refused(make({{1, 2, 3}}, 5, 1, 1, 2)),
            "5 slots do not divide over 2 devices; use 4 or 6");
  EXPECT_EQ(refused(make({{1, 2, 3}}, 4, 2, 2, 2)),
            "3 experts do not divide into 2 groups; use 1 group");
  EXPECT_EQ(refused(make({{1, 2, 3, 4}}, 6, 2, 2, 3)),
            "3 devices do not divide over 2 nodes; use 2 or 4 devices");
  EXPECT_EQ(refused(make({{1, -2}}, 2, 1, 1, 2)),
            "load -2 of expert 1 in layer 0 is not a finite number of at least 0");
  EXPECT_EQ(refused(make({{1, 2}, {1}}, 2, 1, 1, 2)),
            "layer 1 has loads of 1 experts, layer 0 of 2");
  EXPECT_EQ(refused(make({}, 2, 1, 1, 2)),
            "loads of 0 layers with 0 experts; give at least 1 of each");
  BalanceProblem bound = workedExample(3);
  bound.groupsStayInNode = true;
  EXPECT_EQ(refused(bound), "3 groups do not divide over 2 nodes, so groups cannot stay in one; "
                            "use 4 groups or no node limit");
  BalanceProblem present = make({{1, 2}}, 2, 1, 1, 2);
  present.present = {{0, 2}};
  EXPECT_EQ(refused(present), "the present placement names expert 2 of 2");
}

} // namespace
