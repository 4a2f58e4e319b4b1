//===- balance.cu - How full experts are ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A warp to an expert walks over all pairs, 32 at a time, and counts its own by
// ballots: no atomics, one order. 4,096 tokens of 8 choices are 1,024 steps of a warp
// over ids that all warps read.
//
//===----------------------------------------------------------------------===//

#include "moire/rt/balance.h"
#include "moire/rt/cuda/launch.h"
#include "warp.cuh"

namespace moire::rt {

namespace {
constexpr int kExpertsPerBlock = 4;

/// body(pair, is this lane's pair one of the expert's?) for the pairs first,
/// first + step, … of `count`, by all lanes at once.
template <typename Body>
__device__ inline void eachPair(int64_t first, int64_t step, int64_t count, Body &&body) {
  for (int64_t i = 0; i < count; i += kWarp) {
    const int64_t at = i + threadIdx.x;
    body(first + at * step, at < count);
  }
}

__global__ void countsKernel(int64_t tokens, int64_t k, int64_t experts, const int64_t *ids,
                             float *counts) {
  const int64_t e = int64_t(blockIdx.x) * kExpertsPerBlock + threadIdx.y;
  if (e >= experts) // the whole warp
    return;
  for (int64_t j = 0; j < k; ++j) {
    int64_t sum = 0;
    eachPair(j, k, tokens, [&](int64_t p, bool inside) {
      sum += __popc(__ballot_sync(kFullWarp, inside && ids[p] == e));
    });
    if (threadIdx.x == 0)
      counts[j * experts + e] = float(sum);
  }
}

__global__ void noneKernel(int64_t n, int64_t *kept) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n)
    kept[i] = -1;
}

__global__ void capacityKernel(Capacity c, const int64_t *ids, const float *counts,
                               const int64_t *shard, int64_t *kept) {
  const int64_t e = int64_t(blockIdx.x) * kExpertsPerBlock + threadIdx.y;
  if (e >= c.experts)
    return;
  int64_t before = 0;
  auto passOthers = [&](int64_t s, int64_t j) {
    before += int64_t(counts[(s * c.k + j) * c.experts + e]);
  };
  auto take = [&](int64_t p, bool inside) {
    const bool mine = inside && ids[p] == e;
    const unsigned all = __ballot_sync(kFullWarp, mine);
    const int64_t number = before + __popc(all & ((1u << threadIdx.x) - 1));
    if (mine && number < c.slots)
      kept[p] = e;
    before += __popc(all);
  };
  if (!c.choicesFirst) {
    for (int64_t s = 0; s < *shard; ++s)
      for (int64_t j = 0; j < c.k; ++j)
        passOthers(s, j);
    eachPair(0, 1, c.tokens * c.k, take);
    return;
  }
  for (int64_t j = 0; j < c.k; ++j) {
    for (int64_t s = 0; s < *shard; ++s)
      passOthers(s, j);
    eachPair(j, c.k, c.tokens, take);
    for (int64_t s = *shard + 1; s < c.shards; ++s)
      passOthers(s, j);
  }
}

unsigned blocksFor(int64_t experts) {
  return unsigned((experts + kExpertsPerBlock - 1) / kExpertsPerBlock);
}
} // namespace

void choiceCounts(Context &ctx, int64_t tokens, int64_t k, int64_t experts, const int64_t *ids,
                  float *counts) {
  MOIRE_LAUNCH(streamOf(ctx), dim3(blocksFor(experts)), dim3(kWarp, kExpertsPerBlock), 0,
               countsKernel, tokens, k, experts, ids, counts);
}

void limitToCapacity(Context &ctx, const Capacity &c, const int64_t *ids, const float *counts,
                     const int64_t *shard, int64_t *kept) {
  const int64_t pairs = c.tokens * c.k;
  if (pairs == 0)
    return;
  MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned((pairs + 255) / 256)), dim3(256), 0, noneKernel, pairs,
               kept);
  MOIRE_LAUNCH(streamOf(ctx), dim3(blocksFor(c.experts)), dim3(kWarp, kExpertsPerBlock), 0,
               capacityKernel, c, ids, counts, shard, kept);
}

} // namespace moire::rt
