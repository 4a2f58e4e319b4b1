//===- attention_wgmma.cu - Attention on the tensor cores, forward --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The algorithm of attention.cu for bf16 on sm_90a. A block has 128 queries of a
// head, 64 to each of two warpgroups; a third brings tiles of 128 keys and values
// into a ring. A softmax runs while the other warpgroup multiplies, and while the
// own one's product with the values before is under way:
//
//     scores 0 | softmax 0 | scores 1, values 0 | softmax 1 | scores 2, values 1 …
//
// Probabilities are rounded to bf16 for their product; sums are float.
//
//===----------------------------------------------------------------------===//

#include "cuda/attention_wgmma.cuh"
#include "moire/rt/cuda/launch.h"

namespace moire::rt {

namespace {
using namespace hopper;

constexpr int kQueries = 128, kKeys = 128;

/// Shared memory: the queries, a ring of tiles in the order of their use (keys 0,
/// keys 1, values 0, keys 2, values 1, …), barriers.
template <int D> struct Memory {
  static constexpr int kTile = headBytes<D>(kKeys), kQueryBytes = headBytes<D>(kQueries);
  static constexpr int kTiles = D == 64 ? 8 : 4;
  static constexpr int kShared = 1024 + kQueryBytes + kTiles * kTile + (2 * kTiles + 1) * 8;
};

/// A block's part of the work.
struct Part {
  int64_t first, rows, head, kvHead, batch;
  int32_t tiles; ///< of keys
};
[[maybe_unused]] __device__ inline Part partOf(const Attention &a) {
  Part p;
  // The last queries see most keys under a causal mask: long blocks first.
  p.first = (int64_t(gridDim.x) - 1 - blockIdx.x) * kQueries;
  p.rows = a.queries - p.first < kQueries ? a.queries - p.first : kQueries;
  p.head = blockIdx.y;
  p.kvHead = p.head / (a.heads / a.kvHeads);
  p.batch = blockIdx.z;
  p.tiles = int32_t((tile::keysBefore(a, p.first + p.rows) + kKeys - 1) / kKeys);
  return p;
}

template <int D>
__device__ void copyAll(const Part &part, const TensorMap &mapQ, const TensorMap &mapK,
                        const TensorMap &mapV, char *queries, Barrier *ready, Barrier *full,
                        Barrier *empty) {
  using M = Memory<D>;
  arriveExpecting(ready, M::kQueryBytes);
  copyHead<D, kQueries>(&mapQ, queries, ready, part.first, part.head, part.batch);
  Ring<M::kTiles> ring;
  for (int32_t i = 0; i < 2 * part.tiles; ++i, ring.advance()) {
    const bool last = i == 2 * part.tiles - 1, keys = !last && (i == 0 || i % 2);
    const int64_t number = keys ? (i + 1) / 2 : last ? part.tiles - 1 : i / 2 - 1;
    wait(empty + ring.stage, ring.parity ^ 1);
    arriveExpecting(full + ring.stage, M::kTile);
    copyHead<D, kKeys>(keys ? &mapK : &mapV, queries + M::kQueryBytes + ring.stage * M::kTile,
                       full + ring.stage, number * kKeys, part.kvHead, part.batch);
  }
}

/// What a thread keeps of its two rows.
struct Rows {
  float most[2], total[2]; ///< of products before scaling; total over own columns
  float keep[2];           ///< what the last maximum leaves of earlier sums
};

/// s → exp((s - max) · scale), hidden keys 0. query: of the thread's first row.
[[maybe_unused]] __device__ inline void softmax(const Attention &a, const HeadMask &mask,
                                                int64_t key, int64_t query, int64_t groupQuery,
                                                float (&s)[kKeys / 2], Rows &rows) {
  const float scale = a.scale * kLog2e;
  const int32_t column = int32_t(threadIdx.x) % 4 * 2;
  if (key + kKeys > a.keys || (a.causal && key + kKeys - 1 > groupQuery + a.causalOffset)) {
    // Columns from here on are hidden to the first and to the second row.
    const int64_t seen = query + a.causalOffset + 1 - key, left = a.keys - key;
    const int64_t limit[2] = {a.causal && seen < left ? seen : left,
                              a.causal && seen + 8 < left ? seen + 8 : left};
#pragma unroll
    for (int i = 0; i < kKeys / 2; ++i)
      if (i / 4 * 8 + column + i % 2 >= limit[i % 4 / 2])
        s[i] = -HUGE_VALF;
  }
  if (mask.data && mask.query == 0) {
    uint32_t hidden[kKeys / 32];
    hiddenKeys<kKeys>(mask, key, a.keys, hidden);
#pragma unroll
    for (int i = 0; i < kKeys / 2; ++i)
      if (hidden[i / 16] >> (i / 4 * 8 % 32 + i % 2) & 1)
        s[i] = -HUGE_VALF;
  } else if (mask.data) {
#pragma unroll
    for (int i = 0; i < kKeys / 2; ++i) {
      const int64_t j = key + i / 4 * 8 + column + i % 2, row = query + i % 4 / 2 * 8;
      if (j < a.keys && row < a.queries && mask.hides(row, j))
        s[i] = -HUGE_VALF;
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float most = rows.most[half];
#pragma unroll
    for (int i = 0; i < kKeys / 4; ++i)
      most = fmaxf(most, s[i / 2 * 4 + half * 2 + i % 2]);
    most = fmaxf(most, __shfl_xor_sync(kFullWarp, most, 1));
    most = fmaxf(most, __shfl_xor_sync(kFullWarp, most, 2));
    // A row that sees nothing yet: exp(-inf - 0) = 0.
    const float shift = most == -HUGE_VALF ? 0.0f : most * scale;
    rows.keep[half] = exp2Fast(fmaf(rows.most[half], scale, -shift));
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kKeys / 4; ++i) {
      float &x = s[i / 2 * 4 + half * 2 + i % 2];
      x = exp2Fast(fmaf(x, scale, -shift));
      sum += x;
    }
    rows.total[half] = fmaf(rows.total[half], rows.keep[half], sum);
    rows.most[half] = most;
  }
}

template <int D> __device__ inline void scaleRows(float (&o)[D / 2], const float (&by)[2]) {
#pragma unroll
  for (int i = 0; i < D / 2; ++i)
    o[i] *= by[i % 4 / 2];
}

template <int D>
__device__ void multiplyAll(const Attention &a, const Part &part, char *queries, Barrier *ready,
                            Barrier *full, Barrier *empty, const uint8_t *mask, bf16 *out,
                            float *lse) {
  using M = Memory<D>;
  const int32_t group = int32_t(threadIdx.x) / kGroup, lane = int32_t(threadIdx.x) % kWarp;
  const int32_t ownRow = int32_t(threadIdx.x) / kWarp * 16 + lane / 4;
  const int64_t query = part.first + ownRow, groupQuery = part.first + group * 64;
  const char *own = queries + group * 64 * 128, *tiles = queries + M::kQueryBytes;
  const HeadMask hidden{mask ? mask + part.batch * a.mask.batch + part.head * a.mask.head : nullptr,
                        a.mask.query, a.mask.key};
  float o[D / 2], s[kKeys / 2];
  uint32_t p[kKeys / 16][4];
  clear(o);
  Rows rows = {{-HUGE_VALF, -HUGE_VALF}, {0, 0}, {0, 0}};
  Ring<M::kTiles> ring;
  // Both warpgroups take the tiles of the ring in the same order.
  const auto take = [&] {
    wait(full + ring.stage, ring.parity);
    const int32_t stage = ring.stage;
    ring.advance();
    return stage;
  };
  const auto release = [&](int32_t stage) {
    if (lane == 0)
      arrive(empty + stage);
  };
  wait(ready, 0);
  if (part.tiles > 0) {
    const int32_t keys = take();
    clear(s);
    beginProducts();
    scores<D, kQueries, kKeys>(s, own, tiles + keys * M::kTile);
    commitProducts();
    waitProducts<0>();
    release(keys);
    softmax(a, hidden, 0, query, groupQuery, s, rows);
    narrow<kKeys>(s, p);
    for (int32_t i = 1; i < part.tiles; ++i) {
      const int32_t next = take(), values = take();
      clear(s);
      beginProducts();
      scores<D, kQueries, kKeys>(s, own, tiles + next * M::kTile);
      commitProducts();
      weigh<D, kKeys>(o, p, tiles + values * M::kTile);
      commitProducts();
      waitProducts<1>();
      release(next);
      softmax(a, hidden, int64_t(i) * kKeys, query, groupQuery, s, rows);
      waitProducts<0>();
      release(values);
      scaleRows<D>(o, rows.keep);
      narrow<kKeys>(s, p);
    }
    const int32_t values = take();
    beginProducts();
    weigh<D, kKeys>(o, p, tiles + values * M::kTile);
    commitProducts();
    waitProducts<0>();
  }

  float inverse[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float total = rows.total[half];
    total += __shfl_xor_sync(kFullWarp, total, 1);
    total += __shfl_xor_sync(kFullWarp, total, 2);
    inverse[half] = total == 0 ? 0.0f : 1.0f / total;
    if (lane % 4 == 0 && ownRow + half * 8 < part.rows)
      lse[(part.batch * a.heads + part.head) * a.queries + part.first + ownRow + half * 8] =
          total == 0 ? -HUGE_VALF : fmaf(rows.most[half], a.scale, math::log(total));
  }
  scaleRows<D>(o, inverse);
  const Place at{ownRow, int32_t(part.rows), lane % 4 * 2, D};
  storeTile<D>(o, at,
               out + part.batch * a.out.batch + part.head * a.out.head +
                   (part.first + at.row) * a.out.row + at.column,
               a.out.row);
}

template <int D>
__global__ void __launch_bounds__(kThreads, 1)
    attentionKernel(const __grid_constant__ Attention a, const __grid_constant__ TensorMap mapQ,
                    const __grid_constant__ TensorMap mapK, const __grid_constant__ TensorMap mapV,
                    const uint8_t *mask, bf16 *out, float *lse) {
#if MOIRE_SM90A
  using M = Memory<D>;
  MOIRE_SHARED_DYNAMIC(char, memory);
  char *queries = alignedShared(memory, 1024);
  auto *full = reinterpret_cast<Barrier *>(queries + M::kQueryBytes + M::kTiles * M::kTile);
  Barrier *empty = full + M::kTiles, *ready = empty + M::kTiles;
  if (threadIdx.x == 0) {
    for (int i = 0; i < M::kTiles; ++i) {
      initBarrier(full + i, 1);
      initBarrier(empty + i, kMultiplying / kWarp);
    }
    initBarrier(ready, 1);
    fenceBarriers();
  }
  __syncthreads();
  const Part part = partOf(a);
  if (threadIdx.x >= kMultiplying) {
    giveRegisters<56>();
    if (threadIdx.x == kMultiplying)
      copyAll<D>(part, mapQ, mapK, mapV, queries, ready, full, empty);
  } else {
    takeRegisters<224>();
    multiplyAll<D>(a, part, queries, ready, full, empty, mask, out, lse);
  }
#endif
}
} // namespace

bool tensorAttention(Context &ctx, const Attention &a, const bf16 *q, const bf16 *k, const bf16 *v,
                     const uint8_t *mask, const float *bias, bf16 *out, float *lse) {
  if (!takesHeads(a, bias, q, k, v, out) || !hasTensorCores(ctx))
    return false;
  const TensorMap mapQ = headMap(ctx, q, a.dim, a.queries, a.heads, a.batch, a.q, kQueries);
  const TensorMap mapK = headMap(ctx, k, a.dim, a.keys, a.kvHeads, a.batch, a.k, kKeys);
  const TensorMap mapV = headMap(ctx, v, a.dim, a.keys, a.kvHeads, a.batch, a.v, kKeys);
  const dim3 grid(static_cast<unsigned>((a.queries + kQueries - 1) / kQueries),
                  static_cast<unsigned>(a.heads), static_cast<unsigned>(a.batch));
  const auto launch = [&](auto dim) {
    constexpr int D = decltype(dim)::value;
    MOIRE_LAUNCH(streamOf(ctx), grid, dim3(kThreads), Memory<D>::kShared, attentionKernel<D>, a,
                 mapQ, mapK, mapV, mask, out, lse);
  };
  if (a.dim == 64)
    launch(std::integral_constant<int, 64>());
  else
    launch(std::integral_constant<int, 128>());
  return true;
}

} // namespace moire::rt
