//===- PredictTest.cpp - Predictions against closed formulas --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TestModels.h"

using namespace moire::planner;
using moire::cost::Cluster;
using moire::cost::ModelCost;
using moire::cost::Recompute;
using moire::scheduling::Kind;

static Prediction predicted(const ModelCost &model, const Cluster &cluster, const Plan &plan) {
  Prediction prediction;
  const Refusal refusal = predict(model, cluster, plan, prediction);
  EXPECT_FALSE(refusal) << *refusal;
  return prediction;
}

// F = 1 and B = 2 on each of 4 ranks: makespan (M + P - 1) 3, bubble (P - 1) / (M + P - 1).
TEST(Predict, OneFOneBOnAnEvenModel) {
  Plan plan;
  plan.pp = 4;
  plan.microBatches = 12;
  const Prediction p = predicted(evenModel(4), plainCluster(4), plan);
  EXPECT_DOUBLE_EQ(p.step.pipeline, 45);
  EXPECT_DOUBLE_EQ(p.bubble, 3.0 / 15);
  EXPECT_NEAR(p.tokensPerSecond, 12.0 / 45, 1e-9);
  EXPECT_NEAR(p.mfu, 12.0 / 15, 1e-9);
  EXPECT_DOUBLE_EQ(p.hfu, p.mfu);
}

// Full recompute makes each forward twice: F = 1, B = 3, and 4/3 of the FLOPs.
TEST(Predict, FullRecompute) {
  Plan plan;
  plan.pp = 4;
  plan.microBatches = 12;
  plan.recompute = Recompute::Full;
  const Prediction p = predicted(evenModel(4), plainCluster(4), plan);
  EXPECT_DOUBLE_EQ(p.step.pipeline, 60);
  EXPECT_NEAR(p.hardwareFlops / p.modelFlops, 4.0 / 3, 1e-12);
}

// Rank r of 1F1B holds P - r micro-batches of 6 bytes; state is 2 + 4 + 12 bytes a parameter.
TEST(Predict, MemoryOfOneFOneB) {
  Plan plan;
  plan.pp = 4;
  plan.microBatches = 12;
  plan.zero = 0;
  const Prediction p = predicted(evenModel(4), plainCluster(4), plan);
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_DOUBLE_EQ(p.memory[rank].activations, 6 * (4 - rank));
    EXPECT_DOUBLE_EQ(p.memory[rank].parameters, 20);
    EXPECT_DOUBLE_EQ(p.memory[rank].gradients, 40);
    EXPECT_DOUBLE_EQ(p.memory[rank].optimizer, 120);
  }
  EXPECT_EQ(p.fullest, 0);
}

// DualPipe holds two stages on each rank and divides their state over two ranks.
TEST(Predict, MemoryOfDualPipe) {
  Plan plan;
  plan.pp = 4;
  plan.microBatches = 12;
  plan.schedule = {Kind::DualPipe, 1};
  const Prediction p = predicted(evenModel(4), plainCluster(4), plan);
  EXPECT_DOUBLE_EQ(p.memory[1].parameters, 40);
  EXPECT_DOUBLE_EQ(p.memory[1].optimizer, 120);
  EXPECT_DOUBLE_EQ(p.memory[0].activations, 6 * 5); // PP + 1
}

// An embedding that is the head as well is on a rank once, and on two ranks where these are two.
TEST(Predict, TiedEmbedding) {
  ModelCost model = evenModel(4);
  model.tied = 4;
  for (const int pp : {1, 2}) {
    Plan plan;
    plan.pp = pp;
    plan.microBatches = 4;
    plan.zero = 0;
    const Prediction p = predicted(model, plainCluster(pp), plan);
    EXPECT_DOUBLE_EQ(p.memory[0].parameters, pp == 1 ? 2 * (40 - 4) : 2 * 20);
    EXPECT_DOUBLE_EQ(p.memory[0].optimizer, pp == 1 ? 12 * (40 - 4) : 12 * 20);
    EXPECT_DOUBLE_EQ(p.memory.back().gradients, pp == 1 ? 4 * (40 - 4) : 4 * 20);
  }
}

// Beside the divided state, zero 2 has the whole gradients of a part of 10 parameters, zero 3 the
// parameters of that part and of the next as well.
TEST(Predict, ZeroNeedsWholeParts) {
  double workspace[4];
  for (int zero = 0; zero <= 3; ++zero) {
    Plan plan;
    plan.dp = 4;
    plan.zero = zero;
    workspace[zero] = predicted(evenModel(3), plainCluster(4), plan).memory[0].workspace;
  }
  EXPECT_DOUBLE_EQ(workspace[1], workspace[0]);
  EXPECT_DOUBLE_EQ(workspace[2], workspace[0] + 10 * 4);
  EXPECT_DOUBLE_EQ(workspace[3], workspace[0] + 10 * (4 + 2 * 2));
}

// What zero 2 and 3 send goes beside computation only where exchanges leave the network to it:
// 40 bytes of gradients a part, half of them to the other rank, at 20 bytes a second.
TEST(Predict, ZeroSharesTheNetwork) {
  ModelCost model = evenModel(1);
  Cluster cluster = plainCluster(2);
  cluster.within.bandwidth = 20;
  Plan plan;
  plan.dp = 2;
  plan.zero = 2;
  plan.microBatches = 2;
  EXPECT_DOUBLE_EQ(predicted(model, cluster, plan).step.pipeline, 2 * 3); // 1 s under B = 2
  cluster.within.bandwidth = 5;
  EXPECT_DOUBLE_EQ(predicted(model, cluster, plan).step.pipeline, 2 * (3 + 2)); // 4 s under 2
}

// Logits are f32 in any precision: with full recompute a head of 8 columns alone keeps them.
TEST(Predict, LogitsAreWide) {
  ModelCost model = evenModel(1);
  for (moire::cost::Activations &kept : model.parts[0].kept) {
    kept = {};
    kept.residual = 2;
    kept.wideSplit = 8;
  }
  Cluster cluster = plainCluster(1);
  cluster.device.flops["f32"] = cluster.device.efficiency.matmul["f32"] = 1;
  Plan plan;
  EXPECT_DOUBLE_EQ(predicted(model, cluster, plan).memory[0].activations, 2 * 2 + 4 * 8);
  plan.precision = "f32";
  EXPECT_DOUBLE_EQ(predicted(model, cluster, plan).memory[0].activations, 4 * 2 + 4 * 8);
}

// zero divides state over the dp ranks, in its order.
TEST(Predict, ZeroDividesState) {
  for (int zero = 0; zero <= 3; ++zero) {
    Plan plan;
    plan.dp = 4;
    plan.zero = zero;
    const Memory memory = predicted(evenModel(2), plainCluster(4), plan).memory[0];
    EXPECT_DOUBLE_EQ(memory.optimizer, 240.0 / (zero >= 1 ? 4 : 1));
    EXPECT_DOUBLE_EQ(memory.gradients, 80.0 / (zero >= 2 ? 4 : 1));
    EXPECT_DOUBLE_EQ(memory.parameters, 40.0 / (zero >= 3 ? 4 : 1));
  }
}

// Korthikanti et al. 2022, section 4.2.3: the first stage of 1F1B holds L layers' activations
// whatever the pipeline, here 34 s b h L / t of GPT-3 with selective recompute.
TEST(Predict, ActivationsOfGpt3) {
  moire::cost::ModelShape shape;
  ASSERT_FALSE(moire::cost::readShape(MOIRE_SHARE "/models/gpt3-175b.toml", shape));
  shape.attention.fused = false;
  shape.dropout = true;
  Plan plan;
  plan.pp = 8;
  plan.tp = 8;
  plan.microBatches = 64;
  plan.recompute = Recompute::Selective;
  const Prediction p = predicted(moire::cost::costOf(shape), clusterOf("a100", 64), plan);
  EXPECT_EQ(p.parts[0], std::make_pair(0, 13)); // with the embedding, which keeps nothing
  EXPECT_NEAR(p.memory[0].activations / (34.0 * 2048 * 12288 * 96 / 8), 1, 1e-9);
}

// Without links that cost time, gradients cost none; with slow ones they do, less if they overlap.
TEST(Predict, GradientsOverlap) {
  Cluster cluster = plainCluster(2);
  Plan plan;
  plan.dp = 2;
  plan.microBatches = 2;
  EXPECT_EQ(predicted(evenModel(4), cluster, plan).step.gradients, 0);
  cluster.within.bandwidth = 10; // 4 parts of 40 bytes, half of each: 8 s
  const double hidden = predicted(evenModel(4), cluster, plan).step.gradients;
  plan.overlapGradients = false;
  const double exposed = predicted(evenModel(4), cluster, plan).step.gradients;
  EXPECT_DOUBLE_EQ(exposed, 8);
  EXPECT_DOUBLE_EQ(hidden, 2); // the last part's
}

// The fullest expert rank holds up the others.
TEST(Predict, ImbalanceCosts) {
  Plan plan;
  plan.ep = 8;
  const ModelCost model = modelOf("mixtral-8x7b");
  const Cluster cluster = clusterOf("h100", 8);
  const Prediction even = predicted(model, cluster, plan);
  plan.imbalance = 1.5;
  const Prediction uneven = predicted(model, cluster, plan);
  EXPECT_GT(uneven.step.total(), even.step.total() * 1.2);
  EXPECT_LT(uneven.step.total(), even.step.total() * 1.5);
}

// DeepSeek-V3's pairs hide expert traffic that 1F1B waits for.
TEST(Predict, PairsHideExchanges) {
  Plan plan;
  plan.dp = 2;
  plan.pp = 16;
  plan.ep = 64;
  plan.microBatches = 120;
  plan.precision = "fp8";
  plan.recompute = Recompute::Selective;
  const ModelCost model = modelOf("deepseek-v3");
  const Cluster cluster = clusterOf("h800", 2048);
  const Prediction waiting = predicted(model, cluster, plan);
  plan.schedule = {Kind::DualPipe, 1};
  const Prediction paired = predicted(model, cluster, plan);
  EXPECT_GT(waiting.exposedCommunication, 2 * paired.exposedCommunication);
  EXPECT_LT(paired.step.total(), 0.85 * waiting.step.total());
}

// `auto` is never worse than the generators, and keeps the limit.
TEST(Predict, AutoIsNoWorse) {
  Plan plan;
  plan.pp = 4;
  plan.microBatches = 12;
  const ModelCost model = evenModel(8);
  plan.schedule = {Kind::ZeroBubbleV, 1};
  const double generated = predicted(model, plainCluster(4), plan).step.total();
  plan.schedule = {Kind::Auto, 1};
  const Prediction searched = predicted(model, plainCluster(4), plan);
  EXPECT_LE(searched.step.total(), generated * (1 + 1e-9));
  EXPECT_TRUE(searched.fits());
  ASSERT_EQ(searched.parts.size(), searched.problem.stages.size());
  EXPECT_EQ(searched.parts.back().second, 8);
}

TEST(PredictRefusal, Memory) {
  Plan plan;
  plan.pp = 4;
  plan.microBatches = 12;
  plan.zero = 0;
  Cluster cluster = plainCluster(4);
  EXPECT_FALSE(refuseMemory(evenModel(4), cluster, predicted(evenModel(4), cluster, plan)));
  cluster.device.memory = 196e0;
  const std::string sentence =
      *refuseMemory(evenModel(4), cluster, predicted(evenModel(4), cluster, plan));
  EXPECT_NE(sentence.find("recompute full makes it fit"), std::string::npos) << sentence;
  plan.recompute = Recompute::Full;
  EXPECT_TRUE(predicted(evenModel(4), cluster, plan).fits());
  cluster.device.memory = 100;
  const std::string none =
      *refuseMemory(evenModel(4), cluster, predicted(evenModel(4), cluster, plan));
  EXPECT_NE(none.find("no change of one thing makes it fit"), std::string::npos) << none;
}
