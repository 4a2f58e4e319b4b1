//===- PublishedTest.cpp - Schedules against published ones ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Json.h"
#include "TestProblems.h"

using namespace testproblems;

namespace {

/// One operation of the golden file as shortName writes it.
std::string goldenName(const testjson::Value &op) {
  if (op[0].string != "FB")
    return op[0].string + std::to_string(op[1].integer()) + "." + std::to_string(op[2].integer());
  return "F" + std::to_string(op[1][0].integer()) + "." + std::to_string(op[1][1].integer()) +
         "+B" + std::to_string(op[2][0].integer()) + "." + std::to_string(op[2][1].integer());
}

TEST(Published, DualPipeAndDualPipeVEqualTheGoldenFile) {
  testjson::Value golden;
  if (!testjson::readVectors("pipeline.json", golden))
    GTEST_SKIP() << "no ../shared/vectors/pipeline.json; set MOIRE_VECTORS";
  ASSERT_EQ(golden.object.size(), 8u);
  for (const auto &[name, entry] : golden.object) {
    char kind[32];
    int P = 0, M = 0;
    ASSERT_EQ(std::sscanf(name.c_str(), "%31[a-z]_P%d_M%d", kind, &P, &M), 3) << name;
    Outcome run = runUnit(kind, P, M);
    EXPECT_EQ(run.timing.makespan, entry["makespan"].number) << name;
    ASSERT_EQ(entry["ops"].size(), static_cast<size_t>(P));
    for (int r = 0; r < P; ++r) {
      std::string ops;
      for (const testjson::Value &op : entry["ops"][r].list)
        ops += (ops.empty() ? "" : " ") + goldenName(op);
      EXPECT_EQ(rowText(run.problem, run.schedule.ranks[r]), ops) << name << " rank " << r;
      EXPECT_EQ(run.timing.ranks[r].idle, entry["idle"][r].number) << name << " rank " << r;
      EXPECT_EQ(run.timing.ranks[r].peakActivations, entry["peak_act"][r].integer()) << name;
    }
  }
}

// The published four-rank timetable, so that this holds where the golden file is not at hand.
TEST(Published, DualPipeOnFourRanks) {
  Outcome run = runUnit("dualpipe", 4, 8);
  EXPECT_EQ(rowText(run.problem, run.schedule.ranks[0]),
            "F0.0 F0.1 F0.2 F1.0 b1.0 W1.0 F1.1 F0.3+B1.1 F1.2+B0.0 B1.2 F1.3+B0.1 B1.3 b0.2 W0.2 "
            "b0.3 W0.3");
  EXPECT_EQ(
      rowText(run.problem, run.schedule.ranks[1]),
      "F0.0 F1.0 F0.1 F1.1 F0.2 B1.0 F1.2+B0.0 F0.3+B1.1 F1.3+B0.1 B1.2 B0.2 b1.3 b0.3 W1.3 W0.3");
  EXPECT_EQ(run.timing.makespan, 26);
  for (const RankTiming &rank : run.timing.ranks) {
    EXPECT_EQ(rank.idle, 2);
    EXPECT_EQ(rank.peakActivations, 5);
  }
}

TEST(Published, DualPipeVOnOneRank) {
  Outcome run = runUnit("dualpipev", 1, 2);
  EXPECT_EQ(rowText(run.problem, run.schedule.ranks[0]),
            "F0.0 F1.0 F0.1 B1.0 F1.1+B0.0 B1.1 b0.1 W0.1");
}

/// Counts per phase at other sizes, from the published table of eight phases.
TEST(Published, DualPipeCountsAtOtherSizes) {
  for (int P = 2; P <= 24; P += 2)
    for (int M = 2 * P; M <= 2 * P + 24; M += 6) {
      Outcome run = runUnit("dualpipe", P, M);
      for (int r = 0; r < P; ++r) {
        const int h = std::min(r, P - 1 - r), H = P / 2;
        int pairs = 0, forwards = 0, weights = 0, inputs = 0, full = 0;
        for (const Action &action : run.schedule.ranks[r]) {
          pairs += action.second.has_value();
          if (action.second)
            continue;
          forwards += action.first.kind == TaskKind::Forward;
          full += action.first.kind == TaskKind::Backward;
          inputs += action.first.kind == TaskKind::BackwardInput;
          weights += action.first.kind == TaskKind::BackwardWeight;
        }
        const int steady = M / 2 - P + h + 1, rest = H - h - 1, middle = h == H - 1;
        EXPECT_EQ(pairs, 2 * steady - middle + rest);
        EXPECT_EQ(forwards, 2 * rest + 2 * (h + 1) + rest + middle);
        EXPECT_EQ(inputs, weights);
        EXPECT_EQ(full + inputs + pairs, M);
        // Phase 6 has h+1 turns of two; from the middle on they are b.
        const int inSix = 2 * (h + 1) - 2 * ((h + 1) / 2) - (h % 2 == 0);
        EXPECT_EQ(inputs, 2 * rest + inSix) << "P " << P << " M " << M << " rank " << r;
        EXPECT_EQ(run.timing.ranks[r].idle, P - 2) << "(PP/2-1)(F&B+B-3W) is P-2 at unit costs";
        EXPECT_EQ(run.timing.ranks[r].peakActivations, P + 1);
      }
    }
}

/// Folded: rank r of DualPipeV does what ranks r and 2P-1-r of DualPipe on 2P ranks do.
TEST(Published, DualPipeVIsDualPipeFolded) {
  for (int P = 1; P <= 9; ++P)
    for (int M = 2 * P; M < 2 * P + 7; ++M) {
      Outcome v = runUnit("dualpipev", P, M);
      Outcome dual = runUnit("dualpipe", 2 * P, 2 * M);
      for (int r = 0; r < P; ++r) {
        EXPECT_EQ(rowText(v.problem, v.schedule.ranks[r]),
                  rowText(dual.problem, dual.schedule.ranks[r]));
        EXPECT_EQ(v.timing.ranks[r].idle, 2 * P - 2);
        EXPECT_EQ(v.timing.ranks[r].peakActivations, 2 * P + 1);
      }
    }
}

TEST(Published, DeepSeekV3) {
  const double optimizer = 0.29; // seconds, added to the makespan
  auto step = [&](const char *kind, double latency) {
    Workload work = deepSeekV3();
    work.link.latency = latency;
    return runWorkload(kind, work).timing.makespan / 1000 + optimizer;
  };
  EXPECT_NEAR(step("dualpipe", 0), 18.65, 0.005 * 18.65);
  EXPECT_NEAR(step("dualpipev", 0), 18.72, 0.005 * 18.72);
  EXPECT_NEAR(step("zb-h1", 0), 23.81, 0.005 * 23.81);
  EXPECT_NEAR(step("1f1b", 0), 25.06, 0.005 * 25.06);
  EXPECT_NEAR(step("dualpipe", 9), 19.9, 0.005 * 19.9);
}

} // namespace
