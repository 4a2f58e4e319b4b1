//===- attention.cpp - Attention, forward ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// FlashAttention's forward (Dao et al. 2022, algorithm 1) on tiles: for each
// block of rows, over blocks of keys,
//   s = q kᵀ · scale;  m' = max(m, max s);  p = exp(s - m');
//   l = l exp(m - m') + Σ p;  o = o exp(m - m') + p v;
// then out = o / l, lse = m + log l.
//
//===----------------------------------------------------------------------===//

#include "kernels/attention_tile.h"
#include "moire/rt/parallel.h"

#include <cmath>
#include <cstring>
#include <omp.h>

namespace moire::rt {

using namespace tile;

namespace {
/// One thread's memory, in floats.
struct Memory {
  int64_t dim, valueDim, keys, tileKeys, size;
  int64_t kT, v, s, o, q;
  explicit Memory(const Attention &a)
      : dim(a.dim), valueDim(padded(a.valueDim ? a.valueDim : a.dim)),
        keys(padded(a.keys)), tileKeys(std::min(padded(a.keys), kKeys) + 16) {
    kT = 0;
    v = kT + dim * keys;
    s = v + keys * valueDim;
    o = s + kRows * tileKeys;
    q = o + kRows * valueDim;
    size = q + kRows * dim;
  }
};

/// Rows [row, row + rows) of one head.
template <typename T>
void rowBlock(const Attention &a, const Memory &mem, const Masks &masks,
              int64_t row, int64_t rows, const T *qs, int64_t qStride,
              float *base, T *out, int64_t outRow, float *lse) {
  const auto [q, qRow] = asFloats(qs, qStride, rows, a.dim, base + mem.q);
  float *s = base + mem.s, *o = base + mem.o;
  float most[kRows], sum[kRows];
  const int64_t valueDim = a.valueDim ? a.valueDim : a.dim;
  const int64_t limit = visibleKeys(a, masks, row, rows);
  std::fill(most, most + rows, -HUGE_VALF);
  std::fill(sum, sum + rows, 0.0f);
  for (int64_t key = 0; key < limit; key += kKeys) {
    const int64_t n = std::min(kKeys, limit - key), wide = padded(n);
    multiply(rows, wide, a.dim, q, qRow, 1, base + mem.kT + key * a.dim, a.dim,
             0, false, s, mem.tileKeys);
    for (int64_t i = 0; i < rows; ++i) {
      float *si = s + i * mem.tileKeys;
      const int64_t seen = score(a, masks, row + i, key, n, si);
      const float m = std::max(most[i], simd::max(si, seen));
      // A row that sees nothing yet: exp(-inf - 0) = 0.
      const float shift = m == -HUGE_VALF ? 0.0f : m;
      const float p = simd::expAndSum(si, shift, si, seen);
      std::fill(si + seen, si + wide, 0.0f);
      if (key > 0) {
        const float keep = math::exp(most[i] - shift);
        sum[i] *= keep;
        float *oi = o + i * mem.valueDim;
        for (int64_t d = 0; d < mem.valueDim; ++d)
          oi[d] *= keep;
      }
      sum[i] += p;
      most[i] = m;
    }
    multiply(rows, mem.valueDim, n, s, mem.tileKeys, 1, base + mem.v, a.keys,
             key, key > 0, o, mem.valueDim);
  }
  for (int64_t i = 0; i < rows; ++i) {
    T *to = out + i * outRow;
    lse[i] = sum[i] == 0 ? -HUGE_VALF : most[i] + std::log(sum[i]);
    if (sum[i] == 0) {
      std::memset(to, 0, valueDim * sizeof(T));
      continue;
    }
    const float scale = 1.0f / sum[i], *oi = o + i * mem.valueDim;
#pragma GCC ivdep
    for (int64_t d = 0; d < valueDim; ++d)
      to[d] = static_cast<T>(oi[d] * scale);
  }
}
} // namespace

template <typename T>
void attention(Context &ctx, const Attention &a, const T *q, const T *k,
               const T *v, const uint8_t *mask, const float *bias, T *out,
               float *lse) {
  const Memory mem(a);
  const int64_t valueDim = a.valueDim ? a.valueDim : a.dim;
  const int64_t group = a.heads / a.kvHeads;
  const Strides qs = dense(a.q, a.heads, a.queries, a.dim);
  const Strides ks = dense(a.k, a.kvHeads, a.keys, a.dim);
  const Strides vs = dense(a.v, a.kvHeads, a.keys, valueDim);
  const Strides os = dense(a.out, a.heads, a.queries, valueDim);
  auto *memory = static_cast<float *>(
      ctx.scratch(ctx.threads * mem.size * sizeof(float)));
  // A task is a head of a batch; with too few of them, a part of its rows: then
  // packing is done once per part. A row's bits do not depend on the cut.
  const int64_t heads = a.batch * a.heads;
  const int64_t blocks = (a.queries + kRows - 1) / kRows;
  const int64_t parts =
      heads >= 4 * ctx.threads
          ? 1
          : std::min<int64_t>(blocks, (4 * ctx.threads + heads - 1) / heads);
  parallelTasks(ctx, heads * parts, [&](int64_t task) {
    const int64_t b = task / parts / a.heads, h = task / parts % a.heads;
    // The last rows see most keys under a causal mask: long tasks first.
    const int64_t part = parts - 1 - task % parts;
    float *base = memory + mem.size * (ctx.threads > 1 ? omp_get_thread_num() : 0);
    const int64_t begin = blocks * part / parts, end = blocks * (part + 1) / parts;
    const Masks masks(a, mask, bias, b, h);
    packTransposed(k + b * ks.batch + h / group * ks.head, ks.row, a.dim, a.keys,
                   base + mem.kT);
    pack(v + b * vs.batch + h / group * vs.head, vs.row, a.keys, valueDim,
         base + mem.v);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i * kRows;
      rowBlock(a, mem, masks, row, std::min(kRows, a.queries - row),
               q + b * qs.batch + h * qs.head + row * qs.row, qs.row, base,
               out + b * os.batch + h * os.head + row * os.row, os.row,
               lse + (b * a.heads + h) * a.queries + row);
    }
  });
}

template void attention(Context &, const Attention &, const float *, const float *,
                        const float *, const uint8_t *, const float *, float *, float *);
template void attention(Context &, const Attention &, const bf16 *, const bf16 *,
                        const bf16 *, const uint8_t *, const float *, bf16 *, float *);

} // namespace moire::rt
