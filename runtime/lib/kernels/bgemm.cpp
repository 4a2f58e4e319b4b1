//===- bgemm.cpp - A block of a matrix product of bf16 ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "kernels/bgemm.h"
#include "kernels/rows.h"
#include "kernels/sgemm.h"

#include <algorithm>
#include <dnnl.h>

// In the library since 1.0 but not in its headers; null in one that has dropped it.
extern "C" __attribute__((weak)) dnnl_status_t
dnnl_gemm_bf16bf16f32(char transA, char transB, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k,
                      float alpha, const moire::rt::bf16 *a, dnnl_dim_t lda,
                      const moire::rt::bf16 *b, dnnl_dim_t ldb, float beta, float *c,
                      dnnl_dim_t ldc);

namespace moire::rt {

bool multipliesBf16() {
  // [1 2; 3 4] times [1 0; 0 2].
  static const bool works = [] {
    if (!dnnl_gemm_bf16bf16f32)
      return false;
    const bf16 a[] = {bf16(1), bf16(2), bf16(3), bf16(4)}, b[] = {bf16(1), bf16(0), bf16(0), bf16(2)};
    float c[4] = {0};
    return dnnl_gemm_bf16bf16f32('N', 'N', 2, 2, 2, 1, a, 2, b, 2, 0, c, 2) == dnnl_success &&
           c[0] == 1 && c[1] == 4 && c[2] == 3 && c[3] == 8;
  }();
  return works;
}

namespace {
void widenBlock(const bf16 *x, int64_t ld, int64_t rows, int64_t cols, float *y) {
  for (int64_t i = 0; i < rows; ++i)
    widen(x + i * ld, cols, y + i * cols);
}
} // namespace

template <typename C>
void bgemm(bool transA, bool transB, int64_t m, int64_t n, int64_t k, float alpha,
           const bf16 *a, int64_t lda, const bf16 *b, int64_t ldb, float beta, C *c,
           int64_t ldc, const float *bias, float *memory) {
  float *wideA = memory, *wideB = wideA + kBlockRows * kBlockDepth,
        *sum = wideB + kBlockDepth * kBlockColumns;
  std::fill(sum, sum + m * n, 0.0f);
  const bool whole = k > 0 && multipliesBf16() &&
                     dnnl_gemm_bf16bf16f32(transA ? 'T' : 'N', transB ? 'T' : 'N', m, n, k, alpha,
                                           a, lda, b, ldb, 0, sum, n) == dnnl_success;
  for (int64_t p = 0; p < k && !whole; p += kBlockDepth) {
    const int64_t depth = std::min(kBlockDepth, k - p);
    // Stored as they lie: [depth, m] or [m, depth].
    if (transA)
      widenBlock(a + p * lda, lda, depth, m, wideA);
    else
      widenBlock(a + p, lda, m, depth, wideA);
    if (transB)
      widenBlock(b + p, ldb, n, depth, wideB);
    else
      widenBlock(b + p * ldb, ldb, depth, n, wideB);
    sgemm(transA, transB, m, n, depth, alpha, wideA, transA ? m : depth, wideB,
          transB ? depth : n, p ? 1.0f : 0.0f, sum, n);
  }
  for (int64_t i = 0; i < m; ++i) {
    const float *s = sum + i * n;
    C *to = c + i * ldc;
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) {
      float value = bias ? s[j] + bias[j] : s[j];
      to[j] = static_cast<C>(beta == 0 ? value : value + beta * static_cast<float>(to[j]));
    }
  }
}

template void bgemm(bool, bool, int64_t, int64_t, int64_t, float, const bf16 *, int64_t,
                    const bf16 *, int64_t, float, float *, int64_t, const float *, float *);
template void bgemm(bool, bool, int64_t, int64_t, int64_t, float, const bf16 *, int64_t,
                    const bf16 *, int64_t, float, bf16 *, int64_t, const float *, float *);

} // namespace moire::rt
