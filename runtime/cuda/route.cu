//===- route.cu - Sorting pairs by expert ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A stable counting sort in two kernels. The pairs are cut into chunks, a block
// each:
//   histogram: counts[e, chunk] = pairs of the chunk that chose e.
//   place:     each block sums the counts of all experts and of the chunks before
//              its own, and so knows where its pairs of e begin; then it places
//              32 pairs a warp in order. Lanes with the same expert find one
//              another by ballots over the bits of the expert's number.
// Integers only, so the order of the atomic additions does not matter.
//
//===----------------------------------------------------------------------===//

#include "fault.h"
#include "moire/rt/cuda/launch.h"
#include "moire/rt/routing.h"
#include "warp.cuh"

#include <algorithm>

namespace moire::rt {

namespace {
/// How the pairs are cut.
struct Cut {
  int32_t warps;  ///< of a block
  int32_t rounds; ///< of warps · 32 pairs in a chunk
  int32_t chunks;
};
constexpr int32_t kMaxExperts = 4096;
/// Shared memory that a block takes for its tables: what needs no permission.
constexpr int32_t kTableBytes = 48 * 1024;

Cut cut(int64_t pairs, int64_t experts) {
  const int32_t rows = kTableBytes / 4 / int32_t(experts);
  const int32_t warps = std::clamp(rows - 2, 1, 16), perRound = warps * kWarp;
  // A block reads all counts: not more than a few hundred chunks.
  const int64_t perChunk = std::max<int64_t>(1024, pairs / 256);
  const int64_t rounds = (perChunk + perRound - 1) / perRound;
  return {warps, int32_t(rounds), int32_t((pairs + rounds * perRound - 1) / (rounds * perRound))};
}

/// The pairs that go to an expert: of a part of the micro-batch those of its rows.
struct Window {
  int64_t begin, end;
  /// -1: none.
  __device__ __forceinline__ int64_t expertOf(int64_t pair, const int64_t *ids) const {
    return pair >= begin && pair < end ? ids[pair] : -1;
  }
};
Window windowOf(const Context &ctx, const Routing &r) {
  const Context::Part &part = ctx.part;
  const int64_t perRow = part.rows ? r.rows() / part.rows : 0; // pairs of one
  return {part.begin * perRow, part.rows ? part.end * perRow : r.rows()};
}

/// An id that can be used as an index whatever it holds.
__device__ inline int32_t bounded(int64_t id, int64_t experts) {
  return id >= 0 && id < experts ? int32_t(id) : 0;
}

__global__ void histogramKernel(int64_t pairs, int32_t k, int32_t experts, Cut cut,
                                Window window, const int64_t *ids, int32_t *counts,
                                Fault *fault) {
  MOIRE_SHARED_DYNAMIC(int32_t, table);
  for (int32_t e = threadIdx.x; e < experts; e += blockDim.x)
    table[e] = 0;
  __syncthreads();
  for (int32_t round = 0; round < cut.rounds; ++round) {
    const int64_t p = (int64_t(blockIdx.x) * cut.rounds + round) * blockDim.x + threadIdx.x;
    if (p >= pairs)
      continue;
    const int64_t id = window.expertOf(p, ids);
    if (id == -1)
      continue;
    if (id < 0 || id >= experts)
      report(fault, FaultKind::expert, id, p / k, experts - 1);
    atomicAdd(&table[bounded(id, experts)], 1);
  }
  __syncthreads();
  for (int32_t e = threadIdx.x; e < experts; e += blockDim.x)
    counts[int64_t(e) * cut.chunks + blockIdx.x] = table[e];
}

__global__ void placeKernel(Routing r, Cut cut, Window window, const int64_t *ids,
                            const int32_t *counts) {
  MOIRE_SHARED_DYNAMIC(int32_t, table);
  const int32_t experts = int32_t(r.experts);
  const int32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  // next[e]: the row of the chunk's next pair of e. first[warp, e]: the same for
  // each warp of a round; its first row holds totals before.
  const int32_t next = 0, first = experts, total = first;

  for (int32_t e = warp; e < experts; e += cut.warps) {
    int32_t before = 0, all = 0;
    for (int32_t c = lane; c < cut.chunks; c += kWarp) {
      const int32_t n = counts[int64_t(e) * cut.chunks + c];
      all += n;
      before += c < int32_t(blockIdx.x) ? n : 0;
    }
    before = warpSum(before);
    all = warpSum(all);
    if (lane == 0) {
      table[next + e] = before;
      table[total + e] = all;
    }
  }
  __syncthreads();
  if (warp == 0) {
    int32_t start = 0;
    for (int32_t base = 0; base < experts; base += kWarp) {
      const int32_t e = base + lane, n = e < experts ? int32_t(table[total + e]) : 0;
      int32_t sum = n; // inclusive over the lanes
      for (int32_t d = 1; d < kWarp; d *= 2) {
        const int32_t left = __shfl_up_sync(kFullWarp, sum, d);
        sum += lane >= d ? left : 0;
      }
      if (e < experts) {
        table[next + e] += start + sum - n;
        if (blockIdx.x == 0)
          r.offsets[e] = start + sum - n;
      }
      start += __shfl_sync(kFullWarp, sum, kWarp - 1);
    }
    if (blockIdx.x == 0 && lane == 0)
      r.offsets[experts] = start;
  }
  __syncthreads();
  // Rows that no pair fills are gathered, too: from the first pair.
  if (blockIdx.x == 0)
    for (int64_t row = r.offsets[experts] + threadIdx.x; row < r.tokens * r.k; row += blockDim.x)
      r.rowToPair[row] = 0;

  for (int32_t round = 0; round < cut.rounds; ++round) {
    for (int32_t i = threadIdx.x; i < cut.warps * experts; i += blockDim.x)
      table[first + i] = 0;
    __syncthreads();
    const int64_t p = (int64_t(blockIdx.x) * cut.rounds + round) * blockDim.x + threadIdx.x;
    const bool inside = p < r.tokens * r.k, valid = inside && window.expertOf(p, ids) != -1;
    const int32_t e = valid ? bounded(ids[p], experts) : 0;
    unsigned same = __ballot_sync(kFullWarp, valid);
    for (int32_t bit = 1; bit < experts; bit *= 2) {
      const unsigned set = __ballot_sync(kFullWarp, (e & bit) != 0);
      same &= e & bit ? set : ~set;
    }
    const int32_t rank = __popc(same & ((1u << lane) - 1));
    if (valid && rank == 0)
      table[first + warp * experts + e] = __popc(same);
    __syncthreads();
    for (int32_t i = threadIdx.x; i < experts; i += blockDim.x) {
      int32_t row = table[next + i];
      for (int32_t w = 0; w < cut.warps; ++w) {
        const int32_t n = table[first + w * experts + i];
        table[first + w * experts + i] = row;
        row += n;
      }
      table[next + i] = row;
    }
    __syncthreads();
    if (valid) {
      const int32_t row = table[first + warp * experts + e] + rank;
      r.rowToPair[row] = int32_t(p);
      r.pairToRow[p] = row;
    } else if (inside) {
      r.pairToRow[p] = -1;
    }
    __syncthreads();
  }
}

__global__ void noRowsKernel(Routing r) {
  for (int64_t e = threadIdx.x; e <= r.experts; e += blockDim.x)
    r.offsets[e] = 0;
}
} // namespace

void route(Context &ctx, const Routing &r, const int64_t *ids) {
  if (r.experts > kMaxExperts)
    throw RunError(std::to_string(r.experts) + " experts are more than the CUDA runtime sorts; " +
                   "it takes up to " + std::to_string(kMaxExperts));
  if (r.rows() == 0) {
    MOIRE_LAUNCH(streamOf(ctx), dim3(1), dim3(256), 0, noRowsKernel, r);
    return;
  }
  const Cut c = cut(r.rows(), r.experts);
  const Window window = windowOf(ctx, r);
  auto *counts =
      static_cast<int32_t *>(ctx.scratch(r.experts * c.chunks * int64_t(sizeof(int32_t))));
  const dim3 grid(static_cast<unsigned>(c.chunks)), block(static_cast<unsigned>(c.warps * kWarp));
  MOIRE_LAUNCH(streamOf(ctx), grid, block, r.experts * 4, histogramKernel, r.rows(), int32_t(r.k),
               int32_t(r.experts), c, window, ids, counts, faultOf(ctx));
  MOIRE_LAUNCH(streamOf(ctx), grid, block, (c.warps + 1) * r.experts * 4, placeKernel, r, c,
               window, ids, static_cast<const int32_t *>(counts));
  checkFaultsOfModel(ctx);
}

} // namespace moire::rt
