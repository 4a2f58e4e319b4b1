//===- gemm_epilogue.cpp - Products with more after them ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// On the CPU two passes: what the caches would save is little, and programs for
// the CPU leave these to the fused elementwise loops.
//
//===----------------------------------------------------------------------===//

#include "moire/rt/gemm.h"
#include "moire/rt/math.h"
#include "moire/rt/parallel.h"

namespace moire::rt {

template <typename A>
void gemmResidual(Context &ctx, const Gemm &g, const A *a, const A *b, float *c, const float *bias,
                  const float *residual) {
  if (bias || residual != c)
    parallelFor(ctx, g.m, std::max<int64_t>(1, kElementwiseGrain / std::max<int64_t>(1, g.n)),
                [&](int64_t begin, int64_t end) {
                  for (int64_t i = begin; i < end; ++i)
                    for (int64_t j = 0; j < g.n; ++j)
                      c[i * g.n + j] = residual[i * g.n + j] + (bias ? bias[j] : 0.0f);
                });
  Gemm added = g;
  added.beta = 1;
  gemm(ctx, added, a, b, c);
}

template <typename A, typename C>
void gemmGelu(Context &ctx, const Gemm &g, const A *a, const A *b, C *c, const float *bias,
              Same<C> *before) {
  C *sums = before ? before : c;
  gemm(ctx, g, a, b, sums, bias);
  parallelFor(ctx, g.m * g.n, kElementwiseGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      c[i] = C(math::geluTanh(float(sums[i])));
  });
}

template <typename A>
void groupedGemmSwiglu(Context &ctx, const GroupedGemm &g, const Routing &r, const A *x, const A *w,
                       A *y, A *h) {
  groupedGemm(ctx, g, r, x, w, y);
  const int64_t half = g.n / 2, first = r.offsets[0];
  parallelFor(ctx, *r.count() - first,
              std::max<int64_t>(1, kElementwiseGrain / std::max<int64_t>(1, half)),
              [&](int64_t begin, int64_t end) {
                for (int64_t i = first + begin; i < first + end; ++i)
                  for (int64_t j = 0; j < half; ++j)
                    h[i * half + j] =
                        A(math::swiglu(float(y[i * g.n + j]), float(y[i * g.n + half + j])));
              });
}

template void groupedGemmSwiglu(Context &, const GroupedGemm &, const Routing &, const float *,
                                const float *, float *, float *);
template void groupedGemmSwiglu(Context &, const GroupedGemm &, const Routing &, const bf16 *,
                                const bf16 *, bf16 *, bf16 *);
template void gemmResidual(Context &, const Gemm &, const float *, const float *, float *,
                           const float *, const float *);
template void gemmResidual(Context &, const Gemm &, const bf16 *, const bf16 *, float *,
                           const float *, const float *);
template void gemmGelu(Context &, const Gemm &, const float *, const float *, float *,
                       const float *, float *);
template void gemmGelu(Context &, const Gemm &, const bf16 *, const bf16 *, bf16 *, const float *,
                       bf16 *);
template void gemmGelu(Context &, const Gemm &, const bf16 *, const bf16 *, float *, const float *,
                       float *);

} // namespace moire::rt
