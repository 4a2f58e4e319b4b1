//===- attention_wgmma.h - Attention on the tensor cores ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_CUDA_ATTENTION_WGMMA_H
#define MOIRE_CUDA_ATTENTION_WGMMA_H

#include "moire/rt/attention.h"

namespace moire::rt {

namespace tile {
/// The same attention with all strides given and valueDim set. Throws RunError for
/// heads of more than 256 columns.
Attention completed(const Attention &a);
} // namespace tile

/// attention and attentionGrad for bf16 on sm_90a; all strides and valueDim
/// given. False, with nothing done, where they do not take it: heads must have 64
/// or 128 columns, strides be multiples of 8 elements and pointers of 16 bytes,
/// scale be positive; no bias.
bool tensorAttention(Context &ctx, const Attention &a, const bf16 *q, const bf16 *k, const bf16 *v,
                     const uint8_t *mask, const float *bias, bf16 *out, float *lse);
/// delta [B, H, Sq]: the products of the rows of out and dout.
bool tensorAttentionGrad(Context &ctx, const Attention &a, const bf16 *q, const bf16 *k,
                         const bf16 *v, const uint8_t *mask, const float *bias, const float *lse,
                         const bf16 *dout, const float *delta, bf16 *dq, bf16 *dk, bf16 *dv);

} // namespace moire::rt

#endif // MOIRE_CUDA_ATTENTION_WGMMA_H
