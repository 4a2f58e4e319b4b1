//===- SamplingTest.cpp - Text from a model of bytes ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/sampling.h"
#include "TestUtil.h"
#include "moire/rt/kernels.h"

#include <map>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
constexpr int64_t kSeq = 5, kVocab = 256;
const int64_t kTokens[] = {1, kSeq}, kTable[] = {kVocab, kVocab};
const InputInfo kInputs[] = {{"input_ids", DType::i64, 2, kTokens, Role::tokens, 0},
                             {"labels", DType::i64, 2, kTokens, Role::labels, -1},
                             {"scale", DType::f32, 0, nullptr, Role::scale, -1}};

/// The logits behind a byte are the byte's row of the table.
void forward(Context &ctx) {
  float *logits = ctx.at<float>(0), *losses = ctx.at<float>(kSeq * kVocab * 4);
  for (int64_t t = 0; t < kSeq; ++t)
    std::copy_n(ctx.param(ctx.input<int64_t>(0)[t] * kVocab), kVocab, logits + t * kVocab);
  crossEntropy(ctx, {kSeq, kVocab}, logits, ctx.input<int64_t>(1), losses, losses + kSeq);
  const float sum = losses[0];
  loss(ctx, &sum);
}

struct Model {
  ParameterInfo table = {"t", "t", 2, kTable, true, Init::zeros, 0, 0, 0, nullptr};
  Program p = {};
  Model() {
    p.batch = 1;
    p.seq = kSeq;
    p.vocab = p.tokenVocab = kVocab;
    p.arenaBytes = kSeq * kVocab * 4 + 2 * kSeq * 4;
    p.paramElements = p.gradElements = kVocab * kVocab;
    p.numParameters = 1;
    p.parameters = &table;
    p.numInputs = 3;
    p.inputs = kInputs;
    p.microStep = p.forward = forward;
  }
};
} // namespace

// At 0 the likeliest byte behind the last one, beyond the length of the model's sequence, too.
TEST(Sampling, AtZeroTheLikeliestByte) {
  Model model;
  Context ctx(model.p, 1);
  const Floats table = random(kVocab * kVocab, 1);
  std::copy(table.begin(), table.end(), ctx.param(0));
  for (const std::string prompt : {"a", "abcdefgh", ""}) {
    std::string want;
    for (unsigned char last = prompt.empty() ? '\n' : prompt.back(); want.size() < 20;) {
      const float *row = &table[last * kVocab];
      last = static_cast<unsigned char>(std::max_element(row, row + kVocab) - row);
      want += char(last);
    }
    EXPECT_EQ(Sampler(ctx).goOn(prompt, 20, 0, 7), want) << prompt;
  }
}

// Pearson's chi-squared test: frequencies are those of softmax(logits / temperature).
TEST(Sampling, FrequenciesAreTheModels) {
  Model model;
  Context ctx(model.p, 1);
  const Floats logits = random(kVocab, 2, -3, 3);
  for (int64_t last = 0; last < kVocab; ++last)
    std::copy(logits.begin(), logits.end(), ctx.param(last * kVocab));
  constexpr int64_t kCount = 30000;
  for (double temperature : {0.5, 1.0, 2.0}) {
    const std::string text = Sampler(ctx).goOn("a", kCount, temperature, 11);
    std::map<unsigned char, double> seen;
    for (char c : text)
      ++seen[static_cast<unsigned char>(c)];
    auto distance = [&](double assumed) { // over its degrees of freedom, in standard deviations
      double sum = 0, squares = 0, rare = kCount, rareSeen = kCount;
      int64_t classes = 0;
      for (float x : logits)
        sum += std::exp(x / assumed);
      for (int64_t i = 0; i < kVocab; ++i) {
        const double want = kCount * std::exp(logits[i] / assumed) / sum;
        if (want < 5)
          continue;
        const double got = seen[static_cast<unsigned char>(i)];
        squares += (got - want) * (got - want) / want;
        rare -= want;
        rareSeen -= got;
        ++classes;
      }
      if (rare >= 5)
        squares += (rareSeen - rare) * (rareSeen - rare) / rare;
      return (squares - double(classes)) / std::sqrt(2.0 * double(classes));
    };
    EXPECT_LT(distance(temperature), 4) << temperature;
    EXPECT_GT(distance(temperature * 1.2), 20) << "the test tells other temperatures";
  }
}
