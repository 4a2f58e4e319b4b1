//===- attention_wgmma_grad.cu - Attention on the tensor cores, backward --===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The algorithm of attention_grad.cu for bf16 on sm_90a, twice the same kernel.
// A block owns 128 rows, 64 to each of two warpgroups, and goes over tiles of 64
// columns that a third brings:
//
//     owned    resident   brought    s = …     dp = …     sums
//     queries  q, dout    k, v       q kᵀ      dout vᵀ    dq += ds k
//     keys     k, v       q, dout    k qᵀ      v doutᵀ    dk += ds q,  dv += p dout
//
// Scores of owned keys come out transposed, so that they are, as they lie in
// registers, the left factors of the sums. p and ds are rounded to bf16 for them.
// No block adds to another's result: the same bits every time.
//
//===----------------------------------------------------------------------===//

#include "cuda/attention_wgmma.cuh"
#include "moire/rt/cuda/launch.h"

#include <algorithm>

namespace moire::rt {

namespace {
using namespace hopper;

constexpr int kOwned = 128, kBrought = 64;

/// Shared memory: two resident tiles, a ring of pairs of tiles, barriers.
template <int D> struct Memory {
  static constexpr int kResident = headBytes<D>(kOwned), kTile = headBytes<D>(kBrought);
  static constexpr int kPairs = 4;
  static constexpr int kShared = 1024 + 2 * kResident + kPairs * 2 * kTile + (2 * kPairs + 1) * 8;
};

/// What of the problem a kernel reads, rows as the header's table has them.
struct Problem {
  int32_t heads, kvHeads, queries, keys;
  float scale;
  /// Key j is visible to query i if j <= i + offset; without a causal mask offset
  /// is larger than any key.
  int32_t offset;
  const float *lse, *delta;
  const uint8_t *mask; ///< or null
  MaskStrides maskStrides;
};
struct Result {
  bf16 *data;
  Strides strides;
};

/// A block's part of the work, and its walk over tiles: for owned keys over the
/// query heads of the group and their queries, for owned queries over keys.
template <bool keysOwned> class Walk {
public:
  __device__ explicit Walk(const Problem &p)
      : batch(int32_t(blockIdx.z)), ownHead(int32_t(blockIdx.y)) {
    const int32_t group = p.heads / p.kvHeads;
    // Long blocks first under a causal mask.
    own = int32_t(keysOwned ? blockIdx.x : gridDim.x - 1 - blockIdx.x) * kOwned;
    rows = (keysOwned ? p.keys : p.queries) - own;
    rows = rows < kOwned ? rows : kOwned;
    if (keysOwned) {
      head = ownHead * group;
      heads = head + group;
      // The first tile with a query that sees the first key.
      begin = own > p.offset ? (own - p.offset) / kBrought * kBrought : 0;
      end = p.queries;
    } else {
      head = ownHead / group;
      heads = head + 1;
      begin = 0;
      end = p.keys - own - rows < p.offset ? p.keys : own + rows + p.offset;
    }
    at = begin;
  }
  /// The tile's first row and head; false after the last.
  __device__ bool next(int32_t &row, int32_t &tileHead) {
    if (at >= end) {
      at = begin;
      ++head;
    }
    if (head >= heads || begin >= end)
      return false;
    row = at;
    tileHead = head;
    at += kBrought;
    return true;
  }

  int32_t batch, ownHead, own, rows;

private:
  int32_t head, heads, begin, end, at;
};

template <int D, bool keysOwned>
__device__ void copyAll(const Problem &p, const TensorMap &ownA, const TensorMap &ownB,
                        const TensorMap &mapA, const TensorMap &mapB, char *resident,
                        Barrier *ready, Barrier *full, Barrier *empty) {
  using M = Memory<D>;
  Walk<keysOwned> walk(p);
  arriveExpecting(ready, 2 * M::kResident);
  copyHead<D, kOwned>(&ownA, resident, ready, walk.own, walk.ownHead, walk.batch);
  copyHead<D, kOwned>(&ownB, resident + M::kResident, ready, walk.own, walk.ownHead, walk.batch);
  Ring<M::kPairs> ring;
  for (int32_t row, head; walk.next(row, head); ring.advance()) {
    char *pair = resident + 2 * M::kResident + ring.stage * 2 * M::kTile;
    wait(empty + ring.stage, ring.parity ^ 1);
    arriveExpecting(full + ring.stage, 2 * M::kTile);
    copyHead<D, kBrought>(&mapA, pair, full + ring.stage, row, head, walk.batch);
    copyHead<D, kBrought>(&mapB, pair + M::kTile, full + ring.stage, row, head, walk.batch);
  }
}

/// lse · log2 e of a query, so that a hidden one's probabilities become 0.
[[maybe_unused]] __device__ inline float exponent(const Problem &p, const float *lse,
                                                  int32_t query) {
  const float x = query < p.queries ? lse[query] : -HUGE_VALF;
  return x == -HUGE_VALF ? HUGE_VALF : x * kLog2e;
}

template <int D, bool keysOwned, bool hasMask>
__device__ void multiplyAll(const Problem &p, char *resident, Barrier *ready, Barrier *full,
                            Barrier *empty, const Result &first, const Result &second) {
  using M = Memory<D>;
  const int32_t group = int32_t(threadIdx.x) / kGroup, lane = int32_t(threadIdx.x) % kWarp;
  const int32_t ownRow = int32_t(threadIdx.x) / kWarp * 16 + lane / 4, column = lane % 4 * 2;
  const char *ownA = resident + group * 64 * 128, *ownB = ownA + M::kResident;
  const float scale = p.scale * kLog2e;
  Walk<keysOwned> walk(p);
  float sumA[D / 2], sumB[keysOwned ? D / 2 : 8]; // of ds, of p
  clear(sumA);
  clear(sumB);
  float ownLse[2], ownDelta[2];
  if (!keysOwned) {
    const int64_t base = int64_t(walk.batch * p.heads + walk.ownHead) * p.queries;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int32_t query = walk.own + ownRow + half * 8;
      ownLse[half] = exponent(p, p.lse + base, query);
      ownDelta[half] = query < p.queries ? p.delta[base + query] : 0.0f;
    }
  }
  Ring<M::kPairs> ring;
  wait(ready, 0);
  for (int32_t row, head; walk.next(row, head); ring.advance()) {
    const char *tileA = resident + 2 * M::kResident + ring.stage * 2 * M::kTile;
    const char *tileB = tileA + M::kTile;
    float s[kBrought / 2], dp[kBrought / 2];
    clear(s);
    clear(dp);
    wait(full + ring.stage, ring.parity);
    beginProducts();
    scores<D, kOwned, kBrought>(s, ownA, tileA);
    commitProducts();
    scores<D, kOwned, kBrought>(dp, ownB, tileB);
    commitProducts();
    // Nothing may be under way in code with many branches.
    waitProducts<hasMask ? 0 : 1>();
    const int64_t base = int64_t(walk.batch * p.heads + head) * p.queries;
    // s[i] is of brought row `other`, own row ownRow + 8 half.
    const int32_t firstOwn = walk.own + ownRow, firstOther = row + column;
    const auto keyOf = [&](int i) {
      return keysOwned ? firstOwn + i % 4 / 2 * 8 : firstOther + i / 4 * 8 + i % 2;
    };
    const auto queryOf = [&](int i) {
      return keysOwned ? firstOther + i / 4 * 8 + i % 2 : firstOwn + i % 4 / 2 * 8;
    };
    const int32_t lastKey = keysOwned ? walk.own + group * 64 + 63 : row + kBrought - 1;
    const int32_t firstQuery = keysOwned ? row : walk.own + group * 64;
    if (lastKey >= p.keys || lastKey - firstQuery > p.offset) {
#pragma unroll
      for (int i = 0; i < kBrought / 2; ++i)
        if (keyOf(i) >= p.keys || keyOf(i) - queryOf(i) > p.offset)
          s[i] = -HUGE_VALF;
    }
    if constexpr (hasMask) {
      const int64_t maskHead = keysOwned ? head : walk.ownHead;
      const HeadMask mask{p.mask + walk.batch * p.maskStrides.batch + maskHead * p.maskStrides.head,
                          p.maskStrides.query, p.maskStrides.key};
      if (mask.query == 0) {
        // Of the brought keys or the two own ones.
        uint32_t hidden[kBrought / 32];
        if constexpr (keysOwned) {
#pragma unroll
          for (int half = 0; half < 2; ++half)
            hidden[half] = keyOf(2 * half) < p.keys && mask.hides(0, keyOf(2 * half));
        } else {
          hiddenKeys<kBrought>(mask, row, p.keys, hidden);
        }
#pragma unroll
        for (int i = 0; i < kBrought / 2; ++i)
          if (keysOwned ? hidden[i % 4 / 2] : hidden[i / 16] >> (i / 4 * 8 % 32 + i % 2) & 1)
            s[i] = -HUGE_VALF;
      } else {
#pragma unroll
        for (int i = 0; i < kBrought / 2; ++i)
          if (keyOf(i) < p.keys && queryOf(i) < p.queries && mask.hides(queryOf(i), keyOf(i)))
            s[i] = -HUGE_VALF;
      }
    }
#pragma unroll
    for (int i = 0; i < kBrought / 8; ++i)
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const float lse = keysOwned ? exponent(p, p.lse + base, firstOther + i * 8 + c) : 0.0f;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float &x = s[4 * i + 2 * half + c];
          x = exp2Fast(fmaf(x, scale, -(keysOwned ? lse : ownLse[half])));
        }
      }
    if constexpr (keysOwned) {
      uint32_t narrowP[kBrought / 16][4];
      narrow<kBrought>(s, narrowP);
      beginProducts();
      weigh<D, kBrought>(sumB, narrowP, tileB);
      commitProducts();
    }
    waitProducts<0>();
#pragma unroll
    for (int i = 0; i < kBrought / 8; ++i)
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int32_t other = row + i * 8 + column + c;
        const float delta = keysOwned && other < p.queries ? p.delta[base + other] : 0.0f;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int at = 4 * i + 2 * half + c;
          dp[at] = s[at] * (dp[at] - (keysOwned ? delta : ownDelta[half])) * p.scale;
        }
      }
    uint32_t narrowS[kBrought / 16][4];
    narrow<kBrought>(dp, narrowS);
    beginProducts();
    weigh<D, kBrought>(sumA, narrowS, tileA);
    commitProducts();
    waitProducts<0>();
    if (lane == 0)
      arrive(empty + ring.stage);
  }

  const Place at{ownRow, walk.rows, column, D};
  const auto store = [&](const Result &r, const float(&sum)[D / 2]) {
    storeTile<D>(sum, at,
                 r.data + walk.batch * r.strides.batch + walk.ownHead * r.strides.head +
                     int64_t(walk.own + at.row) * r.strides.row + at.column,
                 r.strides.row);
  };
  store(first, sumA);
  if constexpr (keysOwned)
    store(second, sumB);
}

template <int D, bool keysOwned, bool hasMask>
__global__ void __launch_bounds__(kThreads, 1)
    gradKernel(const __grid_constant__ Problem p, const __grid_constant__ TensorMap ownA,
               const __grid_constant__ TensorMap ownB, const __grid_constant__ TensorMap mapA,
               const __grid_constant__ TensorMap mapB, const __grid_constant__ Result first,
               const __grid_constant__ Result second) {
#if MOIRE_SM90A
  using M = Memory<D>;
  MOIRE_SHARED_DYNAMIC(char, memory);
  char *resident = alignedShared(memory, 1024);
  auto *full = reinterpret_cast<Barrier *>(resident + 2 * M::kResident + M::kPairs * 2 * M::kTile);
  Barrier *empty = full + M::kPairs, *ready = empty + M::kPairs;
  if (threadIdx.x == 0) {
    for (int i = 0; i < M::kPairs; ++i) {
      initBarrier(full + i, 1);
      initBarrier(empty + i, kMultiplying / kWarp);
    }
    initBarrier(ready, 1);
    fenceBarriers();
  }
  __syncthreads();
  if (threadIdx.x >= kMultiplying) {
    giveRegisters<24>();
    if (threadIdx.x == kMultiplying)
      copyAll<D, keysOwned>(p, ownA, ownB, mapA, mapB, resident, ready, full, empty);
  } else {
    takeRegisters<240>();
    multiplyAll<D, keysOwned, hasMask>(p, resident, ready, full, empty, first, second);
  }
#endif
}
} // namespace

bool tensorAttentionGrad(Context &ctx, const Attention &a, const bf16 *q, const bf16 *k,
                         const bf16 *v, const uint8_t *mask, const float *bias, const float *lse,
                         const bf16 *dout, const float *delta, bf16 *dq, bf16 *dk, bf16 *dv) {
  if (!takesHeads(a, bias, q, k, v, dout, dq, dk, dv) || !hasTensorCores(ctx))
    return false;
  const int64_t most = INT32_MAX / 2;
  const Problem p{int32_t(a.heads),
                  int32_t(a.kvHeads),
                  int32_t(a.queries),
                  int32_t(a.keys),
                  a.scale,
                  int32_t(a.causal ? std::clamp(a.causalOffset, -most, most) : most),
                  lse,
                  delta,
                  mask,
                  a.mask};
  const auto queries = [&](const bf16 *data, const Strides &s, int64_t rows) {
    return headMap(ctx, data, a.dim, a.queries, a.heads, a.batch, s, rows);
  };
  const auto keys = [&](const bf16 *data, const Strides &s, int64_t rows) {
    return headMap(ctx, data, a.dim, a.keys, a.kvHeads, a.batch, s, rows);
  };
  const auto blocks = [&](int64_t rows, int64_t heads) {
    return dim3(static_cast<unsigned>((rows + kOwned - 1) / kOwned), static_cast<unsigned>(heads),
                static_cast<unsigned>(a.batch));
  };
  const auto launch = [&](auto dim, auto masked) {
    constexpr int D = decltype(dim)::value;
    constexpr bool hasMask = decltype(masked)::value;
    MOIRE_LAUNCH(streamOf(ctx), blocks(a.queries, a.heads), dim3(kThreads), Memory<D>::kShared,
                 gradKernel<D, false, hasMask>, p, queries(q, a.q, kOwned),
                 queries(dout, a.dout, kOwned), keys(k, a.k, kBrought), keys(v, a.v, kBrought),
                 Result{dq, a.dq}, Result{});
    MOIRE_LAUNCH(streamOf(ctx), blocks(a.keys, a.kvHeads), dim3(kThreads), Memory<D>::kShared,
                 gradKernel<D, true, hasMask>, p, keys(k, a.k, kOwned), keys(v, a.v, kOwned),
                 queries(q, a.q, kBrought), queries(dout, a.dout, kBrought), Result{dk, a.dk},
                 Result{dv, a.dv});
  };
  const auto withMask = [&](auto dim) {
    mask ? launch(dim, std::true_type()) : launch(dim, std::false_type());
  };
  if (a.dim == 64)
    withMask(std::integral_constant<int, 64>());
  else
    withMask(std::integral_constant<int, 128>());
  return true;
}

} // namespace moire::rt
