//===- transpose.cuh - Copies between two contiguous dimensions -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// y is contiguous along its last dimension, x along another. A block moves a
// square through shared memory, so that both sides see whole lines: a warp reads
// and writes 64 or 128 neighbouring bytes. A column more than the square keeps
// its columns in different banks.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_TRANSPOSE_CUH
#define MOIRE_RT_CUDA_TRANSPOSE_CUH

#include "lib/kernels/walk.h"
#include "moire/rt/cuda/launch.h"

namespace moire::rt::device {

/// 64 for narrow types, so that a line is not shorter than 64 bytes.
template <typename T> inline constexpr int kTile = sizeof(T) <= 2 ? 64 : 32;

/// rows run along x's contiguous dimension, cols along y's.
struct Squares {
  int64_t rows, cols, strideX, strideY; ///< of a column in x, of a row in y
  int64_t rowTiles, colTiles;
  Ints dims, x, y; ///< the other dimensions
};

template <typename T, bool Accumulate>
__global__ void __launch_bounds__(256) transposeKernel(Squares s, const T *x, T *y) {
  constexpr int N = kTile<T>, kRows = 256 / N;
  MOIRE_SHARED_MATRIX(T, tile, N, N + 1);
  int64_t rest = blockIdx.x;
  const int64_t c0 = rest % s.colTiles * N;
  rest /= s.colTiles;
  const int64_t r0 = rest % s.rowTiles * N;
  rest /= s.rowTiles;
  for (int d = s.dims.n - 1; d >= 0; --d) {
    const int64_t i = rest % s.dims.v[d];
    rest /= s.dims.v[d];
    x += i * s.x.v[d];
    y += i * s.y.v[d];
  }
  const int lane = threadIdx.x % N, line = threadIdx.x / N;
  if (r0 + lane < s.rows)
#pragma unroll
    for (int k = 0; k < N; k += kRows)
      if (c0 + line + k < s.cols)
        tile[line + k][lane] = x[(c0 + line + k) * s.strideX + r0 + lane];
  __syncthreads();
  if (c0 + lane < s.cols)
#pragma unroll
    for (int k = 0; k < N; k += kRows)
      if (r0 + line + k < s.rows) {
        const T value = tile[lane][line + k];
        T &to = y[(r0 + line + k) * s.strideY + c0 + lane];
        if constexpr (Accumulate)
          to += value;
        else
          to = value;
      }
}

template <typename T, bool Accumulate>
void transposed(Context &ctx, const Plan &p, int xInner, const T *x, T *y) {
  constexpr int N = kTile<T>;
  const int yInner = p.dims.n - 1;
  Squares s;
  s.rows = p.dims[xInner];
  s.cols = p.dims[yInner];
  s.strideX = p.x[yInner];
  s.strideY = p.y[xInner];
  s.rowTiles = (s.rows + N - 1) / N;
  s.colTiles = (s.cols + N - 1) / N;
  s.dims = without(p.dims, xInner, yInner);
  s.x = without(p.x, xInner, yInner);
  s.y = without(p.y, xInner, yInner);
  MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned(product(s.dims) * s.rowTiles * s.colTiles)), 256, 0,
               transposeKernel<T, Accumulate>, s, x, y);
}

} // namespace moire::rt::device

#endif // MOIRE_RT_CUDA_TRANSPOSE_CUH
