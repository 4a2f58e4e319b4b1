//===- TestProblems.h - Problems that several tests use --------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TEST_SCHEDULING_TESTPROBLEMS_H
#define MOIRE_TEST_SCHEDULING_TESTPROBLEMS_H

#include "moire/Scheduling/Simulator.h"
#include "gtest/gtest.h"
#include <random>

namespace testproblems {
using namespace moire::scheduling;

inline Kind kindOf(const std::string &name) {
  Kind kind;
  EXPECT_EQ(parseKind(name, kind).value_or(""), "");
  return kind;
}

/// F = b = W = 1, B = 2, F&B = 3, one byte for an activation, in the schedule's own stages.
inline Workload unitWorkload(const std::string &name, int ranks, int microBatches) {
  StageCost unit;
  unit.forwardWithBackward = 3;
  unit.activationBytes = 1;
  Workload work;
  work.ranks = ranks;
  work.microBatches = microBatches;
  work.parts.assign(kindOf(name).stages(ranks), unit);
  return work;
}

struct Outcome {
  Problem problem;
  Schedule schedule;
  Timing timing;
};

inline Outcome runWorkload(const std::string &name, const Workload &work) {
  Outcome run;
  const Kind kind = kindOf(name);
  EXPECT_EQ(place(work, kind, run.problem).value_or(""), "") << name;
  EXPECT_EQ(generate(run.problem, kind, run.schedule).value_or(""), "") << name;
  run.timing = simulate(run.problem, run.schedule);
  return run;
}

inline Outcome runUnit(const std::string &name, int ranks, int microBatches) {
  return runWorkload(name, unitWorkload(name, ranks, microBatches));
}

/// `F0.0 F0.1 F0.2+B1.0`.
inline std::string rowText(const Problem &problem, const std::vector<Action> &row) {
  std::string text;
  for (const Action &action : row)
    text += (text.empty() ? "" : " ") + shortName(problem, action);
  return text;
}

/// DeepSeek-V3's pipeline (16 ranks, 120 micro-batches), milliseconds: ISCA'25 Table 4.
inline Workload deepSeekV3() {
  StageCost cost;
  cost.forward = 57.6, cost.backward = 125.9, cost.backwardInput = 84.1, cost.backwardWeight = 41.7;
  cost.forwardWithBackward = 139.0;
  cost.parameterBytes = 1;
  cost.activationBytes = 1;
  Workload work;
  work.ranks = 16;
  work.microBatches = 120;
  work.parts.assign(16, cost);
  return work;
}

/// A random problem for a random generator, its stages of different cost.
struct RandomCase {
  Kind kind;
  Workload work;
};
inline RandomCase randomCase(std::mt19937 &random) {
  auto below = [&](int n) { return static_cast<int>(random() % n); };
  static const char *const kNames[] = {"gpipe",    "1f1b",     "interleaved:2", "interleaved:3",
                                       "zb-h1",    "zb-h2",    "zb-v",          "v-half",
                                       "dualpipe", "dualpipev"};
  RandomCase result;
  result.kind = kindOf(kNames[below(10)]);
  Workload &work = result.work;
  work.ranks = 1 + below(8);
  work.microBatches = 1 + below(24);
  if (result.kind.name == Kind::DualPipe)
    work.ranks += work.ranks % 2;
  if (result.kind.name == Kind::DualPipe || result.kind.name == Kind::DualPipeV)
    work.microBatches = 2 * work.ranks + 2 * below(8);
  if (result.kind.name == Kind::Interleaved)
    work.microBatches = work.ranks * (1 + below(4));
  for (int s = 0; s < result.kind.stages(work.ranks); ++s) {
    StageCost cost;
    cost.forward = (1 + below(20)) / 4.0;
    cost.backwardInput = (1 + below(20)) / 4.0;
    cost.backwardWeight = below(12) / 4.0;
    cost.backward = cost.backwardInput + cost.backwardWeight;
    if (below(2))
      cost.forwardWithBackward = (cost.forward + cost.backward) * (5 + below(6)) / 10;
    cost.forwardCollective = below(2) ? cost.forward / 4 : 0;
    cost.parameterBytes = below(50);
    cost.activationBytes = 1 + below(9);
    cost.weightResidualBytes = below(2) ? -1 : below(static_cast<int>(cost.activationBytes) + 1);
    cost.outputBytes = below(4);
    work.parts.push_back(cost);
  }
  work.link.latency = below(3) / 2.0;
  if (below(2))
    work.link.bandwidth = 1 + below(8);
  work.contention = (5 + below(6)) / 10.0;
  return result;
}

} // namespace testproblems

#endif // MOIRE_TEST_SCHEDULING_TESTPROBLEMS_H
