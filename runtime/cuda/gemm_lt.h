//===- gemm_lt.h - Matrix products by cuBLASLt ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_CUDA_GEMM_LT_H
#define MOIRE_CUDA_GEMM_LT_H

#include "cuda/epilogue.h"
#include "moire/rt/gemm.h"

namespace moire::rt {

/// What cuBLASLt was asked and answered, by shape; a Device has one.
class GemmPlans;
std::shared_ptr<GemmPlans> createGemmPlans();

/// gemm with all strides given, and what `more` wants. False, with nothing done, where cuBLASLt has no
/// algorithm for it; float products keep float's precision (no TF32).
#ifdef MOIRE_CUDA_MODEL
template <typename A, typename C>
bool libraryGemm(Context &, const Gemm &, const A *, const A *, C *, const float *,
                 const Epilogue<C> & = {}) {
  return false;
}
#else
template <typename A, typename C>
bool libraryGemm(Context &ctx, const Gemm &g, const A *a, const A *b, C *c, const float *bias,
                 const Epilogue<C> &more = {});
#endif

} // namespace moire::rt

#endif // MOIRE_CUDA_GEMM_LT_H
