//===- TestProblems.h - Problems that several tests use --------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TEST_SCHEDULING_TESTPROBLEMS_H
#define MOIRE_TEST_SCHEDULING_TESTPROBLEMS_H

#include "moire/Scheduling/Simulator.h"
#include "gtest/gtest.h"

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

} // namespace testproblems

#endif // MOIRE_TEST_SCHEDULING_TESTPROBLEMS_H
