//===- gemm_plain.h - Matrix products without a library -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// For shapes, types and alignments that the libraries and the tensor cores do
// not take. Same meaning as gemm, groupedGemm and groupedGemmWeightGrad.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_CUDA_GEMM_PLAIN_H
#define MOIRE_CUDA_GEMM_PLAIN_H

#include "cuda/epilogue.h"
#include "moire/rt/gemm.h"

namespace moire::rt {

/// The same product with dense strides filled in.
Gemm completed(Gemm g);

template <typename A, typename C>
void plainGemm(Context &ctx, const Gemm &g, const A *a, const A *b, C *c, const float *bias,
               const Epilogue<C> &more = {});

template <typename A, typename C>
void plainGroupedGemm(Context &ctx, const GroupedGemm &g, const Routing &r, const A *x, const A *w,
                      C *y, const float *bias);

template <typename A>
void plainGroupedSwiglu(Context &ctx, const GroupedGemm &g, const Routing &r, const A *x,
                        const A *w, A *y, A *h);

template <typename A>
void plainGroupedWeightGrad(Context &ctx, const GroupedGemm &g, const Routing &r, const A *x,
                            const A *dy, float *dw);

} // namespace moire::rt

#endif // MOIRE_CUDA_GEMM_PLAIN_H
