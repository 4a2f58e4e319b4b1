//===- SearchTest.cpp - The schedule named auto ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Search.h"
#include "TestProblems.h"

using namespace testproblems;

namespace {
TEST(Search, DeepSeekV3) {
  Workload work = deepSeekV3();
  for (double latency : {0.0, 9.0})
  for (double parameters : {0.0}) {
    for (StageCost &cost : work.parts)
      cost.parameterBytes = parameters;
    work.link.latency = latency;
    work.memoryLimit = 2 * parameters + 17;
    for (double extra : {0.0, 2.0, 4.0, 8.0}) { const int per = 4; work.memoryLimit = 2 * parameters + 17 + extra;
    SearchOptions options;
    options.stagesPerRank = per;
    SearchResult result;
    const auto t = std::clock();
    ASSERT_EQ(searchSchedule(work, options, result).value_or(""), "");
    std::printf("lat %g par %g per %d: %.3f s by %s; %s %.3f; bound %.3f, peak %g; tried %d, %.1f s\n", latency, parameters, per, result.timing.makespan / 1000 + .29,
                result.how.c_str(), result.generator.c_str(), result.generatorMakespan / 1000 + .29, result.bound / 1000 + .29,
                result.timing.peakBytes(), result.tried, double(std::clock() - t) / CLOCKS_PER_SEC);
    fflush(stdout);
    }
  }
}
} // namespace
