//===- attention_grad.cu - Attention, backward, without a library ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// FlashAttention's backward (Dao et al. 2022, algorithm 4):
//   p = exp(s - lse);  dp = dout vᵀ;  delta_i = <dout_i, out_i>;
//   ds = p (dp - delta) · scale;
//   dv += pᵀ dout;  dk += dsᵀ q;  dq += ds k.
// Blocks own 64 queries for dq, and 64 keys for dk and dv, which they sum over
// the heads of the group and their queries ascending: no block adds to another's
// result, at the price of computing p and dp twice.
//
//===----------------------------------------------------------------------===//

#include "cuda/attention_cudnn.h"
#include "cuda/attention_tile.cuh"
#include "cuda/warp.cuh"
#include "moire/rt/cuda/launch.h"

#include <algorithm>

namespace moire::rt {

namespace {
using namespace tile;

constexpr int kDeltaRows = 8; // of a block, a warp each

/// delta [B, H, Sq]: the product of a row's dout and out.
template <typename T>
__global__ void __launch_bounds__(kDeltaRows *kWarp)
    deltaKernel(Attention a, const T *out, const T *dout, float *delta) {
  const int64_t row = int64_t(blockIdx.x) * kDeltaRows + threadIdx.y;
  if (row >= a.batch * a.heads * a.queries) // the whole warp
    return;
  const int64_t i = row % a.queries, h = row / a.queries % a.heads, b = row / a.queries / a.heads;
  out += b * a.out.batch + h * a.out.head + i * a.out.row;
  dout += b * a.dout.batch + h * a.dout.head + i * a.dout.row;
  float sum = 0;
  for (int64_t d = threadIdx.x; d < a.valueDim; d += kWarp)
    sum = fmaf(float(out[d]), float(dout[d]), sum);
  sum = warpSum(sum);
  if (threadIdx.x == 0)
    delta[row] = sum;
}

/// p of a score; 0 where the key or the whole row is hidden.
__device__ inline float probability(float score, float lse) {
  return score == -HUGE_VALF || lse == -HUGE_VALF ? 0.0f : math::exp(score - lse);
}

/// Blocks are (tile of queries, head, batch).
template <typename T, int chunks>
__global__ void __launch_bounds__(kThreads)
    queryGradKernel(Attention a, const T *q, const T *k, const T *v, const uint8_t *mask,
                    const float *bias, const float *lse, const T *dout, const float *delta, T *dq) {
  MOIRE_SHARED(float, sliceA, kDepth *kPitch);
  MOIRE_SHARED(float, sliceB, kDepth *kPitch);
  MOIRE_SHARED(float, tile, kSize *kPitch);
  const int64_t first = (int64_t(gridDim.x) - 1 - blockIdx.x) * kSize;
  const int64_t h = blockIdx.y, b = blockIdx.z, kv = h / (a.heads / a.kvHeads);
  const int64_t left = a.queries - first, rows = left < kSize ? left : kSize;
  q += b * a.q.batch + h * a.q.head + first * a.q.row;
  k += b * a.k.batch + kv * a.k.head;
  v += b * a.v.batch + kv * a.v.head;
  dout += b * a.dout.batch + h * a.dout.head + first * a.dout.row;
  lse += (b * a.heads + h) * a.queries + first;
  delta += (b * a.heads + h) * a.queries + first;
  const Masks masks = masksOf(a, mask, bias, b, h);

  float rowLse[kEach], rowDelta[kEach];
#pragma unroll
  for (int r = 0; r < kEach; ++r) {
    const bool in = threadRow() + r < rows;
    rowLse[r] = in ? lse[threadRow() + r] : -HUGE_VALF;
    rowDelta[r] = in ? delta[threadRow() + r] : 0.0f;
  }
  Sums<chunks> sum;
  clear<chunks>(sum);
  const int64_t end = keysBefore(a, first + rows);
  for (int64_t key = 0; key < end; key += kSize) {
    const Operand<T> keys{k + key * a.k.row, a.k.row, true, a.keys - key, a.dim};
    const Operand<T> values{v + key * a.v.row, a.v.row, true, a.keys - key, a.valueDim};
    Scores s, dp;
    multiply(Operand<T>{q, a.q.row, true, rows, a.dim}, keys, sliceA, sliceB, s);
    multiply(Operand<T>{dout, a.dout.row, true, rows, a.valueDim}, values, sliceA, sliceB, dp);
#pragma unroll
    for (int r = 0; r < kEach; ++r)
#pragma unroll
      for (int c = 0; c < kEach; ++c) {
        const float p = probability(
            score(a, masks, first + threadRow() + r, key + threadColumn() + c, s[r][c]), rowLse[r]);
        s[r][c] = p * (dp[r][c] - rowDelta[r]) * a.scale;
      }
    put(s, tile);
    accumulate<chunks>(tile, Operand<T>{k + key * a.k.row, a.k.row, false, a.dim, a.keys - key},
                       sliceB, sum);
  }
  write<chunks>(sum, rows, a.dim, dq + b * a.dq.batch + h * a.dq.head + first * a.dq.row, a.dq.row);
}

/// Blocks are (tile of keys, key head, batch). Rows of the tiles are keys here and
/// columns queries.
template <typename T, int chunks>
__global__ void __launch_bounds__(kThreads)
    keyGradKernel(Attention a, const T *q, const T *k, const T *v, const uint8_t *mask,
                  const float *bias, const float *lse, const T *dout, const float *delta, T *dk,
                  T *dv) {
  MOIRE_SHARED(float, sliceA, kDepth *kPitch);
  MOIRE_SHARED(float, sliceB, kDepth *kPitch);
  MOIRE_SHARED(float, tile, kSize *kPitch);
  const int64_t key = int64_t(blockIdx.x) * kSize, kv = blockIdx.y, b = blockIdx.z;
  const int64_t left = a.keys - key, rows = left < kSize ? left : kSize;
  const int64_t group = a.heads / a.kvHeads;
  k += b * a.k.batch + kv * a.k.head + key * a.k.row;
  v += b * a.v.batch + kv * a.v.head + key * a.v.row;

  Sums<chunks> sumK, sumV;
  clear<chunks>(sumK);
  clear<chunks>(sumV);
  // The first tile with a query that sees the first key.
  const int64_t seen = a.causal && key > a.causalOffset ? key - a.causalOffset : 0;
  for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
    const Masks masks = masksOf(a, mask, bias, b, h);
    for (int64_t first = seen / kSize * kSize; first < a.queries; first += kSize) {
      const T *qs = q + b * a.q.batch + h * a.q.head + first * a.q.row;
      const T *ds = dout + b * a.dout.batch + h * a.dout.head + first * a.dout.row;
      const int64_t queries = a.queries - first, at = (b * a.heads + h) * a.queries + first;
      Scores s, dp;
      multiply(Operand<T>{k, a.k.row, true, rows, a.dim},
               Operand<T>{qs, a.q.row, true, queries, a.dim}, sliceA, sliceB, s);
      multiply(Operand<T>{v, a.v.row, true, rows, a.valueDim},
               Operand<T>{ds, a.dout.row, true, queries, a.valueDim}, sliceA, sliceB, dp);
#pragma unroll
      for (int c = 0; c < kEach; ++c) {
        const bool in = threadColumn() + c < queries;
        const float rowLse = in ? lse[at + threadColumn() + c] : -HUGE_VALF;
        const float rowDelta = in ? delta[at + threadColumn() + c] : 0.0f;
#pragma unroll
        for (int r = 0; r < kEach; ++r) {
          s[r][c] = probability(
              score(a, masks, first + threadColumn() + c, key + threadRow() + r, s[r][c]), rowLse);
          dp[r][c] = s[r][c] * (dp[r][c] - rowDelta) * a.scale;
        }
      }
      put(s, tile);
      accumulate<chunks>(tile, Operand<T>{ds, a.dout.row, false, a.valueDim, queries}, sliceB,
                         sumV);
      put(dp, tile);
      accumulate<chunks>(tile, Operand<T>{qs, a.q.row, false, a.dim, queries}, sliceB, sumK);
    }
  }
  write<chunks>(sumK, rows, a.dim, dk + b * a.dk.batch + kv * a.dk.head + key * a.dk.row, a.dk.row);
  write<chunks>(sumV, rows, a.valueDim, dv + b * a.dv.batch + kv * a.dv.head + key * a.dv.row,
                a.dv.row);
}
} // namespace

template <typename T>
void attentionGrad(Context &ctx, const Attention &attention, const T *q, const T *k, const T *v,
                   const uint8_t *mask, const float *bias, const T *out, const float *lse,
                   const T *dout, T *dq, T *dk, T *dv) {
  const Attention a = completed(attention);
  if constexpr (std::is_same_v<T, bf16>)
    if (libraryAttentionGrad(ctx, a, q, k, v, mask, bias, out, lse, dout, dq, dk, dv))
      return;
  const int64_t rows = a.batch * a.heads * a.queries;
  auto *delta = static_cast<float *>(ctx.scratch(rows * int64_t(sizeof(float))));
  MOIRE_LAUNCH(streamOf(ctx), dim3(static_cast<unsigned>((rows + kDeltaRows - 1) / kDeltaRows)),
               dim3(kWarp, kDeltaRows), 0, deltaKernel<T>, a, out, dout, delta);
  if constexpr (std::is_same_v<T, bf16>)
    if (tensorAttentionGrad(ctx, a, q, k, v, mask, bias, lse, dout, delta, dq, dk, dv))
      return;
  const auto tiles = [](int64_t n) { return static_cast<unsigned>((n + kSize - 1) / kSize); };
  const auto batch = static_cast<unsigned>(a.batch);
  withChunks(a.dim, [&](auto chunks) {
    MOIRE_LAUNCH(streamOf(ctx), dim3(tiles(a.queries), static_cast<unsigned>(a.heads), batch),
                 dim3(kThreads), 0, queryGradKernel<T, decltype(chunks)::value>, a, q, k, v, mask,
                 bias, lse, dout, delta, dq);
  });
  withChunks(std::max(a.dim, a.valueDim), [&](auto chunks) {
    MOIRE_LAUNCH(streamOf(ctx), dim3(tiles(a.keys), static_cast<unsigned>(a.kvHeads), batch),
                 dim3(kThreads), 0, keyGradKernel<T, decltype(chunks)::value>, a, q, k, v, mask,
                 bias, lse, dout, delta, dk, dv);
  });
}

template void attentionGrad(Context &, const Attention &, const float *, const float *,
                            const float *, const uint8_t *, const float *, const float *,
                            const float *, const float *, float *, float *, float *);
template void attentionGrad(Context &, const Attention &, const bf16 *, const bf16 *, const bf16 *,
                            const uint8_t *, const float *, const bf16 *, const float *,
                            const bf16 *, bf16 *, bf16 *, bf16 *);

} // namespace moire::rt
