//===- RampTest.cpp - Ramps of micro-batches, read and refused ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Ramp.h"
#include <gtest/gtest.h>

using namespace moire::scheduling;

namespace {

std::string refusalOf(const std::string &text) {
  Ramp ramp;
  return parseRamp(text, ramp).value_or("accepted");
}

TEST(Ramp, IsRead) {
  Ramp ramp;
  ASSERT_FALSE(parseRamp("4@0,8@1000,4@1001", ramp));
  EXPECT_EQ(ramp, (Ramp{{4, 0}, {8, 1000}, {4, 1001}}));
  EXPECT_EQ(countsOf(ramp), (std::vector<int64_t>{4, 8}));
  ASSERT_FALSE(parseRamp("1@0", ramp));
  EXPECT_EQ(ramp, (Ramp{{1, 0}}));
}

TEST(Ramp, AStepHasWhatTheLastEntryBeforeItSays) {
  const Ramp ramp = {{4, 0}, {8, 2}, {2, 5}};
  std::vector<int64_t> counts;
  for (int64_t done = 0; done < 7; ++done)
    counts.push_back(microBatchesAfter(ramp, done));
  EXPECT_EQ(counts, (std::vector<int64_t>{4, 4, 8, 8, 8, 2, 2}));
}

TEST(Ramp, WhatIsWrittenOtherwiseIsRefused) {
  for (const char *item : {"", "4", "4@", "@0", "4@x", "4x@0", "4@0x", "4@0@1", " 4@0", "4@ 0",
                           "4.5@0", "99999999999999999999@0"})
    EXPECT_EQ(refusalOf(item), std::string("has '") + item +
                                   "'; write micro-batches@steps that are done before, as "
                                   "4@0,8@1000");
  EXPECT_EQ(refusalOf("4@0,,8@9").substr(0, 8), "has ''; ");
  EXPECT_EQ(refusalOf("4@0,").substr(0, 8), "has ''; ");
}

TEST(Ramp, NumbersThatCannotBeAreRefused) {
  EXPECT_EQ(refusalOf("0@0"), "has 0 micro-batches after 0 steps; use 1 to 1048576");
  EXPECT_EQ(refusalOf("4@0,-1@5"), "has -1 micro-batches after 5 steps; use 1 to 1048576");
  EXPECT_EQ(refusalOf("1048577@0"), "has 1048577 micro-batches after 0 steps; use 1 to 1048576");
  EXPECT_EQ(refusalOf("4@1"), "begins after 1 steps, so that the first ones have no number of "
                              "micro-batches; begin after 0");
  EXPECT_EQ(refusalOf("4@-1"), "begins after -1 steps, so that the first ones have no number of "
                               "micro-batches; begin after 0");
  EXPECT_EQ(refusalOf("4@0,8@9,2@9"),
            "has 2 micro-batches after 9 steps, behind 8 after 9; let the steps ascend");
  EXPECT_EQ(refusalOf("4@0,8@9,2@3"),
            "has 2 micro-batches after 3 steps, behind 8 after 9; let the steps ascend");
  EXPECT_EQ(check(Ramp()).value_or(""), "has no entry; use at least one, after 0 steps");
}

} // namespace
