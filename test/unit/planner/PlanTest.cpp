//===- PlanTest.cpp - Plan files and plans that cannot be -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TestModels.h"
#include "lib/Planner/Stages.h"
#include <functional>
#include <random>
#include <sstream>

using namespace moire::planner;
using moire::cost::Recompute;
using moire::scheduling::Kind;

TEST(Plan, WrittenPlanIsRead) {
  Plan plan;
  plan.dp = 2;
  plan.pp = 16;
  plan.ep = 64;
  plan.microBatches = 120;
  plan.schedule = {Kind::Interleaved, 3};
  plan.recompute = Recompute::Selective;
  plan.precision = "fp8";
  plan.zero = 2;
  plan.imbalance = 1.25;
  plan.overlapGradients = plan.sequenceParallel = false;
  plan.overlapReduce = true;
  std::ostringstream text, again;
  writePlan(text, plan);
  Plan read;
  const Refusal refusal = parsePlan(text.str(), "p.toml", read);
  ASSERT_FALSE(refusal) << *refusal;
  writePlan(again, read);
  EXPECT_EQ(text.str(), again.str());
  EXPECT_EQ(read.mesh(), "pp=16,dp=2,ep=64");
  EXPECT_EQ(read.globalBatch(), 2 * 64 * 120);
  EXPECT_EQ(read.schedule.str(), "interleaved:3");
  EXPECT_EQ(read.recompute, Recompute::Selective);
  EXPECT_EQ(read.imbalance, 1.25);
  EXPECT_FALSE(read.sequenceParallel);
  EXPECT_TRUE(read.overlapReduce);
}

TEST(PlanRefusal, Files) {
  Plan plan;
  EXPECT_EQ(*parsePlan("schedule = \"dualpip\"\n", "p.toml", plan),
            "'p.toml': no schedule is named 'dualpip'; use one of gpipe, 1f1b, interleaved:V, "
            "zb-h1, zb-h2, zb-v, v-half, dualpipe, dualpipev, auto");
  EXPECT_EQ(*parsePlan("[mesh]\npd = 2\n", "p.toml", plan),
            "'p.toml' line 2: table [mesh] has no key 'pd', perhaps 'pp' is meant; its keys are "
            "dp, pp, ep, tp, sequence_parallel and overlap_reduce");
  EXPECT_EQ(*parsePlan("zero = 4\n", "p.toml", plan),
            "'p.toml' line 1: zero is 4, not from 0 to 3; write for example zero = 1");
}

namespace {
struct Checks : testing::Test {
  moire::cost::ModelCost model = modelOf("deepseek-v3");
  moire::cost::Cluster cluster = clusterOf("h800", 2048);
  Plan plan;

  Checks() {
    plan.dp = 2;
    plan.pp = 16;
    plan.ep = 64;
    plan.microBatches = 120;
    plan.precision = "fp8";
    plan.schedule = {Kind::DualPipe, 1};
  }
  std::string refusal() { return check(model, cluster, plan).value_or("accepted"); }
};
} // namespace

TEST_F(Checks, Accepts) { EXPECT_EQ(refusal(), "accepted"); }

TEST_F(Checks, Devices) {
  plan.dp = 3;
  EXPECT_EQ(refusal(), "the mesh pp=16,dp=3,ep=64 has 3072 ranks, not the 2048 devices of cluster "
                       "'h800'; use a mesh of 2048, or a cluster of 3072");
}

TEST_F(Checks, Experts) {
  plan.ep = 128;
  plan.dp = 1;
  EXPECT_EQ(refusal(), "accepted");
  plan.pp = 1;
  plan.dp = 4;
  plan.ep = 512;
  plan.schedule = {Kind::OneFOneB, 1};
  EXPECT_EQ(refusal(), "expert count 256 of 'layer 3' does not divide over mesh axis \"ep\" of "
                       "size 512; use an axis of size 1, 2, 4, 8, 16, 32, 64, 128, 256");
  model = modelOf("gpt3-175b");
  EXPECT_EQ(refusal(), "ep=512 for GPT-3 175B, which has 0 experts; use ep=1 and dp=2048");
}

TEST_F(Checks, Heads) {
  model = modelOf("qwen3-30b-a3b");
  plan.ep = 16;
  plan.tp = 8;
  plan.dp = 1;
  EXPECT_EQ(refusal(), "tp=8 does not divide the 4 key heads of Qwen3-30B-A3B; use 1, 2, 4");
}

TEST_F(Checks, DualPipeOnOddRanks) {
  cluster = clusterOf("h800", 1920);
  plan.pp = 15;
  EXPECT_EQ(refusal(), "dualpipe needs an even number of ranks, not 15; use 14 or 16");
}

TEST_F(Checks, TooFewMicroBatches) {
  plan.microBatches = 30;
  EXPECT_EQ(refusal(), "dualpipe on 16 ranks needs at least 32 micro-batches, not 30; use 32");
}

TEST_F(Checks, TooManyMicroBatches) {
  plan.microBatches = 1000000;
  EXPECT_EQ(refusal(), "dualpipe with 16 stages and 1000000 micro-batches is 32000000 tasks, more "
                       "than the 4194304 that are simulated; use at most 131072 micro-batches, "
                       "larger ones or more replicas");
}

TEST_F(Checks, TooManyStages) {
  plan.schedule = {Kind::Interleaved, 8};
  EXPECT_EQ(refusal(), "interleaved:8 on 16 pipeline ranks takes 128 stages, more than the 64 "
                       "parts of DeepSeek-V3; use pp=8 or less");
}

TEST_F(Checks, Precision) {
  cluster = clusterOf("a100", 2048);
  EXPECT_EQ(refusal(), "cluster 'a100' has no rate for fp8, only for bf16 and f32; plan in bf16, "
                       "or give [device.flops] and [device.efficiency.matmul] a fp8");
}

TEST_F(Checks, FullRecomputePutOff) {
  plan.schedule = {Kind::ZeroBubbleH1, 1};
  plan.recompute = Recompute::Full;
  EXPECT_EQ(refusal(), "recompute full with zb-h1 would keep until the weights' gradients all that "
                       "it computes again; use recompute none or selective, or 1f1b");
}

// Against all ways to cut: the longest stage is as short as any, and then squares are least.
TEST(Cuts, AreTheBest) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    const int n = 1 + random() % 9, count = 1 + random() % n;
    std::vector<double> times;
    for (int i = 0; i < n; ++i)
      times.push_back(1 + random() % 5);
    double longest = 1e9, squares = 1e9;
    std::function<void(int, int, double, double)> tryAll = [&](int at, int left, double most,
                                                               double sum) {
      if (left == 0) {
        if (at == n && (most < longest || (most == longest && sum < squares))) {
          longest = most;
          squares = sum;
        }
        return;
      }
      double time = 0;
      for (int end = at; end < n; ++end) {
        time += times[end];
        tryAll(end + 1, left - 1, std::max(most, time), sum + time * time);
      }
    };
    tryAll(0, count, 0, 0);
    double most = 0, sum = 0;
    int at = 0;
    for (const auto &[first, last] : cutParts(times, count)) {
      EXPECT_EQ(first, at);
      ASSERT_LT(first, last);
      double time = 0;
      for (int i = first; i < last; ++i)
        time += times[i];
      most = std::max(most, time);
      sum += time * time;
      at = last;
    }
    EXPECT_EQ(at, n);
    EXPECT_DOUBLE_EQ(most, longest);
    EXPECT_DOUBLE_EQ(sum, squares);
  }
}
