//===- bgemm.cpp - A matrix product of bf16 in blocks of float --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "kernels/bgemm.h"
#include "kernels/rows.h"
#include "kernels/sgemm.h"

#include <algorithm>

namespace moire::rt {

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
  for (int64_t p = 0; p < k; p += kBlockDepth) {
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
