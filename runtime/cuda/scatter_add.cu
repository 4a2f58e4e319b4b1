//===- scatter_add.cu - Adding rows to indexed rows -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The gradient of an embedding. Atomics on floats would make the sum's order
// chance, so updates are sorted by their row (sort.h); neighbours that share a
// row are a run. Runs are cut into pieces of kPiece updates, counted from the
// run's start, so that a frequent token (padding) does not leave the GPU to one
// block; the pieces of a long run are added in order by a second kernel. Bound
// by memory: an update is read once and a row written once.
//
//===----------------------------------------------------------------------===//

#include "cuda/scatter_add.h"
#include "cuda/sort.h"

#include <algorithm>

namespace moire::rt::device {

namespace {
using rows::Pack;
constexpr int kPiece = 32;

/// The updates in order of their rows; a key equal to `none` is no row.
struct Runs {
  int64_t count;
  uint32_t none;
  const uint32_t *keys;
  const int32_t *updates;

  __device__ __forceinline__ bool same(int64_t j, uint32_t key) const {
    return j >= 0 && j < count && keys[j] == key;
  }
  /// Where the run of place j begins.
  __device__ __forceinline__ int64_t start(int64_t j, uint32_t key) const {
    int64_t low = 0, high = j;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (keys[middle] < key)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
};
/// The partial sum of the piece that begins at place j. In a window of kPiece
/// places begins at most one piece that is the first of a long run, and at most
/// one that is not a first.
__device__ __forceinline__ int64_t slot(int64_t j, bool first) { return j / kPiece * 2 + first; }

template <typename Target>
__global__ void __launch_bounds__(256)
    keysKernel(Target target, int64_t count, uint32_t none, uint32_t *keys) {
  const int64_t u = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (u >= count)
    return;
  const int64_t row = target.of(u, true);
  keys[u] = row < 0 ? none : uint32_t(row);
}

template <typename T, int W>
__device__ __forceinline__ void add(Pack<T, W> &sum, const Pack<T, W> &v) {
#pragma unroll
  for (int i = 0; i < W; ++i)
    sum.at[i] = static_cast<T>(sum.at[i] + v.at[i]);
}

/// One piece to a row of the block; most places begin none.
template <typename T, int W>
__global__ void __launch_bounds__(rows::kThreads)
    piecesKernel(Runs runs, int64_t vectors, const Pack<T, W> *updates, Pack<T, W> *y,
                 Pack<T, W> *partial) {
  const int64_t j = rows::row();
  if (j >= runs.count || runs.keys[j] == runs.none)
    return;
  const uint32_t key = runs.keys[j];
  const bool first = !runs.same(j - 1, key);
  if (!first && (!runs.same(j - kPiece, key) || (j - runs.start(j, key)) % kPiece))
    return;
  const bool whole = first && !runs.same(j + kPiece, key);
  int n = 1;
  while (n < kPiece && runs.same(j + n, key))
    ++n;
  Pack<T, W> *to = whole ? y + int64_t(key) * vectors : partial + slot(j, first) * vectors;
  for (int64_t c = threadIdx.x; c < vectors; c += blockDim.x) {
    Pack<T, W> sum = {};
    if (whole)
      sum = to[c];
    for (int k0 = 0; k0 < n; k0 += 4) { // four loads in flight
      Pack<T, W> v[4];
#pragma unroll
      for (int k = 0; k < 4; ++k)
        if (k0 + k < n)
          v[k] = updates[runs.updates[j + k0 + k] * vectors + c];
#pragma unroll
      for (int k = 0; k < 4; ++k)
        if (k0 + k < n)
          add(sum, v[k]);
    }
    to[c] = sum;
  }
}

/// The pieces of each long run.
template <typename T, int W>
__global__ void __launch_bounds__(rows::kThreads)
    joinKernel(Runs runs, int64_t vectors, const Pack<T, W> *partial, Pack<T, W> *y) {
  const int64_t j = rows::row();
  if (j >= runs.count || runs.keys[j] == runs.none)
    return;
  const uint32_t key = runs.keys[j];
  if (runs.same(j - 1, key) || !runs.same(j + kPiece, key))
    return;
  for (int64_t c = threadIdx.x; c < vectors; c += blockDim.x) {
    Pack<T, W> sum = y[key * vectors + c];
    add(sum, partial[slot(j, true) * vectors + c]);
#pragma unroll 4
    for (int64_t i = j + kPiece; runs.same(i, key); i += kPiece)
      add(sum, partial[slot(i, false) * vectors + c]);
    y[key * vectors + c] = sum;
  }
}

template <typename T, int W>
void addRuns(Context &ctx, const Runs &runs, int64_t inner, const T *updates, T *y,
             void *partial) {
  using P = Pack<T, W>;
  const int64_t vectors = inner / W;
  const rows::Shape s = rows::shape(runs.count, vectors);
  MOIRE_LAUNCH(streamOf(ctx), s.grid, s.block, 0, piecesKernel<T, W>, runs, vectors,
               reinterpret_cast<const P *>(updates), reinterpret_cast<P *>(y),
               static_cast<P *>(partial));
  MOIRE_LAUNCH(streamOf(ctx), s.grid, s.block, 0, joinKernel<T, W>, runs, vectors,
               static_cast<const P *>(partial), reinterpret_cast<P *>(y));
}
int64_t padded(int64_t bytes) { return (bytes + 255) / 256 * 256; }
} // namespace

template <typename T, typename Target>
void scatterAdd(Context &ctx, const Target &target, const T *updates, T *y) {
  const int64_t count = target.small(), inner = target.inner(), none = target.large();
  if (count == 0 || inner == 0)
    return;
  if (none >= int64_t(0xffffffff) || count >= int64_t(1) << 31)
    throw RunError("a scatter of " + std::to_string(count) + " updates to " +
                   std::to_string(none) + " rows is too large; use at most 2^31 updates and "
                   "2^32 rows");
  int bits = 1;
  while (none >> bits)
    ++bits;
  const int64_t keyBytes = padded(count * 4), sort = padded(sortBytes(count));
  const int64_t slots = 2 * ((count + kPiece - 1) / kPiece);
  auto *memory = static_cast<char *>(
      ctx.scratch(keyBytes + sort + slots * inner * int64_t(sizeof(T))));
  auto *keys = reinterpret_cast<uint32_t *>(memory);
  MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned((count + 255) / 256)), 256, 0, keysKernel<Target>,
               target, count, uint32_t(none), keys);
  const Sorted sorted = sortKeys(ctx, count, bits, keys, memory + keyBytes);
  const Runs runs = {count, uint32_t(none), sorted.keys, sorted.positions};
  void *partial = memory + keyBytes + sort;
  if (rows::wide<T>(inner, updates, y))
    addRuns<T, rows::kWide<T>>(ctx, runs, inner, updates, y, partial);
  else
    addRuns<T, 1>(ctx, runs, inner, updates, y, partial);
  checkFaultsOfModel(ctx);
}

template void scatterAdd(Context &, const GatherTarget &, const float *, float *);
#define INSTANTIATE(T)                                                                            \
  template void scatterAdd(Context &, const ElementsTarget &, const T *, T *);                   \
  template void scatterAdd(Context &, const NDTarget &, const T *, T *);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(int64_t)
INSTANTIATE(int32_t)
INSTANTIATE(uint8_t)
INSTANTIATE(bf16)

} // namespace moire::rt::device
