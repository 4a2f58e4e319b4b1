//===- PropertyTest.cpp - Random problems and damaged schedules -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Executor.h"
#include "TestProblems.h"
#include "moire/Scheduling/Search.h"
#include <map>

using namespace testproblems;

namespace {

/// Nothing starts before what it needs has ended, and a rank does one thing at a time.
void expectConsistent(const Problem &problem, const Schedule &schedule, const Timing &timing) {
  std::map<std::array<int, 4>, std::pair<double, int>> made; // F or b → when, rank
  for (int r = 0; r < problem.ranks; ++r)
    for (size_t i = 0; i < schedule.ranks[r].size(); ++i)
      for (int k = 0; k < schedule.ranks[r][i].size(); ++k) {
        const Task &t = schedule.ranks[r][i][k];
        if (!(t.kind == TaskKind::BackwardWeight))
          made[{t.isForward(), t.path, t.stage, t.microBatch}] = {timing.finish[r][i], r};
      }
  for (int r = 0; r < problem.ranks; ++r) {
    double busy = 0;
    for (size_t i = 0; i < schedule.ranks[r].size(); ++i) {
      const double start = timing.start[r][i];
      busy += timing.finish[r][i] - start;
      ASSERT_GE(start + 1e-9, i ? timing.finish[r][i - 1] : 0.0);
      for (int k = 0; k < schedule.ranks[r][i].size(); ++k) {
        const Task &t = schedule.ranks[r][i][k];
        const int from = t.stage + (t.isForward() ? -1 : 1);
        if (t.kind == TaskKind::BackwardWeight || from < 0 || from >= problem.numStages())
          continue;
        auto [when, rank] = made.at({t.isForward(), t.path, from, t.microBatch});
        const double bytes = problem.stages[std::min(from, t.stage)].outputBytes;
        const double least = rank == r ? 0 : problem.link.latency + bytes / problem.link.bandwidth;
        ASSERT_GE(start + 1e-9, when + least);
      }
    }
    ASSERT_NEAR(timing.ranks[r].busy, busy, 1e-6);
    ASSERT_NEAR(timing.ranks[r].busy + timing.ranks[r].idle, timing.makespan, 1e-6);
    ASSERT_LE(timing.ranks[r].transferWait, timing.ranks[r].idle + 1e-6);
  }
}

TEST(Property, WhateverAGeneratorReturnsVerifies) {
  std::mt19937 random(1);
  int limited = 0, refused = 0;
  for (int trial = 0; trial < 2400; ++trial) {
    RandomCase c = randomCase(random);
    Problem problem;
    ASSERT_EQ(place(c.work, c.kind, problem).value_or(""), "") << c.kind.str();
    Schedule schedule;
    ASSERT_EQ(generate(problem, c.kind, schedule).value_or(""), "") << c.kind.str();
    ASSERT_EQ(verify(problem, schedule).value_or(""), "") << c.kind.str();
    ASSERT_TRUE(Executor::runs(problem, schedule)) << c.kind.str();
    Timing timing = simulate(problem, schedule);
    expectConsistent(problem, schedule, timing);
    ASSERT_GE(timing.makespan, makespanBound(problem).time * (1 - 1e-9)) << c.kind.str();
    // A limit just where the schedule is passes, anything below does not.
    if (trial % 4 == 0) {
      ++limited;
      problem.memoryLimit = timing.peakBytes();
      ASSERT_GE(timing.makespan, makespanBound(problem).time * (1 - 1e-9)) << c.kind.str();
      EXPECT_EQ(generate(problem, c.kind, schedule).value_or(""), "");
      problem.memoryLimit = timing.peakBytes() - 0.5;
      refused += generate(problem, c.kind, schedule).has_value();
    }
  }
  EXPECT_EQ(refused, limited);
}

/// Removes, repeats, swaps or moves something.
void damage(std::mt19937 &random, Schedule &schedule) {
  auto pick = [&](auto &rows) -> auto & {
    while (true) {
      auto &row = rows[random() % rows.size()];
      if (!row.empty())
        return row;
    }
  };
  const bool anyMessage = std::any_of(schedule.messages.begin(), schedule.messages.end(),
                                      [](const auto &queue) { return !queue.empty(); });
  auto apply = [&](auto &rows) {
    auto &row = pick(rows);
    const size_t i = random() % row.size(), j = random() % row.size();
    switch (random() % 5) {
    case 0:
      row.erase(row.begin() + i);
      break;
    case 1:
      row.insert(row.begin() + j, row[i]);
      break;
    case 2:
      std::swap(row[i], row[j]);
      break;
    default:
      if (i + 1 < row.size())
        std::swap(row[i], row[i + 1]);
      break;
    }
  };
  if (anyMessage && random() % 3 == 0)
    apply(schedule.messages);
  else
    apply(schedule.ranks);
}

TEST(Property, VerdictOnDamagedSchedulesAgreesWithBruteForce) {
  std::mt19937 random(2);
  int accepted = 0, refused = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    RandomCase c = randomCase(random);
    Problem problem;
    Schedule schedule;
    ASSERT_EQ(place(c.work, c.kind, problem).value_or(""), "");
    ASSERT_EQ(generate(problem, c.kind, schedule).value_or(""), "");
    if (trial % 3 == 0)
      problem.memoryLimit = simulate(problem, schedule).peakBytes();
    if (trial % 2)
      schedule.messages.clear();
    for (int n = 1 + random() % 2; n > 0; --n)
      damage(random, schedule);
    const Refusal verdict = verify(problem, schedule);
    ASSERT_EQ(!verdict, Executor::runs(problem, schedule))
        << c.kind.str() << ": " << verdict.value_or("accepted");
    ++(verdict ? refused : accepted);
  }
  // Swaps of neighbours that do not depend on each other are harmless, so both verdicts occur.
  EXPECT_GT(accepted, 200);
  EXPECT_GT(refused, 1000);
}

} // namespace
