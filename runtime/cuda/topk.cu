//===- topk.cu - The largest elements along an axis -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Values and indices have one total order, so that the next element is the best
// of those behind the last: k passes over a line, which stays in the cache. Meant
// for small k; the whole line sorted costs the square of its length.
//
//===----------------------------------------------------------------------===//

#include "cuda/warp.cuh"
#include "moire/rt/tensor.h"

namespace moire::rt {

namespace {
constexpr int kWarps = 8;

/// An element of a line; index -1 is none, behind all.
template <typename T> struct Candidate {
  T value;
  int64_t index;
};

/// Whether a's value comes before b's where indices do not decide. NaN is the
/// largest.
template <typename T> __device__ __forceinline__ bool beforeValue(T a, T b, bool largest) {
  if (a != a || b != b)
    return largest ? (a != a && b == b) : (a == a && b != b);
  return largest ? a > b : a < b;
}
template <typename T>
__device__ __forceinline__ bool before(Candidate<T> a, Candidate<T> b, bool largest) {
  if (a.index < 0 || b.index < 0)
    return a.index >= 0 && b.index < 0;
  if (beforeValue(a.value, b.value, largest))
    return true;
  return !beforeValue(b.value, a.value, largest) && a.index < b.index;
}

template <typename T>
__device__ __forceinline__ Candidate<T> warpBest(Candidate<T> c, bool largest) {
  for (int d = kWarp / 2; d; d /= 2) {
    const Candidate<T> other = {T(__shfl_xor_sync(kFullWarp, c.value, d)),
                                __shfl_xor_sync(kFullWarp, c.index, d)};
    if (before(other, c, largest))
      c = other;
  }
  return c;
}

/// A warp or a block to a line.
template <typename T, bool Block>
__global__ void __launch_bounds__(kWarps *kWarp)
    topKKernel(TopK t, const T *x, T *values, int64_t *ids) {
  MOIRE_SHARED(T, bestValue, 2 * kWarps);
  MOIRE_SHARED(int64_t, bestIndex, 2 * kWarps);
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t line = Block ? int64_t(blockIdx.x) : int64_t(blockIdx.x) * kWarps + warp;
  if (line >= t.outer * t.inner)
    return;
  x += line / t.inner * t.axis * t.inner + line % t.inner;
  const int64_t to = line / t.inner * t.k * t.inner + line % t.inner;
  const int first = Block ? threadIdx.x : lane, step = Block ? kWarps * kWarp : kWarp;
  Candidate<T> last = {T(0), -1};
  for (int64_t k = 0; k < t.k; ++k) {
    Candidate<T> best = {T(0), -1};
    for (int64_t a = first; a < t.axis; a += step) {
      const Candidate<T> c = {x[a * t.inner], a};
      if ((k == 0 || before(last, c, t.largest)) && before(c, best, t.largest))
        best = c;
    }
    best = warpBest(best, t.largest);
    if (Block) {
      // Two halves in turn, as in row.cuh.
      const int half = k % 2 * kWarps;
      if (lane == 0) {
        bestValue[half + warp] = best.value;
        bestIndex[half + warp] = best.index;
      }
      __syncthreads();
      for (int w = 0; w < kWarps; ++w) {
        const Candidate<T> other = {bestValue[half + w], bestIndex[half + w]};
        if (before(other, best, t.largest))
          best = other;
      }
    }
    last = best;
    if (first == 0) {
      if (values)
        values[to + k * t.inner] = best.value;
      if (ids)
        ids[to + k * t.inner] = best.index;
    }
  }
}

/// A warp to a line; NaN is no better than what came before it.
template <typename T>
__global__ void __launch_bounds__(kWarps *kWarp)
    argKernel(int64_t lines, int64_t axis, int64_t inner, bool max, bool lastOfEqual, const T *x,
              int64_t *y) {
  const int64_t line = int64_t(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (line >= lines)
    return;
  x += line / inner * axis * inner + line % inner;
  auto better = [&](Candidate<T> a, Candidate<T> b) {
    if (a.index < 0 || b.index < 0)
      return a.index >= 0 && b.index < 0;
    if (max ? a.value > b.value : a.value < b.value)
      return true;
    return a.value == b.value && (lastOfEqual ? a.index > b.index : a.index < b.index);
  };
  Candidate<T> best = {T(0), -1};
  for (int64_t a = threadIdx.x % kWarp; a < axis; a += kWarp) {
    const Candidate<T> c = {x[a * inner], a};
    if (better(c, best))
      best = c;
  }
  for (int d = kWarp / 2; d; d /= 2) {
    const Candidate<T> other = {T(__shfl_xor_sync(kFullWarp, best.value, d)),
                                __shfl_xor_sync(kFullWarp, best.index, d)};
    if (better(other, best))
      best = other;
  }
  if (threadIdx.x % kWarp == 0)
    y[line] = best.index;
}
} // namespace

template <typename T>
void topK(Context &ctx, const TopK &t, const T *x, T *values, int64_t *ids) {
  const int64_t lines = t.outer * t.inner;
  if (t.axis > 1024)
    MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned(lines)), kWarps * kWarp, 0, topKKernel<T, true>, t,
                 x, values, ids);
  else
    MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned((lines + kWarps - 1) / kWarps)), kWarps * kWarp, 0,
                 topKKernel<T, false>, t, x, values, ids);
}

template <typename T>
void argReduce(Context &ctx, int64_t outer, int64_t axis, int64_t inner, bool max,
               bool lastOfEqual, const T *x, int64_t *y) {
  const int64_t lines = outer * inner;
  MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned((lines + kWarps - 1) / kWarps)), kWarps * kWarp, 0,
               argKernel<T>, lines, axis, inner, max, lastOfEqual, x, y);
}

#define INSTANTIATE(T)                                                                            \
  template void topK(Context &, const TopK &, const T *, T *, int64_t *);                        \
  template void argReduce(Context &, int64_t, int64_t, int64_t, bool, bool, const T *, int64_t *);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(int64_t)
INSTANTIATE(int32_t)
template void argReduce(Context &, int64_t, int64_t, int64_t, bool, bool, const uint8_t *,
                        int64_t *);

} // namespace moire::rt
