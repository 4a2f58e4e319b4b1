//===- gemm.cu - Matrix products ------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "gemm_lt.h"
#include "gemm_plain.h"
#include "grouped_wgmma.h"
#include "moire/rt/gemm.h"

namespace moire::rt {

template <typename A, typename C>
void gemm(Context &ctx, const Gemm &g, const A *a, const A *b, C *c, const float *bias) {
  if (g.m == 0 || g.n == 0 || g.batch == 0)
    return;
  const Gemm full = completed(g);
  if (!libraryGemm(ctx, full, a, b, c, bias))
    plainGemm(ctx, full, a, b, c, bias);
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
template void groupedGemmWeightGrad(Context &, const GroupedGemm &, const Routing &, const float *,
                                    const float *, float *);
template void groupedGemmWeightGrad(Context &, const GroupedGemm &, const Routing &, const bf16 *,
                                    const bf16 *, float *);

} // namespace moire::rt
