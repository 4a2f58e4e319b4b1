//===- attention.cu - Attention, forward, without a library ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// FlashAttention's forward (Dao et al. 2022, algorithm 1): a block has 64 queries
// of a head and goes over the keys in tiles of 64,
//   s = q kᵀ · scale;  m' = max(m, max s);  p = exp(s - m');
//   l = l exp(m - m') + Σ p;  o = o exp(m - m') + p v;
// then out = o / l, lse = m + log l.
//
//===----------------------------------------------------------------------===//

#include "cuda/attention_cudnn.h"
#include "cuda/attention_tile.cuh"
#include "moire/rt/cuda/launch.h"

#include <algorithm>

namespace moire::rt {

namespace tile {
namespace {
Strides given(const Strides &own, const Strides &other) {
  return own.batch || own.head || own.row ? own : other;
}
Strides dense(int64_t heads, int64_t rows, int64_t dim) {
  return {heads * rows * dim, rows * dim, dim};
}
} // namespace

Attention completed(const Attention &attention) {
  Attention a = attention;
  a.valueDim = a.valueDim ? a.valueDim : a.dim;
  if (std::max(a.dim, a.valueDim) > 4 * kSize)
    throw RunError("attention with heads of " + std::to_string(std::max(a.dim, a.valueDim)) +
                   " columns is more than the CUDA runtime takes; use up to 256");
  a.q = given(a.q, dense(a.heads, a.queries, a.dim));
  a.k = given(a.k, dense(a.kvHeads, a.keys, a.dim));
  a.v = given(a.v, dense(a.kvHeads, a.keys, a.valueDim));
  a.out = given(a.out, dense(a.heads, a.queries, a.valueDim));
  a.dq = given(a.dq, a.q);
  a.dk = given(a.dk, a.k);
  a.dv = given(a.dv, a.v);
  a.dout = given(a.dout, a.out);
  return a;
}
} // namespace tile

namespace {
using namespace tile;

/// Blocks are (tile of queries, head, batch).
template <typename T, int chunks>
__global__ void __launch_bounds__(kThreads)
    attentionKernel(Attention a, const T *q, const T *k, const T *v, const uint8_t *mask,
                    const float *bias, T *out, float *lse) {
  MOIRE_SHARED(float, sliceA, kDepth *kPitch);
  MOIRE_SHARED(float, sliceB, kDepth *kPitch);
  MOIRE_SHARED(float, probabilities, kSize *kPitch);
  // The last queries see most keys under a causal mask: long blocks first.
  const int64_t first = (int64_t(gridDim.x) - 1 - blockIdx.x) * kSize;
  const int64_t h = blockIdx.y, b = blockIdx.z, kv = h / (a.heads / a.kvHeads);
  const int64_t left = a.queries - first, rows = left < kSize ? left : kSize;
  q += b * a.q.batch + h * a.q.head + first * a.q.row;
  k += b * a.k.batch + kv * a.k.head;
  v += b * a.v.batch + kv * a.v.head;
  const Masks masks = masksOf(a, mask, bias, b, h);

  float most[kEach], total[kEach];
#pragma unroll
  for (int r = 0; r < kEach; ++r) {
    most[r] = -HUGE_VALF;
    total[r] = 0;
  }
  Sums<chunks> o;
  clear<chunks>(o);
  const int64_t end = keysBefore(a, first + rows);
  for (int64_t key = 0; key < end; key += kSize) {
    Scores s;
    multiply(Operand<T>{q, a.q.row, true, rows, a.dim},
             Operand<T>{k + key * a.k.row, a.k.row, true, a.keys - key, a.dim}, sliceA, sliceB, s);
#pragma unroll
    for (int r = 0; r < kEach; ++r) {
      float m = most[r], sum = 0;
#pragma unroll
      for (int c = 0; c < kEach; ++c) {
        s[r][c] = score(a, masks, first + threadRow() + r, key + threadColumn() + c, s[r][c]);
        m = s[r][c] > m ? s[r][c] : m;
      }
      m = rowMax(m);
      // A row that sees nothing yet: exp(-inf - 0) = 0.
      const float shift = m == -HUGE_VALF ? 0.0f : m;
#pragma unroll
      for (int c = 0; c < kEach; ++c) {
        s[r][c] = math::exp(s[r][c] - shift);
        sum += s[r][c];
      }
      const float keep = math::exp(most[r] - shift);
      total[r] = fmaf(total[r], keep, rowSum(sum));
      most[r] = m;
#pragma unroll
      for (int chunk = 0; chunk < chunks; ++chunk)
#pragma unroll
        for (int c = 0; c < kEach; ++c)
          o[chunk][r][c] *= keep;
    }
    put(s, probabilities);
    accumulate<chunks>(probabilities,
                       Operand<T>{v + key * a.v.row, a.v.row, false, a.valueDim, a.keys - key},
                       sliceB, o);
  }

#pragma unroll
  for (int r = 0; r < kEach; ++r) {
    const float scale = total[r] == 0 ? 0.0f : 1.0f / total[r];
#pragma unroll
    for (int chunk = 0; chunk < chunks; ++chunk)
#pragma unroll
      for (int c = 0; c < kEach; ++c)
        o[chunk][r][c] *= scale;
    if (threadColumn() == 0 && threadRow() + r < rows)
      lse[(b * a.heads + h) * a.queries + first + threadRow() + r] =
          total[r] == 0 ? -HUGE_VALF : most[r] + math::log(total[r]);
  }
  write<chunks>(o, rows, a.valueDim, out + b * a.out.batch + h * a.out.head + first * a.out.row,
                a.out.row);
}
} // namespace

template <typename T>
void attention(Context &ctx, const Attention &attention, const T *q, const T *k, const T *v,
               const uint8_t *mask, const float *bias, T *out, float *lse) {
  const Attention a = completed(attention);
  if constexpr (std::is_same_v<T, bf16>)
    if (libraryAttention(ctx, a, q, k, v, mask, bias, out, lse) ||
        tensorAttention(ctx, a, q, k, v, mask, bias, out, lse))
      return;
  const dim3 grid(static_cast<unsigned>((a.queries + kSize - 1) / kSize),
                  static_cast<unsigned>(a.heads), static_cast<unsigned>(a.batch));
  withChunks(a.valueDim, [&](auto chunks) {
    MOIRE_LAUNCH(streamOf(ctx), grid, dim3(kThreads), 0,
                 attentionKernel<T, decltype(chunks)::value>, a, q, k, v, mask, bias, out, lse);
  });
}

template void attention(Context &, const Attention &, const float *, const float *, const float *,
                        const uint8_t *, const float *, float *, float *);
template void attention(Context &, const Attention &, const bf16 *, const bf16 *, const bf16 *,
                        const uint8_t *, const float *, bf16 *, float *);

} // namespace moire::rt
