//===- ShapeTest.cpp - Shapes against what is published of the models -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/CostModel/Model.h"
#include "gtest/gtest.h"

using namespace moire::cost;

static ModelCost costOfFile(const std::string &name) {
  ModelShape shape;
  const Refusal refusal = readShape(MOIRE_SHARE "/models/" + name + ".toml", shape);
  EXPECT_FALSE(refusal) << *refusal;
  return costOf(shape);
}

// Total and active parameters as published, in 1e9, each within the digits that are given.
TEST(Shape, ParametersArePublishedOnes) {
  struct Row {
    const char *file;
    double total, active, digit, activeDigit;
  };
  const Row kRows[] = {
      {"gpt3-175b", 175, 175, 1, 1},          {"mixtral-8x7b", 46.7, 12.9, 0.1, 0.1},
      {"qwen3-30b-a3b", 30.5, 3.3, 0.1, 0.1}, {"qwen3-235b-a22b", 235, 22, 1, 1},
      {"deepseek-v3", 671, 37, 1, 1},         {"llama-3.1-8b", 8.03, 8.03, 0.01, 0.01},
      {"llama-3.1-70b", 70.6, 70.6, 0.1, 0.1}};
  for (const Row &row : kRows) {
    const ModelCost model = costOfFile(row.file);
    EXPECT_NEAR(model.parameters / 1e9, row.total, row.digit) << row.file;
    EXPECT_NEAR(model.activeParameters / 1e9, row.active, row.activeDigit) << row.file;
  }
}

// "Insights into DeepSeek-V3" (ISCA'25), table 2: 250 GFLOP per token at a sequence of 4096.
TEST(Shape, DeepSeekTakes250GigaflopsPerToken) {
  EXPECT_NEAR(costOfFile("deepseek-v3").flopsPerToken / 1e9, 250, 1);
}

// Narayanan et al. 2021, equation 3 without recompute: 72 s l h^2 (1 + s/6h + V/12lh) per token.
TEST(Shape, GptFlopsAreTheFormula) {
  const double s = 2048, l = 96, h = 12288, V = 51200;
  const double formula = 72 * l * h * h * (1 + s / (6 * h) + V / (12 * l * h));
  EXPECT_NEAR(costOfFile("gpt3-175b").fullFlopsPerToken / formula, 1, 1e-9);
}

static ModelShape unfusedGpt() {
  ModelShape shape;
  shape.name = "GPT";
  shape.layers = 2;
  shape.hidden = 1024;
  shape.vocabulary = 50000;
  shape.sequence = shape.positions = 512;
  shape.norm = ModelShape::Norm::Layer;
  shape.dropout = true;
  shape.attention.heads = shape.attention.kvHeads = 16;
  shape.attention.headDim = 64;
  shape.attention.fused = false;
  shape.feedForward.kind = ModelShape::FeedForward::Kind::Gelu;
  shape.feedForward.width = 4096;
  return shape;
}

static double bytes(const Activations &kept, double tp, bool sequenceParallel) {
  return 2 * ((kept.residual + kept.narrowResidual) / (sequenceParallel ? tp : 1) +
              (kept.split + kept.narrowSplit) / tp);
}

// Korthikanti et al. 2022, table 2, bytes per token of one layer in units of h.
TEST(Shape, ActivationsAreKorthikantis) {
  const ModelShape shape = unfusedGpt();
  const ModelCost model = costOf(shape);
  const Part &layer = model.parts[1];
  const double h = 1024, a = 16, s = 512, t = 4;
  const auto kept = [&](Recompute recompute) { return layer.kept[static_cast<int>(recompute)]; };
  EXPECT_DOUBLE_EQ(bytes(kept(Recompute::None), 1, false) / h, 34 + 5 * a * s / h);
  EXPECT_DOUBLE_EQ(bytes(kept(Recompute::None), t, false) / h, 10 + 24 / t + 5 * a * s / h / t);
  EXPECT_DOUBLE_EQ(bytes(kept(Recompute::None), t, true) / h, 34 / t + 5 * a * s / h / t);
  EXPECT_DOUBLE_EQ(bytes(kept(Recompute::Selective), t, true) / h, 34 / t);
  EXPECT_DOUBLE_EQ(bytes(kept(Recompute::Full), t, false) / h, 2);
}

// Fused attention keeps no scores.
TEST(Shape, FusedAttentionKeepsNoScores) {
  ModelShape shape = unfusedGpt();
  shape.attention.fused = true;
  const Part layer = costOf(shape).parts[1];
  EXPECT_DOUBLE_EQ(bytes(layer.kept[0], 1, false) / 1024, 34);
}

// A tied embedding counts once, further-token layers not at all.
TEST(Shape, TiedAndFurtherParameters) {
  ModelShape shape = unfusedGpt();
  const double untied = costOf(shape).parameters;
  shape.tiedEmbedding = true;
  EXPECT_DOUBLE_EQ(untied - costOf(shape).parameters, 50000.0 * 1024);
  const ModelCost plain = costOf(shape);
  shape.multiTokenPrediction = 1;
  const ModelCost further = costOf(shape);
  EXPECT_DOUBLE_EQ(plain.parameters, further.parameters);
  EXPECT_DOUBLE_EQ(plain.flopsPerToken, further.flopsPerToken);
  EXPECT_EQ(further.parts.size(), plain.parts.size() + 1);
}

//===----------------------------------------------------------------------===//
// Refusals
//===----------------------------------------------------------------------===//

static std::string refusal(const std::string &text) {
  ModelShape shape;
  return parseShape(text, "m.toml", shape).value_or("accepted");
}

static const std::string kHead = "name = \"m\"\nlayers = 2\nhidden = 64\nvocabulary = 100\n"
                                 "sequence = 16\n";

TEST(ShapeRefusal, Sentences) {
  EXPECT_EQ(refusal(kHead + "[attention]\nheads = 6\nkv_heads = 4\nhead_dim = 8\n"
                            "[feed_forward]\nwidth = 64\n"),
            "'m.toml': 6 attention.heads are not a multiple of 4 attention.kv_heads; give as many, "
            "or a divisor");
  EXPECT_EQ(refusal(kHead + "[attention]\nheads = 4\nhead_dim = 8\n"),
            "'m.toml': feed_forward.width is missing, which all layers need; write for example "
            "width = 256");
  EXPECT_EQ(refusal(kHead + "[attention]\nheads = 4\nhead_dim = 8\n[experts]\ncount = 4\n"
                            "top_k = 5\nwidth = 8\n"),
            "'m.toml': experts.top_k is 5, not from 1 to the 4 experts; write for example "
            "top_k = 2");
  EXPECT_EQ(refusal(kHead + "[attention]\nheads = 4\nhead_dim = 8\n[feed_forward]\n"
                            "kind = \"relu\"\nwidth = 64\n"),
            "'m.toml' line 10: feed_forward.kind is 'relu', which is not known; use one of gelu "
            "and swiglu");
}
