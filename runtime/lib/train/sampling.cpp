//===- sampling.cpp - Text that a model of bytes goes on with -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/sampling.h"
#include "moire/rt/device.h"
#include "train/convert.h"
#include "train/forward_alone.h"
#include "train/philox.h"

#include <algorithm>
#include <cmath>

namespace moire::rt {

namespace {
/// Models of bytes may have a few more tokens, which no text has.
constexpr int64_t kBytes = 256, kMostTokens = 320;

/// A value that Philox gives, in [0, 1).
double uniform(uint64_t seed, uint64_t index) {
  return philox(seed, 0x73616d70, index)[0] * 0x1p-32;
}

int pick(const std::vector<float> &logits, double temperature, double at) {
  const float *best = std::max_element(logits.data(), logits.data() + kBytes);
  if (temperature == 0)
    return int(best - logits.data());
  std::vector<double> sums(kBytes);
  double sum = 0;
  for (int64_t i = 0; i < kBytes; ++i)
    sums[i] = sum += std::exp((double(logits[i]) - *best) / temperature);
  return int(std::upper_bound(sums.begin(), sums.end() - 1, at * sum) - sums.begin());
}
} // namespace

template <typename T> void tapLogits(Context &ctx, const CrossEntropy &c, const T *logits) {
  LogitsTap &tap = *ctx.tap;
  if (tap.row >= tap.seen && tap.row < tap.seen + c.rows) {
    std::vector<T> row(c.vocab);
    download(ctx, row.data(), logits + (tap.row - tap.seen) * c.vocab,
             c.vocab * int64_t(sizeof(T)));
    tap.logits.assign(row.begin(), row.end());
  }
  tap.seen += c.rows;
}
template void tapLogits(Context &, const CrossEntropy &, const float *);
template void tapLogits(Context &, const CrossEntropy &, const bf16 *);

Sampler::Sampler(Context &ctx) : ctx(ctx), program(*ctx.program), batch(program) {
  if (ctx.comm || program.pipeline)
    throw InputError("--sample runs on one rank; compile the model without --mesh, and let that "
                     "trainer --resume a checkpoint");
  const int64_t vocab = program.tokenVocab > 0 ? program.tokenVocab : program.vocab;
  if (vocab < kBytes || vocab > kMostTokens)
    throw InputError("--sample goes on with bytes, for which a model has " +
                     std::to_string(kBytes) + " to " + std::to_string(kMostTokens) +
                     " tokens; this one has " + std::to_string(vocab));
  for (int64_t i = 0; i < program.numInputs; ++i) {
    const InputInfo &in = program.inputs[i];
    if (in.role == Role::tokens)
      tokens = i;
    else if (in.role == Role::labels)
      std::fill_n(batch.blocks[i].data(), batch.blocks[i].size(), 0); // any byte
    else if (in.role != Role::scale && !fillDefault(in, batch.blocks[i].data()))
      throw InputError(std::string("--sample does not give the input '") + in.name +
                       "', which the model needs beside its tokens");
  }
  if (tokens < 0 || program.loss == Loss::classes || program.loss == Loss::mse)
    throw InputError("--sample needs a model that predicts the next of its tokens");
  // How many positions have logits: a graph that shifts labels by itself leaves the last one out.
  context = program.seq;
  logitsBehind("");
  context = tap.seen / program.batch;
  if (context < program.seq - 1 || context > program.seq || tap.seen % program.batch != 0)
    throw InputError("--sample needs logits of each position, and the model's loss has " +
                     std::to_string(tap.seen) + " rows of them for " +
                     std::to_string(program.batch) + " x " + std::to_string(program.seq) +
                     " tokens");
}

const std::vector<float> &Sampler::logitsBehind(const std::string &text) {
  const int64_t length = std::min<int64_t>(int64_t(text.size()), context);
  const auto *last = reinterpret_cast<const unsigned char *>(text.data()) + text.size() - length;
  for (int64_t row = 0; row < program.batch; ++row)
    for (int64_t t = 0; t < program.seq; ++t) {
      const int64_t id = t < length ? last[t] : 0, at = row * program.seq + t;
      if (program.inputs[tokens].dtype == DType::i32)
        batch.blocks[tokens].as<int32_t>()[at] = int32_t(id);
      else
        batch.blocks[tokens].as<int64_t>()[at] = id;
    }
  for (int64_t i = 0; i < program.numInputs; ++i)
    if (program.inputs[i].role == Role::scale)
      setInput(ctx, ctx, i, &ctx.scale, sizeof ctx.scale);
    else
      setInput(ctx, ctx, i, batch.blocks[i].data(), batch.blocks[i].size());
  tap.row = std::max<int64_t>(0, length - 1);
  tap.seen = 0;
  ctx.tap = &tap;
  const ForwardAlone forwardAlone(ctx);
  ctx.microBatch = 0;
  ctx.part = {};
  runForward(ctx);
  outcomeOfStep(ctx);
  ctx.tap = nullptr;
  return tap.logits;
}

std::string Sampler::goOn(const std::string &prompt, int64_t count, double temperature,
                          uint64_t seed) {
  // Without a text before it the first byte follows an end of line.
  std::string text = prompt.empty() ? "\n" : prompt;
  const size_t begin = text.size();
  for (int64_t i = 0; i < count; ++i)
    text += char(pick(logitsBehind(text), temperature, uniform(seed, uint64_t(i))));
  return text.substr(begin);
}

} // namespace moire::rt
