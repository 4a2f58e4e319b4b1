//===- pack.h - Neighbouring elements in one access -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_PACK_H
#define MOIRE_RT_CUDA_PACK_H

#include "moire/rt/cuda/launch.h"

#include <cstring>

namespace moire::rt::device {

/// Bytes of one access to W neighbours of T.
template <typename T, int W>
inline constexpr int kAccessBytes = int(sizeof(T)) * W < 16 ? int(sizeof(T)) * W : 16;

#if defined(MOIRE_CUDA_MODEL)
// g++ takes memory of another type for other memory unless told.
#define MOIRE_MAY_ALIAS __attribute__((may_alias))
#else
#define MOIRE_MAY_ALIAS
#endif
/// What one access moves, of any type: nvcc takes a vector of 16-bit elements
/// apart where it sees one.
template <int Bytes> struct MOIRE_MAY_ALIAS Word {
  alignas(Bytes) uint32_t w[Bytes / 4];
};
template <> struct MOIRE_MAY_ALIAS Word<1> {
  uint8_t w;
};
template <> struct MOIRE_MAY_ALIAS Word<2> {
  uint16_t w;
};
#undef MOIRE_MAY_ALIAS

/// W neighbours in registers, moved in accesses of at most 16 bytes to which the
/// pointer is aligned.
template <typename T, int W> struct Run {
  static constexpr int kCount = W;
  static constexpr int kBytes = kAccessBytes<T, W>, kPer = kBytes / int(sizeof(T));
  T at[W];
  __device__ __forceinline__ void load(const T *p) {
#pragma unroll
    for (int i = 0; i < W; i += kPer) {
      const Word<kBytes> word = *reinterpret_cast<const Word<kBytes> *>(p + i);
      memcpy(static_cast<void *>(at + i), &word, kBytes);
    }
  }
  __device__ __forceinline__ void store(T *p) const {
#pragma unroll
    for (int i = 0; i < W; i += kPer) {
      Word<kBytes> word;
      memcpy(&word, at + i, kBytes);
      *reinterpret_cast<Word<kBytes> *>(p + i) = word;
    }
  }
  /// The same in shared memory.
  __device__ __forceinline__ void loadShared(SharedPtr<T> p) {
#pragma unroll
    for (int i = 0; i < W; i += kPer) {
      const Word<kBytes> word = sharedCast<Word<kBytes>>(p + i)[0];
      memcpy(static_cast<void *>(at + i), &word, kBytes);
    }
  }
  __device__ __forceinline__ void storeShared(SharedPtr<T> p) const {
#pragma unroll
    for (int i = 0; i < W; i += kPer) {
      Word<kBytes> word;
      memcpy(&word, at + i, kBytes);
      sharedCast<Word<kBytes>>(p + i)[0] = word;
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
