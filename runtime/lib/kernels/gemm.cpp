//===- gemm.cpp - Matrix products -----------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/gemm.h"
#include "kernels/bgemm.h"
#include "kernels/sgemm.h"
#include "moire/rt/parallel.h"

#include <cstring>
#include <dnnl.h>
#include <omp.h>

namespace moire::rt {

void sgemm(bool transA, bool transB, int64_t m, int64_t n, int64_t k,
           float alpha, const float *a, int64_t lda, const float *b,
           int64_t ldb, float beta, float *c, int64_t ldc) {
  dnnl_status_t status =
      dnnl_sgemm(transA ? 'T' : 'N', transB ? 'T' : 'N', m, n, k, alpha, a, lda,
                 b, ldb, beta, c, ldc);
  if (status != dnnl_success)
    throw RunError("oneDNN refuses a product of m=" + std::to_string(m) +
                   " n=" + std::to_string(n) + " k=" + std::to_string(k) +
                   " with status " + std::to_string(status));
}

namespace {
void addBias(float *c, int64_t m, int64_t n, int64_t ldc, const float *bias) {
  for (int64_t i = 0; i < m; ++i)
    std::memcpy(c + i * ldc, bias, n * sizeof(float));
}

/// Strides with dense ones filled in.
struct Steps {
  int64_t lda, ldb, ldc, a, b, c;
  explicit Steps(const Gemm &g)
      : lda(g.lda ? g.lda : (g.transA ? g.m : g.k)),
        ldb(g.ldb ? g.ldb : (g.transB ? g.k : g.n)), ldc(g.ldc ? g.ldc : g.n),
        a(g.strideA >= 0 ? g.strideA : (g.transA ? g.k : g.m) * lda),
        b(g.strideB >= 0 ? g.strideB : (g.transB ? g.n : g.k) * ldb),
        c(g.strideC >= 0 ? g.strideC : g.m * ldc) {}
};

/// A task is a block of the result of one matrix: what is added to what does not
/// depend on the number of threads.
template <typename C>
void gemmOfBf16(Context &ctx, const Gemm &g, const bf16 *a, const bf16 *b, C *c,
                const float *bias) {
  const Steps at(g);
  auto *memory =
      static_cast<float *>(ctx.scratch(ctx.threads * kBgemmFloats * sizeof(float)));
  const int64_t down = (g.m + kBlockRows - 1) / kBlockRows,
                across = (g.n + kBlockColumns - 1) / kBlockColumns;
  parallelTasks(ctx, g.batch * down * across, [&](int64_t task) {
    const int64_t i = task / across % down * kBlockRows, j = task % across * kBlockColumns;
    const int64_t matrix = task / across / down;
    bgemm(g.transA, g.transB, std::min(kBlockRows, g.m - i), std::min(kBlockColumns, g.n - j),
          g.k, g.alpha, a + matrix * at.a + (g.transA ? i : i * at.lda), at.lda,
          b + matrix * at.b + (g.transB ? j * at.ldb : j), at.ldb, g.beta,
          c + matrix * at.c + i * at.ldc + j, at.ldc, bias ? bias + j : nullptr,
          memory + kBgemmFloats * (ctx.threads > 1 ? omp_get_thread_num() : 0));
  });
}
} // namespace

template <>
void gemm(Context &ctx, const Gemm &g, const bf16 *a, const bf16 *b, bf16 *c,
          const float *bias) {
  gemmOfBf16(ctx, g, a, b, c, bias);
}
template <>
void gemm(Context &ctx, const Gemm &g, const bf16 *a, const bf16 *b, float *c,
          const float *bias) {
  gemmOfBf16(ctx, g, a, b, c, bias);
}
template <>
void gemm(Context &ctx, const Gemm &g, const float *a, const float *b, float *c,
          const float *bias) {
  const Steps at(g);
  const int64_t lda = at.lda, ldb = at.ldb, ldc = at.ldc;
  if (g.m == 0 || g.n == 0)
    return;
  // The bias is written first and added to: C stays in the cache of the thread
  // that computes it only for small C, and a pass afterwards costs the same.
  auto one = [&](int64_t i) {
    float *ci = c + i * at.c;
    if (bias)
      addBias(ci, g.m, g.n, ldc, bias);
    sgemm(g.transA, g.transB, g.m, g.n, g.k, g.alpha, a + i * at.a, lda,
          b + i * at.b, ldb, bias ? 1.0f : g.beta, ci, ldc);
  };
  if (g.batch == 1) {
    if (bias)
      parallelFor(ctx, g.m, std::max<int64_t>(1, kElementwiseGrain / g.n),
                  [&](int64_t begin, int64_t end) {
                    addBias(c + begin * ldc, end - begin, g.n, ldc, bias);
                  });
    sgemm(g.transA, g.transB, g.m, g.n, g.k, g.alpha, a, lda, b, ldb,
          bias ? 1.0f : g.beta, c, ldc);
    return;
  }
  // Small matrices: a thread each. Large ones: all threads on each.
  if (g.batch >= 2 * ctx.threads || g.m * g.n * g.k < (int64_t(1) << 18)) {
    parallelTasks(ctx, g.batch, one);
  } else {
    for (int64_t i = 0; i < g.batch; ++i)
      one(i);
  }
}

} // namespace moire::rt
