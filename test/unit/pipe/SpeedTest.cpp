//===- SpeedTest.cpp - Large schedules are read and verified at once -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Modules.h"
#include <ctime>

using namespace mlir;
using namespace testproblems;

namespace {

/// Seconds of processor time to parse, verify and print.
double secondsFor(const std::string &kind, int ranks, int microBatches, bool messages) {
  Modules modules;
  Outcome run = runUnit(kind, ranks, microBatches);
  if (!messages)
    run.schedule.messages.clear();
  const std::string text = Modules::print(*modules.build(run.problem, run.schedule), true);
  const std::clock_t start = std::clock();
  OwningOpRef<ModuleOp> module = modules.parse(text);
  EXPECT_TRUE(module) << modules.errors;
  EXPECT_EQ(Modules::print(*module), text);
  const double seconds = double(std::clock() - start) / CLOCKS_PER_SEC;
  printf("%s, %d ranks, %d micro-batches%s: %.1f MB of text in %.2f s\n", kind.c_str(), ranks,
         microBatches, messages ? ", with queues" : "", text.size() / 1e6, seconds);
  return seconds;
}

// Three times what docs/rationale/pipe.md promises: machines differ, complexity must not.
TEST(Speed, SixteenRanks) { EXPECT_LT(secondsFor("dualpipe", 16, 256, true), 3 * 0.2); }
TEST(Speed, SixtyFourRanks) { EXPECT_LT(secondsFor("dualpipe", 64, 1024, false), 3 * 3.0); }

} // namespace
