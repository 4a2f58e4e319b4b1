//===- RoundTripTest.cpp - From schedules to IR and text and back --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Executor.h"
#include "Modules.h"
#include <algorithm>
#include <set>

using namespace mlir;
using namespace testproblems;

namespace {

/// Every number of a problem, bit for bit.
std::vector<double> numbersOf(const Problem &problem) {
  std::vector<double> numbers = {double(problem.ranks), problem.contention, problem.memoryLimit};
  for (const std::vector<int> &path : problem.rankOf)
    numbers.insert(numbers.end(), path.begin(), path.end());
  numbers.insert(numbers.end(), problem.microBatches.begin(), problem.microBatches.end());
  for (const StageCost &s : problem.stages)
    for (double value :
         {s.forward, s.backward, s.backwardInput, s.backwardWeight, s.forwardWithBackward,
          s.forwardWithBackwardInput, s.twoForwards, s.twoBackwards, s.twoBackwardInputs,
          s.forwardCollective, s.backwardCollective, s.parameterBytes, s.activationBytes,
          s.weightResidualBytes, s.outputBytes})
      numbers.push_back(value);
  for (int from = 0; from < problem.ranks; ++from)
    for (int to = 0; to < problem.ranks; ++to) {
      numbers.push_back(problem.linkOf(from, to).latency);
      numbers.push_back(problem.linkOf(from, to).bandwidth);
    }
  return numbers;
}

void expectSame(ModuleOp module, const Problem &problem, const Schedule &schedule) {
  Problem readProblem;
  Schedule readBack;
  ASSERT_TRUE(succeeded(moire::readSchedule(scheduleOf(module), readProblem, readBack)));
  EXPECT_EQ(numbersOf(readProblem), numbersOf(problem));
  EXPECT_EQ(readProblem.links.empty(), problem.links.empty());
  EXPECT_TRUE(readBack.ranks == schedule.ranks);
  EXPECT_TRUE(readBack.messages == schedule.messages);
}

/// A generator's schedule of a random problem, with fractions that no decimal of six digits has.
RandomCase roughCase(std::mt19937 &random) {
  RandomCase c = randomCase(random);
  auto unit = [&] { return std::uniform_real_distribution<double>(0.5, 1)(random); };
  for (StageCost &cost : c.work.parts) {
    cost.forward *= 1 + unit();
    cost.twoForwards = random() % 2 ? unit() * 1e-9 : 0;
    cost.twoBackwardInputs = random() % 2 ? unit() * 1e12 : 0;
    cost.outputBytes *= unit() * 1e9;
  }
  c.work.link.latency *= unit();
  c.work.contention = unit();
  return c;
}

TEST(RoundTrip, EveryGenerator) {
  std::mt19937 random(1);
  Modules modules;
  std::set<std::string> kinds;
  for (int trial = 0; trial < 400; ++trial) {
    RandomCase c = roughCase(random);
    kinds.insert(c.kind.str());
    Problem problem;
    Schedule schedule;
    ASSERT_EQ(place(c.work, c.kind, problem).value_or(""), "");
    if (random() % 3 == 0) { // Links of their own; the first differs.
      problem.links.assign(problem.ranks * problem.ranks, problem.link);
      problem.links[0].latency += 1;
      problem.links[random() % problem.links.size()].bandwidth = 0.1 + random() % 7;
    }
    ASSERT_EQ(generate(problem, c.kind, schedule).value_or(""), "");
    if (random() % 3 == 0)
      problem.memoryLimit = simulate(problem, schedule).peakBytes();
    if (random() % 3 == 0)
      schedule.messages.clear();
    OwningOpRef<ModuleOp> module = modules.build(problem, schedule);
    ASSERT_TRUE(succeeded(verify(*module))) << c.kind.str() << ": " << modules.errors;
    expectSame(*module, problem, schedule);
    const std::string text = Modules::print(*module);
    OwningOpRef<ModuleOp> parsed = modules.parse(text);
    ASSERT_TRUE(parsed) << modules.errors << "\n" << text;
    expectSame(*parsed, problem, schedule);
    EXPECT_EQ(Modules::print(*parsed), text);
  }
  EXPECT_EQ(kinds.size(), 10u);
}

/// What is accepted as IR is what a brute-force executor runs to its end.
TEST(RoundTrip, VerdictOnDamagedSchedulesAgreesWithBruteForce) {
  std::mt19937 random(2);
  Modules modules;
  int accepted = 0, refused = 0;
  auto damage = [&](auto &rows) {
    auto &row = rows[random() % rows.size()];
    if (row.size() < 2)
      return;
    const size_t i = random() % (row.size() - 1), j = random() % row.size();
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
      std::swap(row[i], row[i + 1]);
      break;
    }
  };
  for (int trial = 0; trial < 600; ++trial) {
    RandomCase c = randomCase(random);
    Problem problem;
    Schedule schedule;
    ASSERT_EQ(place(c.work, c.kind, problem).value_or(""), "");
    ASSERT_EQ(generate(problem, c.kind, schedule).value_or(""), "");
    if (trial % 3 == 0)
      problem.memoryLimit = simulate(problem, schedule).peakBytes();
    if (trial % 3 == 1)
      damage(schedule.messages);
    else
      damage(schedule.ranks);
    modules.errors.clear();
    OwningOpRef<ModuleOp> module = modules.build(problem, schedule);
    OwningOpRef<ModuleOp> parsed = modules.parse(Modules::print(*module, /*verified=*/true));
    ASSERT_EQ(bool(parsed), Executor::runs(problem, schedule))
        << c.kind.str() << ": " << modules.errors;
    ++(parsed ? accepted : refused);
    // Every refusal names a line.
    if (!parsed)
      EXPECT_NE(modules.errors.find_first_of("0123456789"), std::string::npos);
  }
  EXPECT_GT(accepted, 40);
  EXPECT_GT(refused, 200);
}

/// The stages of a module are used, not made again.
TEST(RoundTrip, GivenStages) {
  Modules modules;
  const std::string stages = "pipe.stage @a index 0\npipe.stage @b index 1\n";
  OwningOpRef<ModuleOp> module = modules.parse(stages);
  ASSERT_TRUE(module);
  Outcome run = runUnit("1f1b", 2, 2);
  run.problem.stages.assign(2, StageCost());
  OpBuilder builder(&modules.context);
  builder.setInsertionPointToEnd(module->getBody());
  SmallVector<moire::pipe::StageOp> given(module->getOps<moire::pipe::StageOp>());
  moire::buildSchedule(builder, builder.getUnknownLoc(), "step", run.problem, "1f1b", run.schedule,
                       given);
  EXPECT_TRUE(succeeded(verify(*module))) << modules.errors;
  EXPECT_EQ(std::distance(module->getBody()->begin(), module->getBody()->end()), 3);
  expectSame(*module, run.problem, run.schedule);
}

} // namespace
