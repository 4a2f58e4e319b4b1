//===- softmax.cpp - Softmax over rows ------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "kernels/simd.h"
#include "moire/rt/norm.h"
#include "moire/rt/parallel.h"

#include <cmath>
#include <cstring>

namespace moire::rt {

namespace {
/// body(offset of the row).
template <typename Body>
void eachRow(Context &ctx, const Rows &n, Body &&body) {
  int64_t grain = std::max<int64_t>(1, kElementwiseGrain / 4 /
                                           std::max<int64_t>(n.cols, 1));
  parallelFor(ctx, n.rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      body(r * n.cols);
  });
}
/// 0 instead of -inf, so that a row of -inf gives exp(-inf) = 0 and not NaN.
float finiteMax(const float *x, int64_t n) {
  float m = simd::max(x, n);
  return m == -HUGE_VALF ? 0.0f : m;
}
} // namespace

void softmax(Context &ctx, const Rows &n, const float *x, float *y) {
  eachRow(ctx, n, [&](int64_t at) {
    float sum = simd::expAndSum(x + at, finiteMax(x + at, n.cols), y + at, n.cols);
    const float scale = sum == 0 ? 0.0f : 1.0f / sum;
    float *yr = y + at;
    for (int64_t i = 0; i < n.cols; ++i)
      yr[i] *= scale;
  });
}

void softmaxGrad(Context &ctx, const Rows &n, const float *dy, const float *y,
                 float *dx) {
  eachRow(ctx, n, [&](int64_t at) {
    const float s = simd::dot(dy + at, y + at, n.cols);
#pragma GCC ivdep
    for (int64_t i = 0; i < n.cols; ++i)
      dx[at + i] = y[at + i] * (dy[at + i] - s);
  });
}

void logSoftmax(Context &ctx, const Rows &n, const float *x, float *y) {
  eachRow(ctx, n, [&](int64_t at) {
    const float m = finiteMax(x + at, n.cols);
    float sum = 0, piece[512];
    for (int64_t i = 0; i < n.cols; i += 512)
      sum += simd::expAndSum(x + at + i, m, piece,
                             std::min<int64_t>(512, n.cols - i));
    const float lse = m + std::log(sum);
#pragma GCC ivdep
    for (int64_t i = 0; i < n.cols; ++i)
      y[at + i] = x[at + i] - lse;
  });
}

void logSoftmaxGrad(Context &ctx, const Rows &n, const float *dy,
                    const float *y, float *dx) {
  eachRow(ctx, n, [&](int64_t at) {
    const float s = simd::sum(dy + at, n.cols);
#pragma GCC ivdep
    for (int64_t i = 0; i < n.cols; ++i)
      dx[at + i] = dy[at + i] - math::exp(y[at + i]) * s;
  });
}

} // namespace moire::rt
