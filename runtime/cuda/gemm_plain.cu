//===- gemm_plain.cu - Matrix products without a library ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "gemm_plain.h"
#include "tile.cuh"

namespace moire::rt {

namespace {
using namespace tile;

/// Blocks are (row tile, column tile, matrix of the batch).
template <typename A, typename C>
__global__ void __launch_bounds__(kThreads)
    plainKernel(Gemm g, const A *a, const A *b, C *c, const float *bias) {
  MOIRE_SHARED(float, sliceA, kDepth *kPitch);
  MOIRE_SHARED(float, sliceB, kDepth *kPitch);
  const int64_t row = int64_t(blockIdx.x) * kSize, column = int64_t(blockIdx.y) * kSize;
  a += blockIdx.z * g.strideA + (g.transA ? row : row * g.lda);
  b += blockIdx.z * g.strideB + (g.transB ? column * g.ldb : column);
  c += blockIdx.z * g.strideC + row * g.ldc + column;
  float sum[kEach][kEach];
  multiply(Operand<A>{a, g.lda, !g.transA, g.m - row, g.k},
           Operand<A>{b, g.ldb, g.transB, g.n - column, g.k}, sliceA, sliceB, sum);
  store(sum, {g.alpha, g.beta, bias ? bias + column : nullptr}, g.m - row, g.n - column, c, g.ldc);
}

unsigned tiles(int64_t n) { return static_cast<unsigned>((n + kSize - 1) / kSize); }

/// How many tiles of rows all experts have at most.
int64_t mostRowTiles(const Routing &r) { return r.rows() / kSize + r.experts; }

/// Blocks are (row tile counted over all experts, column tile).
template <typename A, typename C>
__global__ void __launch_bounds__(kThreads)
    groupedKernel(GroupedGemm g, Routing r, const A *x, const A *w, C *y, const float *bias) {
  MOIRE_SHARED(float, sliceA, kDepth *kPitch);
  MOIRE_SHARED(float, sliceB, kDepth *kPitch);
  int64_t tile = blockIdx.x, e = 0;
  int32_t begin = 0, rows = 0;
  for (; e < r.experts; ++e) {
    begin = r.offsets[e];
    rows = r.offsets[e + 1] - begin;
    const int32_t has = (rows + kSize - 1) / kSize;
    if (tile < has)
      break;
    tile -= has;
  }
  if (e == r.experts) // the whole block
    return;
  const int64_t row = tile * kSize, column = int64_t(blockIdx.y) * kSize;
  w += e * g.k * g.n + (g.transB ? column * g.k : column);
  float sum[kEach][kEach];
  multiply(Operand<A>{x + (begin + row) * g.k, g.k, true, rows - row, g.k},
           Operand<A>{w, g.transB ? g.k : g.n, g.transB, g.n - column, g.k}, sliceA, sliceB, sum);
  store(sum, {1, g.beta, bias ? bias + e * g.n + column : nullptr}, rows - row, g.n - column,
        y + (begin + row) * g.n + column, g.n);
}

/// Blocks are (row tile, column tile, expert).
template <typename A>
__global__ void __launch_bounds__(kThreads)
    weightGradKernel(GroupedGemm g, Routing r, const A *x, const A *dy, float *dw) {
  MOIRE_SHARED(float, sliceA, kDepth *kPitch);
  MOIRE_SHARED(float, sliceB, kDepth *kPitch);
  const int64_t row = int64_t(blockIdx.x) * kSize, column = int64_t(blockIdx.y) * kSize;
  const int64_t e = blockIdx.z, begin = r.offsets[e], rows = r.offsets[e + 1] - begin;
  float sum[kEach][kEach];
  multiply(Operand<A>{x + begin * g.k + row, g.k, false, g.k - row, rows},
           Operand<A>{dy + begin * g.n + column, g.n, false, g.n - column, rows}, sliceA, sliceB,
           sum);
  store(sum, {1, g.beta, nullptr}, g.k - row, g.n - column, dw + (e * g.k + row) * g.n + column,
        g.n);
}
} // namespace

Gemm completed(Gemm g) {
  g.lda = g.lda ? g.lda : (g.transA ? g.m : g.k);
  g.ldb = g.ldb ? g.ldb : (g.transB ? g.k : g.n);
  g.ldc = g.ldc ? g.ldc : g.n;
  g.strideA = g.strideA >= 0 ? g.strideA : (g.transA ? g.k : g.m) * g.lda;
  g.strideB = g.strideB >= 0 ? g.strideB : (g.transB ? g.n : g.k) * g.ldb;
  g.strideC = g.strideC >= 0 ? g.strideC : g.m * g.ldc;
  return g;
}

template <typename A, typename C>
void plainGemm(Context &ctx, const Gemm &gemm, const A *a, const A *b, C *c, const float *bias) {
  const Gemm g = completed(gemm);
  MOIRE_LAUNCH(streamOf(ctx), dim3(tiles(g.m), tiles(g.n), static_cast<unsigned>(g.batch)),
               dim3(kThreads), 0, plainKernel<A, C>, g, a, b, c, bias);
}

template <typename A, typename C>
void plainGroupedGemm(Context &ctx, const GroupedGemm &g, const Routing &r, const A *x, const A *w,
                      C *y, const float *bias) {
  MOIRE_LAUNCH(streamOf(ctx), dim3(static_cast<unsigned>(mostRowTiles(r)), tiles(g.n)),
               dim3(kThreads), 0, groupedKernel<A, C>, g, r, x, w, y, bias);
}

template <typename A>
void plainGroupedWeightGrad(Context &ctx, const GroupedGemm &g, const Routing &r, const A *x,
                            const A *dy, float *dw) {
  MOIRE_LAUNCH(streamOf(ctx), dim3(tiles(g.k), tiles(g.n), static_cast<unsigned>(r.experts)),
               dim3(kThreads), 0, weightGradKernel<A>, g, r, x, dy, dw);
}

#define MOIRE_PLAIN(A, C)                                                                          \
  template void plainGemm(Context &, const Gemm &, const A *, const A *, C *, const float *);      \
  template void plainGroupedGemm(Context &, const GroupedGemm &, const Routing &, const A *,       \
                                 const A *, C *, const float *);
MOIRE_PLAIN(float, float)
MOIRE_PLAIN(bf16, bf16)
MOIRE_PLAIN(bf16, float)
#undef MOIRE_PLAIN
template void plainGroupedWeightGrad(Context &, const GroupedGemm &, const Routing &, const float *,
                                     const float *, float *);
template void plainGroupedWeightGrad(Context &, const GroupedGemm &, const Routing &, const bf16 *,
                                     const bf16 *, float *);

} // namespace moire::rt
