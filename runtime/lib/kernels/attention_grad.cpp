//===- attention_grad.cpp - Attention, backward ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// FlashAttention's backward (Dao et al. 2022, algorithm 4) on tiles:
//   p = exp(s - lse);  dp = dout vᵀ;  delta_i = <dout_i, out_i>;
//   ds = p (dp - delta) · scale;
//   dv += pᵀ dout;  dk += dsᵀ q;  dq += ds k.
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
  int64_t dim, valueDim, keys, tileKeys, size = 0;
  int64_t k, kT, vT, q, dout, p, ds, dq, dk, dv, qRows, doutRows, outRow;
  explicit Memory(const Attention &a)
      : dim(padded(a.dim)), valueDim(padded(a.valueDim ? a.valueDim : a.dim)),
        keys(padded(a.keys)), tileKeys(std::min(keys, kKeys) + 16) {
    auto take = [&](int64_t n) {
      int64_t at = size;
      size += n;
      return at;
    };
    k = take(a.keys * dim);
    kT = take(a.dim * keys);
    vT = take((a.valueDim ? a.valueDim : a.dim) * keys);
    q = take(kRows * dim);
    dout = take(kRows * valueDim);
    p = take(kRows * tileKeys);
    ds = take(kRows * tileKeys);
    dq = take(kRows * dim);
    dk = take(keys * dim);
    dv = take(keys * valueDim);
    // Rows as floats where they are bf16.
    qRows = take(kRows * dim);
    doutRows = take(kRows * valueDim);
    outRow = take(valueDim);
  }
};

/// p[0, n) from the products s of one row; zeros beyond what it sees.
void probabilities(const Attention &a, const Masks &masks, int64_t row,
                   int64_t key, int64_t n, int64_t wide, float lse, float *s) {
  int64_t seen = score(a, masks, row, key, n, s);
  if (lse == -HUGE_VALF)
    seen = 0;
#pragma GCC ivdep
  for (int64_t j = 0; j < seen; ++j)
    s[j] = math::exp(s[j] - lse);
  std::fill(s + seen, s + wide, 0.0f);
}

template <typename T> struct HeadPointers {
  const T *q, *out, *dout;
  const float *lse;
  T *dq;
};

template <typename T>
void rowBlock(const Attention &a, const Memory &mem, const Masks &masks,
              int64_t row, int64_t rows, const HeadPointers<T> &at, int64_t qStride,
              int64_t outRow, int64_t doutStride, int64_t dqRow, float *base) {
  const int64_t valueDim = a.valueDim ? a.valueDim : a.dim;
  float *p = base + mem.p, *ds = base + mem.ds, *dq = base + mem.dq;
  const auto [q, qRow] = asFloats(at.q, qStride, rows, a.dim, base + mem.qRows);
  const auto [dout, doutRow] =
      asFloats(at.dout, doutStride, rows, valueDim, base + mem.doutRows);
  float delta[kRows];
  for (int64_t i = 0; i < rows; ++i) {
    const FloatRows out = asFloats(at.out + i * outRow, outRow, 1, valueDim, base + mem.outRow);
    delta[i] = simd::dot(dout + i * doutRow, out.data, valueDim);
  }
  pack(q, qRow, rows, a.dim, base + mem.q);
  pack(dout, doutRow, rows, valueDim, base + mem.dout);
  std::memset(dq, 0, rows * mem.dim * sizeof(float));
  const int64_t limit = visibleKeys(a, masks, row, rows);
  for (int64_t key = 0; key < limit; key += kKeys) {
    const int64_t n = std::min(kKeys, limit - key), wide = padded(n);
    multiply(rows, wide, a.dim, q, qRow, 1, base + mem.kT + key * a.dim,
             a.dim, 0, false, p, mem.tileKeys);
    multiply(rows, wide, valueDim, dout, doutRow, 1,
             base + mem.vT + key * valueDim, valueDim, 0, false, ds,
             mem.tileKeys);
    for (int64_t i = 0; i < rows; ++i) {
      float *pi = p + i * mem.tileKeys, *dsi = ds + i * mem.tileKeys;
      probabilities(a, masks, row + i, key, n, wide, at.lse[i], pi);
      const float d = delta[i], scale = a.scale;
#pragma GCC ivdep
      for (int64_t j = 0; j < wide; ++j)
        dsi[j] = pi[j] * (dsi[j] - d) * scale;
    }
    multiply(n, mem.valueDim, rows, p, 1, mem.tileKeys, base + mem.dout, rows, 0,
             true, base + mem.dv + key * mem.valueDim, mem.valueDim);
    multiply(n, mem.dim, rows, ds, 1, mem.tileKeys, base + mem.q, rows, 0, true,
             base + mem.dk + key * mem.dim, mem.dim);
    multiply(rows, mem.dim, n, ds, mem.tileKeys, 1, base + mem.k, a.keys, key,
             true, dq, mem.dim);
  }
  for (int64_t i = 0; i < rows; ++i)
    storeRow(dq + i * mem.dim, a.dim, at.dq + i * dqRow);
}

Strides given(const Strides &own, const Strides &other) {
  return own.batch || own.head || own.row ? own : other;
}
} // namespace

template <typename T>
void attentionGrad(Context &ctx, const Attention &a, const T *q, const T *k,
                   const T *v, const uint8_t *mask, const float *bias,
                   const T *out, const float *lse, const T *dout, T *dq, T *dk,
                   T *dv) {
  const Memory mem(a);
  const int64_t valueDim = a.valueDim ? a.valueDim : a.dim;
  const int64_t group = a.heads / a.kvHeads;
  const Strides qs = dense(a.q, a.heads, a.queries, a.dim);
  const Strides ks = dense(a.k, a.kvHeads, a.keys, a.dim);
  const Strides vs = dense(a.v, a.kvHeads, a.keys, valueDim);
  const Strides os = dense(a.out, a.heads, a.queries, valueDim);
  const Strides dqs = given(a.dq, qs), dks = given(a.dk, ks),
                dvs = given(a.dv, vs), dos = given(a.dout, os);
  auto *memory = static_cast<float *>(
      ctx.scratch(ctx.threads * mem.size * sizeof(float)));
  // A task owns a key head, so that dk and dv are summed by one thread: its
  // query heads ascending, their rows ascending.
  parallelTasks(ctx, a.batch * a.kvHeads, [&](int64_t task) {
    const int64_t b = task / a.kvHeads, kv = task % a.kvHeads;
    float *base = memory + mem.size * (ctx.threads > 1 ? omp_get_thread_num() : 0);
    const T *kh = k + b * ks.batch + kv * ks.head;
    pack(kh, ks.row, a.keys, a.dim, base + mem.k);
    packTransposed(kh, ks.row, a.dim, a.keys, base + mem.kT);
    packTransposed(v + b * vs.batch + kv * vs.head, vs.row, valueDim, a.keys,
                   base + mem.vT);
    std::memset(base + mem.dk, 0, mem.keys * mem.dim * sizeof(float));
    std::memset(base + mem.dv, 0, mem.keys * mem.valueDim * sizeof(float));
    for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
      const Masks masks(a, mask, bias, b, h);
      for (int64_t row = 0; row < a.queries; row += kRows) {
        HeadPointers<T> at = {q + b * qs.batch + h * qs.head + row * qs.row,
                           out + b * os.batch + h * os.head + row * os.row,
                           dout + b * dos.batch + h * dos.head + row * dos.row,
                           lse + (b * a.heads + h) * a.queries + row,
                           dq + b * dqs.batch + h * dqs.head + row * dqs.row};
        rowBlock(a, mem, masks, row, std::min(kRows, a.queries - row), at,
                 qs.row, os.row, dos.row, dqs.row, base);
      }
    }
    for (int64_t j = 0; j < a.keys; ++j) {
      storeRow(base + mem.dk + j * mem.dim, a.dim,
               dk + b * dks.batch + kv * dks.head + j * dks.row);
      storeRow(base + mem.dv + j * mem.valueDim, valueDim,
               dv + b * dvs.batch + kv * dvs.head + j * dvs.row);
    }
  });
}

template void attentionGrad(Context &, const Attention &, const float *, const float *,
                            const float *, const uint8_t *, const float *, const float *,
                            const float *, const float *, float *, float *, float *);
template void attentionGrad(Context &, const Attention &, const bf16 *, const bf16 *,
                            const bf16 *, const uint8_t *, const float *, const bf16 *,
                            const float *, const bf16 *, bf16 *, bf16 *, bf16 *);

} // namespace moire::rt
