//===- attention_tile.cuh - Tiles of queries × keys -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the plain attention kernels share: 256 threads hold a tile of 64 × 64
// scores, 4 × 4 each (tile.cuh), and multiply it, through shared memory, into
// rows of q, k, v or dout.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_CUDA_ATTENTION_TILE_CUH
#define MOIRE_CUDA_ATTENTION_TILE_CUH

#include "cuda/attention_wgmma.h"
#include "cuda/tile.cuh"
#include "moire/rt/math.h"

namespace moire::rt::tile {

/// Elements that a thread holds of a tile of scores.
using Scores = float[kEach][kEach];
/// Of `chunks` · 64 columns of a result.
template <int chunks> using Sums = float[chunks][kEach][kEach];

__device__ inline int threadColumn() { return int(threadIdx.x) % (kSize / kEach) * kEach; }
__device__ inline int threadRow() { return int(threadIdx.x) / (kSize / kEach) * kEach; }

/// Where one (batch, head) finds its mask and bias.
struct Masks {
  const uint8_t *mask;
  const float *bias;
};
__device__ inline Masks masksOf(const Attention &a, const uint8_t *mask, const float *bias,
                                int64_t b, int64_t h) {
  return {mask ? mask + b * a.mask.batch + h * a.mask.head : nullptr,
          bias ? bias + b * a.bias.batch + h * a.bias.head : nullptr};
}

/// The score of (query, key) from their product; -inf where hidden or outside.
__device__ inline float score(const Attention &a, const Masks &m, int64_t query, int64_t key,
                              float product) {
  const bool outside = query >= a.queries || key >= a.keys;
  if (outside || (a.causal && key > query + a.causalOffset) ||
      (m.mask && !m.mask[query * a.mask.query + key * a.mask.key]))
    return -HUGE_VALF;
  const float s = product * a.scale;
  return m.bias ? s + m.bias[query * a.bias.query + key * a.bias.key] : s;
}

/// How many keys (a prefix) causality lets the queries before `end` see.
__device__ inline int64_t keysBefore(const Attention &a, int64_t end) {
  const int64_t seen = a.causal ? end + a.causalOffset : a.keys;
  return seen < 0 ? 0 : seen < a.keys ? seen : a.keys;
}

/// shared[c][r] = s[r][c]: what `accumulate` reads.
__device__ inline void put(const Scores &s, SharedPtr<float> shared) {
  const int column = threadColumn(), row = threadRow();
#pragma unroll
  for (int r = 0; r < kEach; ++r)
#pragma unroll
    for (int c = 0; c < kEach; ++c)
      shared[(column + c) * kPitch + row + r] = s[r][c];
}

/// sum[chunk] += tile · x, tile [64, 64] as `put` leaves it, x [x.depth, x.outer]
/// not `along`. Ends with a barrier: tile and slice are free.
template <int chunks, typename T>
__device__ inline void accumulate(SharedPtr<float> tile, const Operand<T> &x,
                                  SharedPtr<float> slice, Sums<chunks> &sum) {
  const int column = threadColumn(), row = threadRow();
#pragma unroll
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const Operand<T> part{x.data + chunk * kSize, x.pitch, false, x.outer - chunk * kSize, x.depth};
    for (int from = 0; from < kSize; from += kDepth) {
      loadSlice(part, from, slice);
      __syncthreads();
#pragma unroll
      for (int p = 0; p < kDepth; ++p) {
        float a[kEach], b[kEach];
#pragma unroll
        for (int i = 0; i < kEach; ++i) {
          a[i] = tile[(from + p) * kPitch + row + i];
          b[i] = slice[p * kPitch + column + i];
        }
#pragma unroll
        for (int r = 0; r < kEach; ++r)
#pragma unroll
          for (int c = 0; c < kEach; ++c)
            sum[chunk][r][c] = fmaf(a[r], b[c], sum[chunk][r][c]);
      }
      __syncthreads();
    }
  }
}

template <int chunks> __device__ inline void clear(Sums<chunks> &sum) {
#pragma unroll
  for (int chunk = 0; chunk < chunks; ++chunk)
#pragma unroll
    for (int r = 0; r < kEach; ++r)
#pragma unroll
      for (int c = 0; c < kEach; ++c)
        sum[chunk][r][c] = 0;
}

/// Writes the `rows` × `columns` that exist, `pitch` elements between rows.
template <int chunks, typename T>
__device__ inline void write(const Sums<chunks> &sum, int64_t rows, int64_t columns, T *to,
                             int64_t pitch) {
#pragma unroll
  for (int chunk = 0; chunk < chunks; ++chunk)
#pragma unroll
    for (int r = 0; r < kEach; ++r)
#pragma unroll
      for (int c = 0; c < kEach; ++c) {
        const int row = threadRow() + r, column = chunk * kSize + threadColumn() + c;
        if (row < rows && column < columns)
          to[row * pitch + column] = T(sum[chunk][r][c]);
      }
}

/// Sum and maximum over the 16 threads that share a row of a tile.
__device__ inline float rowSum(float x) {
#pragma unroll
  for (int d = 1; d < kSize / kEach; d *= 2)
    x += __shfl_xor_sync(0xffffffffu, x, d);
  return x;
}
__device__ inline float rowMax(float x) {
#pragma unroll
  for (int d = 1; d < kSize / kEach; d *= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, x, d);
    x = other > x ? other : x;
  }
  return x;
}

/// Calls body with the number of chunks that hold `columns`.
template <typename Body> void withChunks(int64_t columns, Body &&body) {
  if (columns <= 64)
    body(std::integral_constant<int, 1>());
  else if (columns <= 128)
    body(std::integral_constant<int, 2>());
  else
    body(std::integral_constant<int, 4>());
}

} // namespace moire::rt::tile

#endif // MOIRE_CUDA_ATTENTION_TILE_CUH
