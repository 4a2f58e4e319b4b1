//===- norm_grad.cu - Gradients of layer and RMS normalisation ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Bound by memory: x, dy (and add) are read once and dx is written once. A fixed
// number of blocks goes over the rows; each thread sums its columns'
// contributions to dscale and dbias in registers, the block's teams add theirs
// in order, and addPartials adds the blocks.
//
//===----------------------------------------------------------------------===//

#include "cuda/column_sums.h"
#include "cuda/norm_stats.cuh"
#include "moire/rt/norm.h"

namespace moire::rt {

namespace {
using namespace device;

/// Three blocks of 128 threads for each of 132 multiprocessors; a constant, so
/// that sums do not depend on the GPU.
constexpr int64_t kPartials = 396;

template <typename X, typename DY> struct GradArguments {
  int64_t rows;
  int cols;
  float eps;
  const DY *dy;
  const X *x;
  const float *scale, *mean, *rstd;
  X *dx;
  const X *add;
  float *partial; ///< [blocks][2][cols]: dscale, dbias
};

/// Column sums of one thread: registers, or the block's partial itself where
/// rows are too long for them.
template <typename Form> struct ColumnSums {
  static constexpr int W = Form::kWidth, V = Form::kVectors;
  float scale[V > 0 ? V : 1][W] = {}, bias[V > 0 ? V : 1][W] = {};

  /// to(i, dscale and dbias of column i) for the thread's columns.
  template <typename To> __device__ __forceinline__ void each(int cols, To &&to) const {
#pragma unroll
    for (int k = 0; k < V; ++k) {
      const int i = (k * Form::kTeam + Team<Form>::lane()) * W;
#pragma unroll
      for (int j = 0; j < W; ++j)
        if (i < cols)
          to(i + j, scale[k][j], bias[k][j]);
    }
  }
};

template <bool Layer, typename X, typename DY, typename Form>
__global__ void __launch_bounds__(Form::kBlock) normGradKernel(GradArguments<X, DY> a) {
  constexpr int W = Form::kWidth, V = Form::kVectors;
  MOIRE_SHARED(float, buffer, 64);
  MOIRE_SHARED_DYNAMIC(float, sums); // [2][cols] where several teams add
  Team<Form> team(buffer);
  ColumnSums<Form> acc;
  float *partial = a.partial + int64_t(blockIdx.x) * 2 * a.cols;
  // Long rows: one team a block, each thread has its own columns.
  if constexpr (V == 0) {
    for (int i = team.lane(); i < 2 * a.cols; i += Form::kTeam)
      partial[i] = 0;
    __syncthreads();
  }
  for (int64_t row = int64_t(blockIdx.x) * Form::kTeams + team.number(); row < a.rows;
       row += int64_t(gridDim.x) * Form::kTeams) {
    const int64_t at = row * a.cols;
    RowPart<X, Form> x(a.x + at, a.cols);
    RowPart<DY, Form> dy(a.dy + at, a.cols);
    Stats st;
    if (a.rstd)
      st = {Layer ? a.mean[row] : 0.0f, a.rstd[row]};
    else
      st = rowStats<Layer>(team, x, a.cols, a.eps);
    // s1 = Σ g, s2 = Σ g · xhat with g = dy · scale.
    float s1 = 0, s2 = 0;
    x.each([&](int i, float(&v)[W], int k) {
      float d[W], scale[W] = {};
      dy.get(i, k, d);
      if (a.scale)
        loadRun<W>(a.scale + i, scale);
#pragma unroll
      for (int j = 0; j < W; ++j) {
        const float xhat = (v[j] - st.mean) * st.rstd;
        const float g = a.scale ? d[j] * scale[j] : d[j];
        s1 += g;
        s2 = fmaf(g, xhat, s2);
        if constexpr (V > 0) {
          acc.scale[k][j] = fmaf(d[j], xhat, acc.scale[k][j]);
          if (Layer)
            acc.bias[k][j] += d[j];
        } else {
          partial[i + j] = fmaf(d[j], xhat, partial[i + j]);
          if (Layer)
            partial[a.cols + i + j] += d[j];
        }
      }
    });
    if (!a.dx)
      continue;
    s1 = Layer ? team.sum(s1) / float(a.cols) : 0.0f;
    s2 = team.sum(s2) / float(a.cols);
    x.each([&](int i, float(&v)[W], int k) {
      float d[W], scale[W] = {}, r[W] = {};
      dy.get(i, k, d);
      if (a.scale)
        loadRun<W>(a.scale + i, scale);
      if (a.add)
        loadRun<W>(a.add + at + i, r);
#pragma unroll
      for (int j = 0; j < W; ++j) {
        const float xhat = (v[j] - st.mean) * st.rstd;
        const float g = a.scale ? d[j] * scale[j] : d[j];
        d[j] = st.rstd * (g - s1 - xhat * s2);
        if (a.add)
          d[j] += r[j];
      }
      storeRun<W>(a.dx + at + i, d);
    });
  }
  if constexpr (V > 0) {
    if constexpr (Form::kTeams == 1) {
      acc.each(a.cols, [&](int i, float dscale, float dbias) {
        partial[i] = dscale;
        partial[a.cols + i] = dbias;
      });
    } else {
      for (int t = 0; t < Form::kTeams; ++t) {
        if (team.number() == t)
          acc.each(a.cols, [&](int i, float dscale, float dbias) {
            sums[i] = t ? sums[i] + dscale : dscale;
            sums[a.cols + i] = t ? sums[a.cols + i] + dbias : dbias;
          });
        __syncthreads();
      }
      for (int i = threadIdx.x; i < 2 * a.cols; i += Form::kBlock)
        partial[i] = sums[i];
    }
  }
}

template <bool Layer, typename X, typename DY>
void normGrad(Context &ctx, GradArguments<X, DY> a, float *dscale, float *dbias, float betaScale,
              float betaBias) {
  // Eight vectors of x and dy and their column sums fill 128 registers.
  constexpr int W = 4;
  using Short = RowForm<32, 128, W, 2>;
  using Middle = RowForm<32, 128, W, 8>;
  using Long = RowForm<256, 256, W, 4>;
  using Longest = RowForm<512, 512, W, 4>;
  auto run = [&](auto form) {
    using Form = decltype(form);
    const int64_t blocks =
        std::max<int64_t>(1, std::min(kPartials, (a.rows + Form::kTeams - 1) / Form::kTeams));
    a.partial = static_cast<float *>(ctx.scratch(blocks * 2 * a.cols * sizeof(float)));
    MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned(blocks)), Form::kBlock,
                 Form::kTeams > 1 ? 2 * a.cols * sizeof(float) : 0,
                 normGradKernel<Layer, X, DY, Form>, a);
    if (dscale)
      addPartials(ctx, blocks, a.cols, 2 * a.cols, a.partial, betaScale, dscale);
    if (dbias)
      addPartials(ctx, blocks, a.cols, 2 * a.cols, a.partial + a.cols, betaBias, dbias);
  };
  const bool wide = a.cols % W == 0 && allAligned<W>(a.dy, a.x, a.scale, a.dx, a.add);
  if (wide && a.cols <= Short::kMost)
    run(Short());
  else if (wide && a.cols <= Middle::kMost)
    run(Middle());
  else if (wide && a.cols <= Long::kMost)
    run(Long());
  else if (wide && a.cols <= Longest::kMost)
    run(Longest());
  else
    run(RowForm<256, 256, 1, 0>());
}
} // namespace

template <typename X, typename DY>
void layerNormGrad(Context &ctx, const Rows &n, const DY *dy, const X *x, const float *scale,
                   const float *mean, const float *rstd, Same<X> *dx, float *dscale,
                   float *dbias, float betaScale, float betaBias, const Same<X> *add) {
  normGrad<true, X, DY>(
      ctx, {n.rows, int(n.cols), n.eps, dy, x, scale, mean, rstd, dx, add, nullptr}, dscale,
      dbias, betaScale, betaBias);
}
template <typename X, typename DY>
void rmsNormGrad(Context &ctx, const Rows &n, const DY *dy, const X *x, const float *scale,
                 const float *rstd, Same<X> *dx, float *dscale, float betaScale,
                 const Same<X> *add) {
  normGrad<false, X, DY>(
      ctx, {n.rows, int(n.cols), n.eps, dy, x, scale, nullptr, rstd, dx, add, nullptr}, dscale,
      nullptr, betaScale, 0);
}

#define INSTANTIATE(X, DY)                                                                        \
  template void layerNormGrad(Context &, const Rows &, const DY *, const X *, const float *,     \
                              const float *, const float *, Same<X> *, float *, float *, float,  \
                              float, const Same<X> *);                                           \
  template void rmsNormGrad(Context &, const Rows &, const DY *, const X *, const float *,       \
                            const float *, Same<X> *, float *, float, const Same<X> *);
INSTANTIATE(float, float)
INSTANTIATE(float, bf16)
INSTANTIATE(bf16, bf16)

} // namespace moire::rt
