//===- sort.cu - A stable radix sort --------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Eight bits a pass, least significant first, stable. Each block has a chunk of
// neighbouring items and counts its digits; a scan over (digit, chunk) gives
// where each block's items of each digit go; in the chunk, warps and then lanes
// keep the order. Counts are sums of integers, so atomics do not show.
//
//===----------------------------------------------------------------------===//

#include "cuda/sort.h"
#include "cuda/warp.cuh"

#include <algorithm>

namespace moire::rt {

namespace {
constexpr int kDigits = 256, kThreads = 256, kWarps = kThreads / kWarp, kChunk = 2048;

__global__ void __launch_bounds__(kThreads)
    countKernel(int64_t n, int shift, const uint32_t *keys, int32_t *counts) {
  MOIRE_SHARED(int32_t, bins, kDigits);
  bins[threadIdx.x] = 0;
  __syncthreads();
  const int64_t begin = int64_t(blockIdx.x) * kChunk;
  for (int i = threadIdx.x; i < kChunk; i += kThreads)
    if (begin + i < n)
      atomicAdd(&bins[keys[begin + i] >> shift & (kDigits - 1)], 1);
  __syncthreads();
  counts[int64_t(threadIdx.x) * gridDim.x + blockIdx.x] = bins[threadIdx.x];
}

/// counts → exclusive sums, by one block of 1024 threads.
__global__ void __launch_bounds__(1024) scanKernel(int64_t n, int32_t *counts) {
  MOIRE_SHARED(int32_t, warps, 32);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  int32_t carry = 0;
  for (int64_t i0 = 0; i0 < n; i0 += 1024) {
    const int64_t i = i0 + threadIdx.x;
    const int32_t own = i < n ? counts[i] : 0;
    int32_t sum = own;
    for (int d = 1; d < kWarp; d *= 2) {
      const int32_t left = __shfl_up_sync(kFullWarp, sum, d);
      sum += lane >= d ? left : 0;
    }
    if (lane == kWarp - 1)
      warps[warp] = sum;
    __syncthreads();
    const int32_t other = warps[lane];
    int32_t before = lane < warp ? other : 0;
    before = warpSum(before);
    if (i < n)
      counts[i] = carry + before + sum - own;
    carry += warpSum(other);
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kThreads)
    placeKernel(int64_t n, int shift, const uint32_t *keys, const int32_t *positions,
                const int32_t *starts, uint32_t *sortedKeys, int32_t *sortedPositions) {
  MOIRE_SHARED(int32_t, next, kDigits); // where the chunk's next item of a digit goes
  MOIRE_SHARED_MATRIX(int32_t, ofWarp, kWarps, kDigits);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  next[threadIdx.x] = starts[int64_t(threadIdx.x) * gridDim.x + blockIdx.x];
  const int64_t begin = int64_t(blockIdx.x) * kChunk;
  for (int i0 = 0; i0 < kChunk && begin + i0 < n; i0 += kThreads) {
    for (int d = lane; d < kDigits; d += kWarp)
      ofWarp[warp][d] = 0;
    __syncwarp();
    const int64_t i = begin + i0 + threadIdx.x;
    const bool valid = i < n;
    const uint32_t key = valid ? keys[i] : 0;
    const uint32_t digit = valid ? key >> shift & (kDigits - 1) : kDigits;
    const uint32_t same = __match_any_sync(kFullWarp, digit);
    const int rank = __popc(same & ((1u << lane) - 1));
    if (valid && rank == 0)
      ofWarp[warp][digit] = __popc(same);
    __syncthreads();
    int32_t at = next[threadIdx.x];
    for (int w = 0; w < kWarps; ++w) {
      const int32_t count = ofWarp[w][threadIdx.x];
      ofWarp[w][threadIdx.x] = at;
      at += count;
    }
    next[threadIdx.x] = at;
    __syncthreads();
    if (valid) {
      const int32_t to = ofWarp[warp][digit] + rank;
      sortedKeys[to] = key;
      sortedPositions[to] = positions ? positions[i] : int32_t(i);
    }
    __syncthreads();
  }
}

int64_t chunksOf(int64_t n) { return (n + kChunk - 1) / kChunk; }
int64_t padded(int64_t n) { return (n + 63) / 64 * 64; }
} // namespace

int64_t sortBytes(int64_t n) { return 4 * (3 * padded(n) + kDigits * chunksOf(n)); }

Sorted sortKeys(Context &ctx, int64_t n, int bits, uint32_t *keys, void *memory) {
  auto *otherKeys = static_cast<uint32_t *>(memory);
  auto *positions = reinterpret_cast<int32_t *>(otherKeys + padded(n));
  int32_t *otherPositions = positions + padded(n), *counts = otherPositions + padded(n);
  const int64_t chunks = chunksOf(n);
  const dim3 blocks{unsigned(chunks)};
  const int32_t *from = nullptr; // position i is at place i
  int shift = 0;
  do {
    MOIRE_LAUNCH(streamOf(ctx), blocks, kThreads, 0, countKernel, n, shift, keys, counts);
    MOIRE_LAUNCH(streamOf(ctx), 1, 1024, 0, scanKernel, kDigits * chunks, counts);
    MOIRE_LAUNCH(streamOf(ctx), blocks, kThreads, 0, placeKernel, n, shift, keys, from, counts,
                 otherKeys, positions);
    from = positions;
    std::swap(keys, otherKeys);
    std::swap(positions, otherPositions);
    shift += 8;
  } while (shift < bits);
  return {keys, from};
}

} // namespace moire::rt
