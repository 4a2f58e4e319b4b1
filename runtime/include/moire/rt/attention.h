//===- attention.h - Scaled dot-product attention -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_ATTENTION_H
#define MOIRE_RT_ATTENTION_H

#include "moire/rt/bf16.h"
#include "moire/rt/context.h"

namespace moire::rt {

/// Elements between batches, heads and rows; the last dimension is contiguous.
/// All zero: dense [B, H, rows, dim].
struct Strides {
  int64_t batch = 0, head = 0, row = 0;
};
/// Strides of a mask over (batch, head, query, key); 0 broadcasts.
struct MaskStrides {
  int64_t batch = 0, head = 0, query = 0, key = 1;
};

/// s[b, h, i, j] = scale · <q[b, h, i], k[b, h / group, j]> + bias[b, h, i, j]
/// over the keys j that mask and causality allow; p = softmax_j(s);
/// out[b, h, i] = Σ_j p · v[b, h / group, j]; lse = log Σ_j exp(s).
/// A row that may see no key gives out = 0, lse = -inf and zero gradients.
struct Attention {
  int64_t batch, heads, kvHeads; ///< group = heads / kvHeads
  int64_t queries, keys;
  int64_t dim;          ///< of q and k
  int64_t valueDim = 0; ///< of v and out; 0: dim
  float scale = 1;
  bool causal = false;      ///< key j is visible to query i if j <= i + causalOffset
  int64_t causalOffset = 0; ///< keys - queries for a causal mask aligned at the end
  Strides q, k, v, out;     ///< dq, dk, dv, dout lie as q, k, v, out unless given
  MaskStrides mask, bias;
  Strides dq, dk, dv, dout;
};

/// q [B, H, Sq, D], k [B, Hkv, Skv, D], v [B, Hkv, Skv, Dv], out [B, H, Sq, Dv],
/// lse [B, H, Sq] dense. mask (1: may attend, 0: hidden) and bias may be null.
/// T is float or bf16; scores, probabilities and sums are float.
template <typename T>
void attention(Context &ctx, const Attention &a, const T *q, const T *k,
               const T *v, const uint8_t *mask, const float *bias, T *out,
               float *lse);

/// Overwrites dq, dk, dv. No gradient for bias.
template <typename T>
void attentionGrad(Context &ctx, const Attention &a, const T *q, const T *k,
                   const T *v, const uint8_t *mask, const float *bias,
                   const T *out, const float *lse, const T *dout, T *dq, T *dk,
                   T *dv);

} // namespace moire::rt

#endif // MOIRE_RT_ATTENTION_H
