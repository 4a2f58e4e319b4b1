//===- softmax.cu - Softmax over rows -------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Bound by memory: a row is read once, waits in registers and is written once.
//
//===----------------------------------------------------------------------===//

#include "cuda/row.cuh"
#include "moire/rt/math.h"
#include "moire/rt/norm.h"

namespace moire::rt {

namespace {
using namespace device;

/// y = softmax(x), or x - log Σ exp x. y may be x.
template <bool Log, typename Form>
__global__ void __launch_bounds__(Form::kBlock)
    softmaxKernel(int64_t rows, int cols, const float *x, float *y) {
  constexpr int W = Form::kWidth;
  MOIRE_SHARED(float, buffer, 64);
  Team<Form> team(buffer);
  const int64_t row = int64_t(blockIdx.x) * Form::kTeams + team.number();
  if (row >= rows) // a warp, or no thread of the block
    return;
  RowPart<float, Form> part(x + row * cols, cols);
  float most = -HUGE_VALF;
  part.each([&](int, float(&v)[W], int) {
#pragma unroll
    for (int j = 0; j < W; ++j)
      most = v[j] > most ? v[j] : most; // passes over NaN, which the sum finds
  });
  most = team.max(most);
  // 0 instead of -inf, so that a row of -inf gives exp(-inf) = 0 and not NaN.
  most = most == -HUGE_VALF ? 0.0f : most;
  float sum = 0;
  part.each([&](int, float(&v)[W], int) {
#pragma unroll
    for (int j = 0; j < W; ++j) {
      const float e = math::exp(v[j] - most);
      sum += e;
      if (!Log && Form::kVectors > 0)
        v[j] = e;
    }
  });
  sum = team.sum(sum);
  const float scale = sum == 0 ? 0.0f : 1.0f / sum, lse = most + math::log(sum);
  part.each([&](int i, const float(&v)[W], int) {
    float out[W];
#pragma unroll
    for (int j = 0; j < W; ++j)
      if (Log)
        out[j] = v[j] - lse;
      else
        out[j] = (Form::kVectors > 0 ? v[j] : math::exp(v[j] - most)) * scale;
    storeRun<W>(y + row * cols + i, out);
  });
}

/// dx = y · (dy - Σ dy · y), or dy - exp(y) · Σ dy.
template <bool Log, typename Form>
__global__ void __launch_bounds__(Form::kBlock)
    softmaxGradKernel(int64_t rows, int cols, const float *dy, const float *y, float *dx) {
  constexpr int W = Form::kWidth;
  MOIRE_SHARED(float, buffer, 64);
  Team<Form> team(buffer);
  const int64_t row = int64_t(blockIdx.x) * Form::kTeams + team.number();
  if (row >= rows)
    return;
  RowPart<float, Form> d(dy + row * cols, cols), p(y + row * cols, cols);
  float sum = 0;
  d.each([&](int i, const float(&v)[W], int k) {
    float q[W];
    p.get(i, k, q);
#pragma unroll
    for (int j = 0; j < W; ++j)
      sum = Log ? sum + v[j] : fmaf(v[j], q[j], sum);
  });
  sum = team.sum(sum);
  d.each([&](int i, const float(&v)[W], int k) {
    float q[W];
    p.get(i, k, q);
#pragma unroll
    for (int j = 0; j < W; ++j)
      q[j] = Log ? v[j] - math::exp(q[j]) * sum : q[j] * (v[j] - sum);
    storeRun<W>(dx + row * cols + i, q);
  });
}

template <bool Log> void forward(Context &ctx, const Rows &n, const float *x, float *y) {
  withRowForm<4>(n.cols, allAligned<4>(x, y), [&](auto form) {
    using Form = decltype(form);
    MOIRE_LAUNCH(streamOf(ctx), rowGrid<Form>(n.rows), Form::kBlock, 0, softmaxKernel<Log, Form>,
                 n.rows, int(n.cols), x, y);
  });
}
template <bool Log>
void backward(Context &ctx, const Rows &n, const float *dy, const float *y, float *dx) {
  withRowForm<4>(n.cols, allAligned<4>(dy, y, dx), [&](auto form) {
    using Form = decltype(form);
    MOIRE_LAUNCH(streamOf(ctx), rowGrid<Form>(n.rows), Form::kBlock, 0,
                 softmaxGradKernel<Log, Form>, n.rows, int(n.cols), dy, y, dx);
  });
}
} // namespace

void softmax(Context &ctx, const Rows &n, const float *x, float *y) {
  forward<false>(ctx, n, x, y);
}
void softmaxGrad(Context &ctx, const Rows &n, const float *dy, const float *y, float *dx) {
  backward<false>(ctx, n, dy, y, dx);
}
void logSoftmax(Context &ctx, const Rows &n, const float *x, float *y) {
  forward<true>(ctx, n, x, y);
}
void logSoftmaxGrad(Context &ctx, const Rows &n, const float *dy, const float *y, float *dx) {
  backward<true>(ctx, n, dy, y, dx);
}

} // namespace moire::rt
