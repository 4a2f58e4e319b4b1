//===- norm.cu - Layer and RMS normalisation ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Bound by memory: x (and the residual) is read once and y (and the sum) written
// once; a row waits in registers between the passes over it.
//
//===----------------------------------------------------------------------===//

#include "moire/rt/norm.h"
#include "cuda/norm_stats.cuh"

namespace moire::rt {

namespace {
using namespace device;

template <typename X, typename Y> struct NormArguments {
  int64_t rows;
  int cols;
  float eps;
  const X *x;
  const float *scale, *bias;
  Y *y;
  float *mean, *rstd;
  const X *residual;
  X *sum;
};

template <bool Layer, typename X, typename Y, typename Form>
__global__ void __launch_bounds__(Form::kBlock) normKernel(NormArguments<X, Y> a) {
  constexpr int W = Form::kWidth;
  MOIRE_SHARED(float, buffer, 64);
  Team<Form> team(buffer);
  const int64_t row = int64_t(blockIdx.x) * Form::kTeams + team.number();
  if (row >= a.rows) // a warp, or no thread of the block
    return;
  const int64_t at = row * a.cols;
  RowPart<X, Form> x(a.x + at, a.cols);
  if (a.residual) {
    x.each([&](int i, float(&v)[W], int) {
      float r[W];
      loadRun<W>(a.residual + at + i, r);
#pragma unroll
      for (int j = 0; j < W; ++j)
        v[j] = float(X(v[j] + r[j])); // what the backward will read
      storeRun<W>(a.sum + at + i, v);
    });
    x.readFrom(a.sum + at);
  }
  const Stats st = rowStats<Layer>(team, x, a.cols, a.eps);
  x.each([&](int i, const float(&v)[W], int) {
    float y[W];
#pragma unroll
    for (int j = 0; j < W; ++j)
      y[j] = (v[j] - st.mean) * st.rstd;
    if (a.scale) {
      float s[W];
      loadRun<W>(a.scale + i, s);
#pragma unroll
      for (int j = 0; j < W; ++j)
        y[j] *= s[j];
    }
    if (Layer && a.bias) {
      float b[W];
      loadRun<W>(a.bias + i, b);
#pragma unroll
      for (int j = 0; j < W; ++j)
        y[j] += b[j];
    }
    storeRun<W>(a.y + at + i, y);
  });
  if (team.lane() == 0) {
    if (Layer && a.mean)
      a.mean[row] = st.mean;
    if (a.rstd)
      a.rstd[row] = st.rstd;
  }
}

template <bool Layer, typename X, typename Y>
void norm(Context &ctx, const NormArguments<X, Y> &a) {
  constexpr int W = 16 / sizeof(X);
  const bool wide = allAligned<W>(a.x, a.scale, a.bias, a.y, a.residual, a.sum);
  withRowForm<W>(a.cols, wide, [&](auto form) {
    using Form = decltype(form);
    MOIRE_LAUNCH(streamOf(ctx), rowGrid<Form>(a.rows), Form::kBlock, 0,
                 normKernel<Layer, X, Y, Form>, a);
  });
}
} // namespace

template <typename X, typename Y>
void layerNorm(Context &ctx, const Rows &n, const X *x, const float *scale, const float *bias,
               Y *y, float *mean, float *rstd, const Same<X> *residual, Same<X> *sum) {
  norm<true, X, Y>(
      ctx, {n.rows, int(n.cols), n.eps, x, scale, bias, y, mean, rstd, residual, sum});
}
template <typename X, typename Y>
void rmsNorm(Context &ctx, const Rows &n, const X *x, const float *scale, Y *y, float *rstd,
             const Same<X> *residual, Same<X> *sum) {
  norm<false, X, Y>(
      ctx, {n.rows, int(n.cols), n.eps, x, scale, nullptr, y, nullptr, rstd, residual, sum});
}

#define INSTANTIATE(X, Y)                                                                         \
  template void layerNorm(Context &, const Rows &, const X *, const float *, const float *, Y *, \
                          float *, float *, const X *, X *);                                     \
  template void rmsNorm(Context &, const Rows &, const X *, const float *, Y *, float *,         \
                        const X *, X *);
INSTANTIATE(float, float)
INSTANTIATE(float, bf16)
INSTANTIATE(bf16, bf16)

} // namespace moire::rt
