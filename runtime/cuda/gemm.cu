//===- gemm.cu - Matrix products ------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "gemm_lt.h"
#include "gemm_plain.h"
#include "grouped_wgmma.h"
#include "moire/rt/elementwise.h"
#include "moire/rt/gemm.h"
#include "moire/rt/math.h"

namespace moire::rt {

template <typename A, typename C>
void gemm(Context &ctx, const Gemm &g, const A *a, const A *b, C *c, const float *bias) {
  if (g.m == 0 || g.n == 0 || g.batch == 0)
    return;
  const Gemm full = completed(g);
  if (!libraryGemm(ctx, full, a, b, c, bias))
    plainGemm(ctx, full, a, b, c, bias);
}

template <typename A>
void gemmResidual(Context &ctx, const Gemm &g, const A *a, const A *b, float *c, const float *bias,
                  const float *residual) {
  if (g.m == 0 || g.n == 0)
    return;
  const Gemm full = completed(g);
  const Epilogue<float> more{residual, false, nullptr};
  if (!libraryGemm(ctx, full, a, b, c, bias, more))
    plainGemm(ctx, full, a, b, c, bias, more);
}

namespace {
struct Gelu {
  MOIRE_FUNCTOR run(float x, float &y) { y = math::geluTanh(x); }
};
} // namespace

template <typename A, typename C>
void gemmGelu(Context &ctx, const Gemm &g, const A *a, const A *b, C *c, const float *bias,
              Same<C> *before) {
  if (g.m == 0 || g.n == 0)
    return;
  const Gemm full = completed(g);
  const Epilogue<C> more{nullptr, true, before};
  if (libraryGemm(ctx, full, a, b, c, bias, more))
    return;
  // Two passes of which the first is the library's are faster than one of ours.
  C *sums = before ? before : c;
  if (libraryGemm(ctx, full, a, b, sums, bias))
    launch<Gelu>(ctx, {g.m * g.n}, in<1>(sums), out<1>(c));
  else
    plainGemm(ctx, full, a, b, c, bias, more);
}

template <typename A, typename C>
void groupedGemm(Context &ctx, const GroupedGemm &g, const Routing &r, const A *x, const A *w, C *y,
                 const float *bias) {
  if (r.rows() == 0 || g.n == 0)
    return;
  if constexpr (std::is_same_v<A, bf16>)
    if (tensorGroupedGemm(ctx, g, r, x, w, y, bias))
      return;
  plainGroupedGemm(ctx, g, r, x, w, y, bias);
}

template <typename A>
void groupedGemmSwiglu(Context &ctx, const GroupedGemm &g, const Routing &r, const A *x, const A *w,
                       A *y, A *h) {
  if (r.rows() == 0 || g.n == 0)
    return;
  if constexpr (std::is_same_v<A, bf16>)
    if (tensorGroupedSwiglu(ctx, g, r, x, w, y, h))
      return;
  plainGroupedSwiglu(ctx, g, r, x, w, y, h);
}

template <typename A>
void groupedGemmWeightGrad(Context &ctx, const GroupedGemm &g, const Routing &r, const A *x,
                           const A *dy, float *dw) {
  if (g.k == 0 || g.n == 0 || r.experts == 0)
    return;
  if constexpr (std::is_same_v<A, bf16>)
    if (tensorGroupedWeightGrad(ctx, g, r, x, dy, dw))
      return;
  plainGroupedWeightGrad(ctx, g, r, x, dy, dw);
}

#define MOIRE_GEMM(A, C)                                                                           \
  template void gemm(Context &, const Gemm &, const A *, const A *, C *, const float *);           \
  template void groupedGemm(Context &, const GroupedGemm &, const Routing &, const A *, const A *, \
                            C *, const float *);
MOIRE_GEMM(float, float)
MOIRE_GEMM(bf16, bf16)
MOIRE_GEMM(bf16, float)
#undef MOIRE_GEMM
template void groupedGemmSwiglu(Context &, const GroupedGemm &, const Routing &, const float *,
                                const float *, float *, float *);
template void groupedGemmSwiglu(Context &, const GroupedGemm &, const Routing &, const bf16 *,
                                const bf16 *, bf16 *, bf16 *);
template void gemmResidual(Context &, const Gemm &, const float *, const float *, float *,
                           const float *, const float *);
template void gemmResidual(Context &, const Gemm &, const bf16 *, const bf16 *, float *,
                           const float *, const float *);
#define MOIRE_GELU(A, C)                                                                           \
  template void gemmGelu(Context &, const Gemm &, const A *, const A *, C *, const float *, C *);
MOIRE_GELU(float, float)
MOIRE_GELU(bf16, bf16)
MOIRE_GELU(bf16, float)
#undef MOIRE_GELU
template void groupedGemmWeightGrad(Context &, const GroupedGemm &, const Routing &, const float *,
                                    const float *, float *);
template void groupedGemmWeightGrad(Context &, const GroupedGemm &, const Routing &, const bf16 *,
                                    const bf16 *, float *);

} // namespace moire::rt
