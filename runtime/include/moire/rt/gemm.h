//===- gemm.h - Matrix products -------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_GEMM_H
#define MOIRE_RT_GEMM_H

#include "moire/rt/bf16.h"
#include "moire/rt/context.h"
#include "moire/rt/routing.h"

namespace moire::rt {

/// C[b] = alpha · op(A[b]) · op(B[b]) + beta · C[b] (+ bias), row-major,
/// op(A): [m, k], op(B): [k, n], C: [m, n], bias: [n].
struct Gemm {
  int64_t m, n, k;
  bool transA = false; ///< A is stored [k, m]
  bool transB = false; ///< B is stored [n, k]
  float alpha = 1, beta = 0;
  int64_t lda = 0, ldb = 0, ldc = 0; ///< elements between rows; 0: dense
  int64_t batch = 1;
  /// Elements between matrices of the batch; -1: dense; 0: the same matrix
  /// (not for C).
  int64_t strideA = -1, strideB = -1, strideC = -1;
};

/// beta = 0 never reads C. bias needs beta = 0. A and C are float and float, bf16
/// and bf16 or bf16 and float; sums are float and rounded once, with the bias.
template <typename A, typename C>
void gemm(Context &ctx, const Gemm &g, const A *a, const A *b, C *c,
          const float *bias = nullptr);

/// gemm with C = A · B + bias + residual; residual [m, n] may be C itself, bias may
/// be null. alpha, beta and strides as they are given by default; one matrix.
template <typename A>
void gemmResidual(Context &ctx, const Gemm &g, const A *a, const A *b, float *c,
                  const float *bias, const float *residual);

/// gemm with C = gelu(A · B + bias), GELU in its tanh form; the sums go to
/// `before` [m, n], which may be null as bias may. Where they are bf16, gelu may
/// be of the rounded ones. Otherwise as gemmResidual.
template <typename A, typename C>
void gemmGelu(Context &ctx, const Gemm &g, const A *a, const A *b, C *c, const float *bias,
              Same<C> *before);

/// For each expert e and its rows r (sorted by expert, see Routing):
///   y[r, :] = x[r, :] · op(w[e]) + beta · y[r, :],  w [E, k, n], or [E, n, k]
/// with transB. No work for experts without rows.
struct GroupedGemm {
  int64_t n, k;
  bool transB = false;
  float beta = 0;
  /// x, or dy, is [T, …]: a row of each token, and row r is that of r's token.
  /// Not both; gatherDy for groupedGemmWeightGrad alone.
  bool gatherX = false, gatherDy = false;
};
template <typename A, typename C>
void groupedGemm(Context &ctx, const GroupedGemm &g, const Routing &r,
                 const A *x, const A *w, C *y,
                 const float *bias = nullptr /* [E, n] */);

/// groupedGemm without beta, n even, and of its halves
///   h[r, j] = silu(y[r, j]) · y[r, n/2 + j],  h [R, n/2];
/// where they are bf16, that may be of the rounded ones.
template <typename A>
void groupedGemmSwiglu(Context &ctx, const GroupedGemm &g, const Routing &r, const A *x,
                       const A *w, A *y, A *h);

/// dw[e] = Σ_{r of e} x[r, :]ᵀ · dy[r, :] + beta · dw[e],  x [R, k], dy [R, n],
/// dw [E, k, n] (transB is not used: swap x and dy for [E, n, k]). Experts
/// without rows get zeros where beta is 0, and are left alone where it is 1.
template <typename A>
void groupedGemmWeightGrad(Context &ctx, const GroupedGemm &g, const Routing &r,
                           const A *x, const A *dy, float *dw);

} // namespace moire::rt

#endif // MOIRE_RT_GEMM_H
