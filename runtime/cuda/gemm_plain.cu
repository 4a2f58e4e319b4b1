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
    plainKernel(Gemm g, const A *a, const A *b, C *c, const float *bias, Epilogue<C> more) {
  MOIRE_SHARED(float, sliceA, kDepth *kPitch);
  MOIRE_SHARED(float, sliceB, kDepth *kPitch);
  const int64_t row = int64_t(blockIdx.x) * kSize, column = int64_t(blockIdx.y) * kSize;
  a += blockIdx.z * g.strideA + (g.transA ? row : row * g.lda);
  b += blockIdx.z * g.strideB + (g.transB ? column * g.ldb : column);
  const int64_t to = blockIdx.z * g.strideC + row * g.ldc + column;
  float sum[kEach][kEach];
  multiply(Operand<A>{a, g.lda, !g.transA, g.m - row, g.k},
           Operand<A>{b, g.ldb, g.transB, g.n - column, g.k}, sliceA, sliceB, sum);
  store(sum, {g.alpha, g.beta, bias ? bias + column : nullptr}, g.m - row, g.n - column, c + to,
        g.ldc, more.at(to));
}

unsigned tiles(int64_t n) { return static_cast<unsigned>((n + kSize - 1) / kSize); }

/// How many tiles of rows all experts have at most.
int64_t mostRowTiles(const Routing &r) { return r.rows() / kSize + r.experts; }

/// Which rows of an expert a block has.
struct ExpertTile {
  int64_t expert = 0, row = 0; ///< row: inside the expert's
  int32_t begin = 0, rows = 0; ///< the expert's rows
  /// Tile number `tile` counted over all experts; false beyond the last.
  __device__ bool find(const Routing &r, int64_t tile) {
    for (; expert < r.experts; ++expert) {
      begin = r.offsets[expert];
      rows = r.offsets[expert + 1] - begin;
      const int32_t has = (rows + kSize - 1) / kSize;
      if (tile < has) {
        row = tile * kSize;
        return true;
      }
      tile -= has;
    }
    return false;
  }
};

/// Rows from `first` on of the sorted ones, and columns from `column` on, of an operand of
/// `width` columns that may be gathered.
template <typename A>
__device__ inline Operand<A> rowsFrom(const Routing &r, bool gathers, const A *data, int64_t first,
                                      int64_t column, int64_t width, bool along, int64_t outer,
                                      int64_t depth) {
  return {data + (gathers ? 0 : first * width) + column, width,       along, outer, depth,
          gathers ? r.rowToPair + first : nullptr,       int32_t(r.k)};
}

/// Blocks are (row tile counted over all experts, column tile).
template <typename A, typename C>
__global__ void __launch_bounds__(kThreads)
    groupedKernel(GroupedGemm g, Routing r, const A *x, const A *w, C *y, const float *bias) {
  MOIRE_SHARED(float, sliceA, kDepth *kPitch);
  MOIRE_SHARED(float, sliceB, kDepth *kPitch);
  ExpertTile t;
  if (!t.find(r, blockIdx.x)) // the whole block
    return;
  const int64_t column = int64_t(blockIdx.y) * kSize, first = t.begin + t.row;
  w += t.expert * g.k * g.n + (g.transB ? column * g.k : column);
  float sum[kEach][kEach];
  multiply(rowsFrom(r, g.gatherX, x, first, 0, g.k, true, t.rows - t.row, g.k),
           Operand<A>{w, g.transB ? g.k : g.n, g.transB, g.n - column, g.k}, sliceA, sliceB, sum);
  store(sum, {1, g.beta, bias ? bias + t.expert * g.n + column : nullptr}, t.rows - t.row,
        g.n - column, y + first * g.n + column, g.n);
}

/// The same for a column tile of the gate and the one of up.
template <typename A>
__global__ void __launch_bounds__(kThreads)
    swigluKernel(GroupedGemm g, Routing r, const A *x, const A *w, A *y, A *h) {
  MOIRE_SHARED(float, sliceA, kDepth *kPitch);
  MOIRE_SHARED(float, sliceB, kDepth *kPitch);
  ExpertTile t;
  if (!t.find(r, blockIdx.x))
    return;
  const int64_t half = g.n / 2, column = int64_t(blockIdx.y) * kSize, first = t.begin + t.row;
  const Operand<A> a = rowsFrom(r, g.gatherX, x, first, 0, g.k, true, t.rows - t.row, g.k);
  w += t.expert * g.k * g.n;
  float gate[kEach][kEach], up[kEach][kEach];
  for (int part = 0; part < 2; ++part) {
    const int64_t from = part * half + column;
    multiply(a,
             Operand<A>{w + (g.transB ? from * g.k : from), g.transB ? g.k : g.n, g.transB,
                        half - column, g.k},
             sliceA, sliceB, part ? up : gate);
    store(part ? up : gate, {}, t.rows - t.row, half - column, y + first * g.n + from, g.n);
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i)
#pragma unroll
    for (int j = 0; j < kEach; ++j)
      gate[i][j] = math::swiglu(gate[i][j], up[i][j]);
  store(gate, {}, t.rows - t.row, half - column, h + first * half + column, half);
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
  multiply(rowsFrom(r, g.gatherX, x, begin, row, g.k, false, g.k - row, rows),
           rowsFrom(r, g.gatherDy, dy, begin, column, g.n, false, g.n - column, rows), sliceA,
           sliceB, sum);
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
void plainGemm(Context &ctx, const Gemm &gemm, const A *a, const A *b, C *c, const float *bias,
               const Epilogue<C> &more) {
  const Gemm g = completed(gemm);
  MOIRE_LAUNCH(streamOf(ctx), dim3(tiles(g.m), tiles(g.n), static_cast<unsigned>(g.batch)),
               dim3(kThreads), 0, plainKernel<A, C>, g, a, b, c, bias, more);
}

template <typename A, typename C>
void plainGroupedGemm(Context &ctx, const GroupedGemm &g, const Routing &r, const A *x, const A *w,
                      C *y, const float *bias) {
  MOIRE_LAUNCH(streamOf(ctx), dim3(static_cast<unsigned>(mostRowTiles(r)), tiles(g.n)),
               dim3(kThreads), 0, groupedKernel<A, C>, g, r, x, w, y, bias);
}

template <typename A>
void plainGroupedSwiglu(Context &ctx, const GroupedGemm &g, const Routing &r, const A *x,
                        const A *w, A *y, A *h) {
  MOIRE_LAUNCH(streamOf(ctx), dim3(static_cast<unsigned>(mostRowTiles(r)), tiles(g.n / 2)),
               dim3(kThreads), 0, swigluKernel<A>, g, r, x, w, y, h);
}

template <typename A>
void plainGroupedWeightGrad(Context &ctx, const GroupedGemm &g, const Routing &r, const A *x,
                            const A *dy, float *dw) {
  MOIRE_LAUNCH(streamOf(ctx), dim3(tiles(g.k), tiles(g.n), static_cast<unsigned>(r.experts)),
               dim3(kThreads), 0, weightGradKernel<A>, g, r, x, dy, dw);
}

#define MOIRE_PLAIN(A, C)                                                                          \
  template void plainGemm(Context &, const Gemm &, const A *, const A *, C *, const float *,       \
                          const Epilogue<C> &);                                                    \
  template void plainGroupedGemm(Context &, const GroupedGemm &, const Routing &, const A *,       \
                                 const A *, C *, const float *);
MOIRE_PLAIN(float, float)
MOIRE_PLAIN(bf16, bf16)
MOIRE_PLAIN(bf16, float)
#undef MOIRE_PLAIN
template void plainGroupedSwiglu(Context &, const GroupedGemm &, const Routing &, const float *,
                                 const float *, float *, float *);
template void plainGroupedSwiglu(Context &, const GroupedGemm &, const Routing &, const bf16 *,
                                 const bf16 *, bf16 *, bf16 *);
template void plainGroupedWeightGrad(Context &, const GroupedGemm &, const Routing &, const float *,
                                     const float *, float *);
template void plainGroupedWeightGrad(Context &, const GroupedGemm &, const Routing &, const bf16 *,
                                     const bf16 *, float *);

} // namespace moire::rt
