//===- cumulative_sum.cu - Running sums along an axis ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/warp.cuh"
#include "moire/rt/tensor.h"

namespace moire::rt {

namespace {
struct Lines {
  int64_t outer, axis, inner;
  bool exclusive, reverse;
};

/// A thread to a line: neighbours along `inner` make whole lines of the memory.
template <typename T>
__global__ void __launch_bounds__(256) perThread(Lines l, const T *x, T *y) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i >= l.outer * l.inner)
    return;
  const int64_t at = i / l.inner * l.axis * l.inner + i % l.inner;
  T sum = 0;
  for (int64_t k = 0; k < l.axis; ++k) {
    const int64_t a = at + (l.reverse ? l.axis - 1 - k : k) * l.inner;
    const T before = sum;
    sum = static_cast<T>(sum + x[a]);
    y[a] = l.exclusive ? before : sum;
  }
}

/// A block to a contiguous line, 256 elements at a time: scans of the warps, of
/// the warps' sums, and what came before.
template <typename T>
__global__ void __launch_bounds__(256) perBlock(Lines l, const T *x, T *y) {
  MOIRE_SHARED(T, warps, 8);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  x += blockIdx.x * l.axis;
  y += blockIdx.x * l.axis;
  T carry = 0;
  for (int64_t k0 = 0; k0 < l.axis; k0 += 256) {
    const int64_t k = k0 + threadIdx.x, a = l.reverse ? l.axis - 1 - k : k;
    T sum = k < l.axis ? x[a] : T(0);
    for (int d = 1; d < kWarp; d *= 2) {
      const T left = __shfl_up_sync(kFullWarp, sum, d);
      if (lane >= d)
        sum = static_cast<T>(sum + left);
    }
    if (lane == kWarp - 1)
      warps[warp] = sum;
    const T left = __shfl_up_sync(kFullWarp, sum, 1);
    T before = carry;
    __syncthreads();
    for (int w = 0; w < 8; ++w) {
      const T other = warps[w];
      if (w < warp)
        before = static_cast<T>(before + other);
      carry = static_cast<T>(carry + other);
    }
    __syncthreads();
    if (k < l.axis) {
      if (l.exclusive)
        y[a] = lane ? static_cast<T>(before + left) : before;
      else
        y[a] = static_cast<T>(before + sum);
    }
  }
}
} // namespace

template <typename T>
void cumulativeSum(Context &ctx, int64_t outer, int64_t axis, int64_t inner, bool exclusive,
                   bool reverse, const T *x, T *y) {
  const Lines l = {outer, axis, inner, exclusive, reverse};
  if (inner == 1 && axis > kWarp)
    MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned(outer)), 256, 0, perBlock<T>, l, x, y);
  else
    MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned((outer * inner + 255) / 256)), 256, 0, perThread<T>,
                 l, x, y);
}

#define INSTANTIATE(T)                                                                            \
  template void cumulativeSum(Context &, int64_t, int64_t, int64_t, bool, bool, const T *, T *);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(int64_t)
INSTANTIATE(int32_t)
INSTANTIATE(uint8_t)

} // namespace moire::rt
