//===- rope.cpp - Rotary position embedding -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/parallel.h"
#include "moire/rt/tensor.h"

namespace moire::rt {

namespace {
template <typename T>
void rotateHalves(const T *x, const float *c, const float *s, float sign,
                  int64_t half, T *y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i], b = x[half + i], si = sign * s[i];
    y[i] = static_cast<T>(a * c[i] - b * si);
    y[half + i] = static_cast<T>(b * c[i] + a * si);
  }
}
template <typename T>
void rotatePairs(const T *x, const float *c, const float *s, float sign,
                 int64_t half, T *y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1], si = sign * s[i];
    y[2 * i] = static_cast<T>(a * c[i] - b * si);
    y[2 * i + 1] = static_cast<T>(b * c[i] + a * si);
  }
}
} // namespace

template <typename T>
void rope(Context &ctx, const Rope &r, const T *x, const float *cos,
          const float *sin, T *y) {
  const int64_t half = r.dim / 2;
  const bool xDense = !r.xBatch && !r.xHead && !r.xRow;
  const bool yDense = !r.yBatch && !r.yHead && !r.yRow;
  const int64_t xRow = xDense ? r.dim : r.xRow;
  const int64_t xHead = xDense ? r.rows * r.dim : r.xHead;
  const int64_t xBatch = xDense ? r.heads * r.rows * r.dim : r.xBatch;
  const int64_t yRow = yDense ? r.dim : r.yRow;
  const int64_t yHead = yDense ? r.rows * r.dim : r.yHead;
  const int64_t yBatch = yDense ? r.heads * r.rows * r.dim : r.yBatch;
  const float sign = r.inverse ? -1.0f : 1.0f;
  // Rows outside, heads inside: a row's table entries serve all heads.
  const int64_t grain =
      std::max<int64_t>(1, kElementwiseGrain / std::max<int64_t>(1, r.heads * r.dim));
  parallelFor(ctx, r.batch * r.rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / r.rows, row = i % r.rows;
      const float *c = cos + b * r.tableBatchStride + row * half;
      const float *s = sin + b * r.tableBatchStride + row * half;
      for (int64_t h = 0; h < r.heads; ++h) {
        const T *xr = x + b * xBatch + h * xHead + row * xRow;
        T *yr = y + b * yBatch + h * yHead + row * yRow;
        if (r.interleaved)
          rotatePairs(xr, c, s, sign, half, yr);
        else
          rotateHalves(xr, c, s, sign, half, yr);
      }
    }
  });
}

template void rope(Context &, const Rope &, const float *, const float *, const float *, float *);
template void rope(Context &, const Rope &, const bf16 *, const float *, const float *, bf16 *);

} // namespace moire::rt
