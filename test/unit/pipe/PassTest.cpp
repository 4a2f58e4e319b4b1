//===- PassTest.cpp - What the pass pipe-schedule writes -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Modules.h"
#include "mlir/Pass/PassManager.h"
#include "moire/Pipe/Passes.h"

using namespace mlir;
using namespace testproblems;

namespace {

/// The module of these stages after pipe-schedule; null where that fails.
OwningOpRef<ModuleOp> schedule(Modules &modules, const Workload &work, const std::string &kind) {
  OpBuilder builder(&modules.context);
  OwningOpRef<ModuleOp> module = ModuleOp::create(builder.getUnknownLoc());
  builder.setInsertionPointToEnd(module->getBody());
  for (size_t s = 0; s < work.parts.size(); ++s)
    builder.create<moire::pipe::StageOp>(builder.getUnknownLoc(), "s" + std::to_string(s), s,
                                         work.parts[s]);
  moire::pipe::PipeScheduleOptions options;
  options.kind = kind;
  options.ranks = work.ranks;
  options.microBatches = work.microBatches;
  options.memoryLimit = work.memoryLimit;
  options.latency = work.link.latency;
  options.bandwidth = work.link.bandwidth;
  options.contention = work.contention;
  PassManager passes(&modules.context);
  passes.addPass(moire::pipe::createPipeSchedule(options));
  if (failed(passes.run(*module)))
    return {};
  return module;
}

double makespanOf(ModuleOp module) {
  Problem problem;
  Schedule schedule;
  EXPECT_TRUE(succeeded(moire::readSchedule(scheduleOf(module), problem, schedule)));
  EXPECT_EQ(verify(problem, schedule).value_or(""), "");
  return simulate(problem, schedule).makespan;
}

/// What the pass writes for a kind is what the library generates for it.
TEST(Pass, EveryKind) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 100; ++trial) {
    const RandomCase c = randomCase(random);
    Modules modules;
    OwningOpRef<ModuleOp> module = schedule(modules, c.work, c.kind.str());
    ASSERT_TRUE(module) << c.kind.str() << ": " << modules.errors;
    const Outcome expected = runWorkload(c.kind.str(), c.work);
    Problem problem;
    Schedule written;
    ASSERT_TRUE(succeeded(moire::readSchedule(scheduleOf(*module), problem, written)));
    EXPECT_TRUE(written.ranks == expected.schedule.ranks) << c.kind.str();
    EXPECT_TRUE(written.messages == expected.schedule.messages) << c.kind.str();
    EXPECT_EQ(makespanOf(*module), expected.timing.makespan) << c.kind.str();
  }
}

/// On the same stages, ranks and memory no kind is faster than auto.
TEST(Pass, AutoIsNeverSlower) {
  StageCost cost;
  cost.forward = 2, cost.backward = 4, cost.backwardInput = 2.2, cost.backwardWeight = 1.8;
  cost.forwardWithBackward = 4.8;
  cost.activationBytes = 1, cost.outputBytes = 1;
  Workload work;
  work.ranks = 4;
  work.microBatches = 8;
  work.parts.assign(8, cost);
  work.link = {0.25, 4};
  work.contention = 0.7;
  work.memoryLimit = 12;
  Modules modules;
  OwningOpRef<ModuleOp> best = schedule(modules, work, "auto");
  ASSERT_TRUE(best) << modules.errors;
  const double makespan = makespanOf(*best);
  int compared = 0;
  for (Kind kind : generatorKinds())
    if (OwningOpRef<ModuleOp> other = schedule(modules, work, kind.str())) {
      EXPECT_LE(makespan, makespanOf(*other) * (1 + 1e-9)) << kind.str();
      ++compared;
    }
  // The kinds of two stages a rank that keep the limit.
  EXPECT_GE(compared, 2);
}

} // namespace
