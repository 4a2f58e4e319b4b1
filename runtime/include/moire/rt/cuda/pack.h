//===- pack.h - Neighbouring elements in one access -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_PACK_H
#define MOIRE_RT_CUDA_PACK_H

#include "moire/rt/cuda/launch.h"

namespace moire::rt::device {

/// N elements that are loaded and stored at once; N · sizeof(T) is 1 to 16.
template <typename T, int N> struct alignas(sizeof(T) * N) Pack {
  T at[N];
};

/// Bytes of one access to W neighbours of T.
template <typename T, int W>
inline constexpr int kAccessBytes = int(sizeof(T)) * W < 16 ? int(sizeof(T)) * W : 16;

/// W neighbours in registers, moved in accesses of at most 16 bytes to which the
/// pointer is aligned.
template <typename T, int W> struct Run {
  static constexpr int kCount = W;
  static constexpr int kPer = kAccessBytes<T, W> / int(sizeof(T));
  T at[W];
  __device__ __forceinline__ void load(const T *p) {
#pragma unroll
    for (int i = 0; i < W; i += kPer) {
      const auto pack = *reinterpret_cast<const Pack<T, kPer> *>(p + i);
#pragma unroll
      for (int j = 0; j < kPer; ++j)
        at[i + j] = pack.at[j];
    }
  }
  /// The same in shared memory.
  __device__ __forceinline__ void loadShared(SharedPtr<T> p) {
#pragma unroll
    for (int i = 0; i < W; i += kPer) {
      const Pack<T, kPer> pack = sharedCast<Pack<T, kPer>>(p + i)[0];
#pragma unroll
      for (int j = 0; j < kPer; ++j)
        at[i + j] = pack.at[j];
    }
  }
  __device__ __forceinline__ void storeShared(SharedPtr<T> p) const {
#pragma unroll
    for (int i = 0; i < W; i += kPer) {
      Pack<T, kPer> pack;
#pragma unroll
      for (int j = 0; j < kPer; ++j)
        pack.at[j] = at[i + j];
      sharedCast<Pack<T, kPer>>(p + i)[0] = pack;
    }
  }
  __device__ __forceinline__ void store(T *p) const {
#pragma unroll
    for (int i = 0; i < W; i += kPer) {
      Pack<T, kPer> pack;
#pragma unroll
      for (int j = 0; j < kPer; ++j)
        pack.at[j] = at[i + j];
      *reinterpret_cast<Pack<T, kPer> *>(p + i) = pack;
    }
  }
};

inline bool isAligned(const void *p, int bytes) {
  return reinterpret_cast<uintptr_t>(p) % bytes == 0;
}

/// Division by a number that the host knows, for dividends below 2^31: one
/// product instead of some 20 instructions (Granlund and Montgomery, 1994).
struct Divider {
  uint32_t divisor = 1, factor = 1, shift = 0;
  Divider() = default;
  explicit Divider(uint32_t d) : divisor(d) {
    while ((uint64_t(1) << shift) < d)
      ++shift;
    factor = uint32_t((((uint64_t(1) << shift) - d) << 32) / d + 1);
  }
  __device__ __forceinline__ uint32_t divide(uint32_t n) const {
    return (__umulhi(n, factor) + n) >> shift;
  }
};

} // namespace moire::rt::device

#endif // MOIRE_RT_CUDA_PACK_H
