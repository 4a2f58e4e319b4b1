//===- grouped_wgmma.h - Experts' products on the tensor cores ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_CUDA_GROUPED_WGMMA_H
#define MOIRE_CUDA_GROUPED_WGMMA_H

#include "moire/rt/gemm.h"

namespace moire::rt {

/// groupedGemm and groupedGemmWeightGrad for bf16 on sm_90a. False, with nothing
/// done, where the copy engine cannot take the operands: n and k must be
/// multiples of 8 and the pointers of 16 bytes.
template <typename C>
bool tensorGroupedGemm(Context &ctx, const GroupedGemm &g, const Routing &r, const bf16 *x,
                       const bf16 *w, C *y, const float *bias);
/// groupedGemmSwiglu; n/2 a multiple of 8 too.
bool tensorGroupedSwiglu(Context &ctx, const GroupedGemm &g, const Routing &r, const bf16 *x,
                         const bf16 *w, bf16 *y, bf16 *h);

bool tensorGroupedWeightGrad(Context &ctx, const GroupedGemm &g, const Routing &r, const bf16 *x,
                             const bf16 *dy, float *dw);

} // namespace moire::rt

#endif // MOIRE_CUDA_GROUPED_WGMMA_H
