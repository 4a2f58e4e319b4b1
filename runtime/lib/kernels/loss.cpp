//===- loss.cpp - Cross-entropy over rows ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/loss.h"
#include "kernels/rows.h"
#include "kernels/simd.h"
#include "moire/rt/parallel.h"

#include <cmath>
#include <cstring>

namespace moire::rt {

namespace {
/// Elements whose exponentials stay in the first-level cache until summed.
constexpr int64_t kBlock = 1024;

/// Before any thread starts, because an exception must not leave one.
void checkLabels(const CrossEntropy &c, const int64_t *labels) {
  for (int64_t r = 0; r < c.rows; ++r) {
    if (labels[r] == c.ignoreIndex || (labels[r] >= 0 && labels[r] < c.vocab))
      continue;
    std::string where = c.seq ? "row " + std::to_string(r / c.seq) +
                                    ", position " + std::to_string(r % c.seq)
                              : "position " + std::to_string(r);
    throw RunError("label " + std::to_string(labels[r]) + " at " + where +
                   " is outside the vocabulary 0.." +
                   std::to_string(c.vocab - 1) + "; use labels below " +
                   std::to_string(c.vocab) + ", or " +
                   std::to_string(c.ignoreIndex) + " for one that does not count");
  }
}

/// body(row, reader of its logits, writer of their gradient).
template <typename T, typename Body>
void eachRow(Context &ctx, const CrossEntropy &c, Body &&body) {
  int64_t grain = std::max<int64_t>(1, kElementwiseGrain / 4 / c.vocab);
  parallelFor(ctx, c.rows, grain, [&](int64_t begin, int64_t end) {
    FloatRow<T> logits(c.vocab), gradients(c.vocab);
    for (int64_t r = begin; r < end; ++r)
      body(r, logits, gradients);
  });
}

float rowLse(const float *x, int64_t n) {
  const float m = simd::max(x, n);
  float piece[kBlock];
  double sum = 0;
  for (int64_t i = 0; i < n; i += kBlock)
    sum += simd::expAndSum(x + i, m, piece, std::min(kBlock, n - i));
  return m + static_cast<float>(std::log(sum));
}
} // namespace

template <typename T>
void crossEntropy(Context &ctx, const CrossEntropy &c, const T *logits,
                  const int64_t *labels, float *losses, float *lse) {
  if (ctx.tap)
    tapLogits(ctx, c, logits);
  checkLabels(c, labels);
  eachRow<T>(ctx, c, [&](int64_t r, FloatRow<T> &in, FloatRow<T> &) {
    const float *x = in.read(logits + r * c.vocab);
    const bool counts = labels[r] != c.ignoreIndex;
    // An ignored row needs no pass: its gradient is 0 whatever lse is.
    const float l = counts ? rowLse(x, c.vocab) : 0.0f;
    if (lse)
      lse[r] = l;
    losses[r] = counts ? l - x[labels[r]] : 0.0f;
  });
}

template <typename T>
void crossEntropyGrad(Context &ctx, const CrossEntropy &c, const T *logits,
                      const int64_t *labels, const float *lse,
                      const float *dloss, int64_t dlossStride, T *dlogits) {
  eachRow<T>(ctx, c, [&](int64_t r, FloatRow<T> &in, FloatRow<T> &out) {
    const float *x = in.read(logits + r * c.vocab);
    T *dr = dlogits + r * c.vocab;
    float *d = out.open(dr);
    if (labels[r] == c.ignoreIndex) {
      std::memset(dr, 0, c.vocab * sizeof(T));
      return;
    }
    const float scale = dloss[r * dlossStride], shift = lse[r];
#pragma GCC ivdep
    for (int64_t i = 0; i < c.vocab; ++i)
      d[i] = math::exp(x[i] - shift) * scale;
    d[labels[r]] -= scale;
    out.store(dr);
  });
}

template <typename T>
void crossEntropyWithGrad(Context &ctx, const CrossEntropy &c,
                          const T *logits, const int64_t *labels,
                          const float *cotangent, float *losses, float *lse,
                          T *dlogits) {
  if (ctx.tap)
    tapLogits(ctx, c, logits);
  checkLabels(c, labels);
  const float dloss = *cotangent;
  eachRow<T>(ctx, c, [&](int64_t r, FloatRow<T> &in, FloatRow<T> &out) {
    const float *x = in.read(logits + r * c.vocab);
    T *dr = dlogits + r * c.vocab;
    float *d = out.open(dr);
    if (labels[r] == c.ignoreIndex) {
      losses[r] = 0;
      if (lse)
        lse[r] = 0;
      std::memset(dr, 0, c.vocab * sizeof(T));
      return;
    }
    const float m = simd::max(x, c.vocab), atLabel = x[labels[r]];
    double sum = 0;
    for (int64_t i = 0; i < c.vocab; i += kBlock)
      sum += simd::expAndSum(x + i, m, d + i, std::min(kBlock, c.vocab - i));
    const float l = m + static_cast<float>(std::log(sum));
    losses[r] = l - atLabel;
    if (lse)
      lse[r] = l;
    const float scale = static_cast<float>(dloss / sum);
    for (int64_t i = 0; i < c.vocab; ++i)
      d[i] *= scale;
    d[labels[r]] -= dloss;
    out.store(dr);
  });
}

#define INSTANTIATE(T)                                                                    \
  template void crossEntropy(Context &, const CrossEntropy &, const T *, const int64_t *,  \
                             float *, float *);                                            \
  template void crossEntropyGrad(Context &, const CrossEntropy &, const T *,               \
                                 const int64_t *, const float *, const float *, int64_t,   \
                                 T *);                                                     \
  template void crossEntropyWithGrad(Context &, const CrossEntropy &, const T *,           \
                                     const int64_t *, const float *, float *, float *, T *);
INSTANTIATE(float)
INSTANTIATE(bf16)

} // namespace moire::rt
