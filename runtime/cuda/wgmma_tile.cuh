//===- wgmma_tile.cuh - What kernels on the tensor cores share ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Blocks of three warpgroups: two multiply, the third copies. And what a thread
// does with its part of a result: hopper::Wgmma says which elements d holds.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_CUDA_WGMMA_TILE_CUH
#define MOIRE_CUDA_WGMMA_TILE_CUH

#include "cuda/hopper.cuh"
#include "cuda/warp.cuh"
#include "moire/rt/math.h"

namespace moire::rt::hopper {

inline constexpr int kGroup = 128;       ///< threads of a warpgroup
inline constexpr int kMultiplying = 256; ///< threads that multiply
inline constexpr int kThreads = kMultiplying + kGroup;

/// Zeroes accumulators, before beginProducts.
template <int count> __device__ inline void clear(float (&d)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i) {
    d[i] = 0;
    pin(d[i]);
  }
}

/// Where in a ring of stages a thread is.
template <int count> struct Ring {
  int32_t stage = 0;
  uint32_t parity = 0;
  __device__ void advance() {
    if (++stage == count) {
      stage = 0;
      parity ^= 1;
    }
  }
};

/// x in the lower bits, y in the upper.
__device__ inline uint32_t packed(float x, float y) {
#ifdef __CUDA_ARCH__
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(y), "f"(x));
  return pair;
#else
  return uint32_t(bf16(y).bits) << 16 | bf16(x).bits;
#endif
}

/// Two neighbouring elements.
__device__ inline float2 loadPair(const float *from) {
  return *reinterpret_cast<const float2 *>(from);
}
__device__ inline float2 loadPair(const bf16 *from) {
  const uint32_t v = *reinterpret_cast<const uint32_t *>(from);
  float2 f;
  f.x = math::bitsToFloat(int32_t(v << 16));
  f.y = math::bitsToFloat(int32_t(v & 0xffff0000u));
  return f;
}

/// What a thread holds of a tile: rows `row` and row + 8, and of each 8 columns
/// from `column` on two. n is a multiple of 8, so that 8 columns are in it or not.
struct Place {
  int32_t row, rows, column, columns;
  __device__ bool has(int half, int eight) const {
    return row + half * 8 < rows && column + eight * 8 < columns;
  }
};

/// d[…] = the pair at (half, eight) of `from` · factor + d[…], a row's pitch
/// elements further per row; bias: pitch 0.
template <int N, typename T>
__device__ inline void addTile(float (&d)[N / 2], const Place &at, float factor, const T *from,
                               int64_t pitch) {
#pragma unroll
  for (int i = 0; i < N / 4; ++i) {
    const int half = i % 2, eight = i / 2;
    if (!at.has(half, eight))
      continue;
    const float2 v = loadPair(from + half * 8 * pitch + eight * 8);
    d[2 * i] = fmaf(factor, v.x, d[2 * i]);
    d[2 * i + 1] = fmaf(factor, v.y, d[2 * i + 1]);
  }
}

template <int N>
__device__ inline void storeTile(const float (&d)[N / 2], const Place &at, float *to,
                                 int64_t pitch) {
#pragma unroll
  for (int i = 0; i < N / 4; ++i) {
    const int half = i % 2, eight = i / 2;
    float2 v;
    v.x = d[2 * i];
    v.y = d[2 * i + 1];
    if (at.has(half, eight))
      *reinterpret_cast<float2 *>(to + half * 8 * pitch + eight * 8) = v;
  }
}
/// Pairs of lanes swap, so that each writes 8 bytes and four of them 32: the even
/// ones take the lower 8 of 16 columns, the odd ones the upper.
template <int N>
__device__ inline void storeTile(const float (&d)[N / 2], const Place &at, bf16 *to,
                                 int64_t pitch) {
  const bool odd = threadIdx.x & 1;
  to += odd ? 8 - 2 : 0;
#pragma unroll
  for (int i = 0; i < N / 8; ++i) {
    const int half = i % 2, eight = i / 2 * 2, low = 4 * eight + 2 * half, high = low + 4;
    const uint32_t a = packed(d[low], d[low + 1]), b = packed(d[high], d[high + 1]);
    const uint32_t other = __shfl_xor_sync(kFullWarp, odd ? a : b, 1);
    uint2 v;
    v.x = odd ? other : a;
    v.y = odd ? b : other;
    if (at.has(half, eight + odd))
      *reinterpret_cast<uint2 *>(to + half * 8 * pitch + eight * 8) = v;
  }
}

} // namespace moire::rt::hopper

#endif // MOIRE_CUDA_WGMMA_TILE_CUH
