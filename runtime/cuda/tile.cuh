//===- tile.cuh - A plain product of a tile -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// 256 threads compute a tile of 64 × 64 of op(A) · op(B) in float, 4 × 4 each,
// from slices of 16 of the reduced dim in shared memory. Each element is one fma
// chain over the reduced dim ascending, whatever tile it lies in. For what the
// libraries and the tensor cores do not take; runs anywhere.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_CUDA_TILE_CUH
#define MOIRE_CUDA_TILE_CUH

#include "cuda/epilogue.h"
#include "moire/rt/cuda/launch.h"
#include "moire/rt/math.h"

#include <cmath>
#include <cstdint>

namespace moire::rt::tile {

inline constexpr int kSize = 64;  ///< rows and columns of a tile
inline constexpr int kDepth = 16; ///< of a slice
inline constexpr int kEach = 4;   ///< rows and columns of a thread
inline constexpr int kThreads = 256;
inline constexpr int kPitch = kSize + 4; ///< floats between a slice's rows

/// One operand: `outer` rows of the result's dim and `depth` of the reduced one
/// from `data` on. along: the reduced dim is the contiguous one.
template <typename T> struct Operand {
  const T *data;
  int64_t pitch; ///< elements between rows in memory
  bool along;
  int64_t outer, depth;
  /// Of rows that are gathered: their pairs, k of each row of `data`.
  const int32_t *pairs = nullptr;
  int32_t k = 1;
};

/// slice[p][i] = operand(i, from + p), zero outside.
template <typename T, typename Shared>
__device__ inline void loadSlice(const Operand<T> &x, int64_t from, Shared slice) {
  const int t = int(threadIdx.x);
#pragma unroll
  for (int step = 0; step < kSize * kDepth / kThreads; ++step) {
    const int at = step * kThreads + t;
    // Neighbouring threads read neighbouring elements.
    const int i = x.along ? at / kDepth : at % kSize;
    const int p = x.along ? at % kDepth : at / kSize;
    const bool in = i < x.outer && from + p < x.depth;
    int64_t row = x.along ? i : from + p;
    if (in && x.pairs)
      row = x.pairs[row] / x.k;
    const int64_t element = row * x.pitch + (x.along ? from + p : i);
    slice[p * kPitch + i] = in ? float(x.data[element]) : 0.0f;
  }
}

/// sum[r][c] = Σ_p A(4 y + r, p) · B(p, 4 x + c), x = thread % 16, y = thread / 16.
template <typename A, typename B, typename Shared>
__device__ inline void multiply(const Operand<A> &a, const Operand<B> &b, Shared sliceA,
                                Shared sliceB, float (&sum)[kEach][kEach]) {
  const int x = int(threadIdx.x) % (kSize / kEach), y = int(threadIdx.x) / (kSize / kEach);
#pragma unroll
  for (int r = 0; r < kEach; ++r)
#pragma unroll
    for (int c = 0; c < kEach; ++c)
      sum[r][c] = 0;
  for (int64_t from = 0; from < a.depth; from += kDepth) {
    loadSlice(a, from, sliceA);
    loadSlice(b, from, sliceB);
    __syncthreads();
#pragma unroll
    for (int p = 0; p < kDepth; ++p) {
      float ra[kEach], rb[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        ra[i] = sliceA[p * kPitch + y * kEach + i];
        rb[i] = sliceB[p * kPitch + x * kEach + i];
      }
#pragma unroll
      for (int r = 0; r < kEach; ++r)
#pragma unroll
        for (int c = 0; c < kEach; ++c)
          sum[r][c] = fmaf(ra[r], rb[c], sum[r][c]);
    }
    __syncthreads();
  }
}

/// What becomes of a sum: c = alpha · sum + beta · c + bias.
struct Finish {
  float alpha = 1, beta = 0;
  const float *bias = nullptr; ///< of the tile's first column
};

/// Writes the tile's `rows` × `columns` to c, after what `more` wants.
template <typename C>
__device__ inline void store(const float (&sum)[kEach][kEach], const Finish &f, int64_t rows,
                             int64_t columns, C *c, int64_t pitch, const Epilogue<C> &more = {}) {
  const int x = int(threadIdx.x) % (kSize / kEach), y = int(threadIdx.x) / (kSize / kEach);
#pragma unroll
  for (int r = 0; r < kEach; ++r)
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int row = y * kEach + r, column = x * kEach + i;
      if (row >= rows || column >= columns)
        continue;
      C &to = c[row * pitch + column];
      float v = f.alpha * sum[r][i];
      if (f.bias)
        v += f.bias[column];
      if (f.beta != 0)
        v = fmaf(f.beta, float(to), v);
      if (more.residual)
        v += float(more.residual[row * pitch + column]);
      if (more.gelu) {
        if (more.before)
          more.before[row * pitch + column] = C(v);
        v = math::geluTanh(v);
      }
      to = C(v);
    }
}

} // namespace moire::rt::tile

#endif // MOIRE_CUDA_TILE_CUH
