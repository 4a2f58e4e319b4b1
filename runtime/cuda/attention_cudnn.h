//===- attention_cudnn.h - Attention by cuDNN -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_CUDA_ATTENTION_CUDNN_H
#define MOIRE_CUDA_ATTENTION_CUDNN_H

#include "moire/rt/attention.h"

namespace moire::rt {

/// What cuDNN was asked and answered, by shape; a Device has one.
class AttentionPlans;
std::shared_ptr<AttentionPlans> createAttentionPlans();
AttentionPlans &attentionPlansOf(Context &ctx);

/// attention and attentionGrad for bf16, all strides and valueDim given. False,
/// with nothing done, where the runtime was built without cuDNN, where there is a
/// mask or a bias, and where cuDNN has no kernel for the shape.
#ifdef MOIRE_CUDA_MODEL
inline bool libraryAttention(Context &, const Attention &, const bf16 *, const bf16 *, const bf16 *,
                             const uint8_t *, const float *, bf16 *, float *) {
  return false;
}
inline bool libraryAttentionGrad(Context &, const Attention &, const bf16 *, const bf16 *,
                                 const bf16 *, const uint8_t *, const float *, const bf16 *,
                                 const float *, const bf16 *, bf16 *, bf16 *, bf16 *) {
  return false;
}
#else
bool libraryAttention(Context &ctx, const Attention &a, const bf16 *q, const bf16 *k, const bf16 *v,
                      const uint8_t *mask, const float *bias, bf16 *out, float *lse);
bool libraryAttentionGrad(Context &ctx, const Attention &a, const bf16 *q, const bf16 *k,
                          const bf16 *v, const uint8_t *mask, const float *bias, const bf16 *out,
                          const float *lse, const bf16 *dout, bf16 *dq, bf16 *dk, bf16 *dv);
#endif

} // namespace moire::rt

#endif // MOIRE_CUDA_ATTENTION_CUDNN_H
