//===- bf16.h - The upper half of a float ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Elements in memory only: nothing computes in bf16. A kernel reads floats and
// stores rounded ones, on both targets with the same bits.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_BF16_H
#define MOIRE_RT_BF16_H

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define MOIRE_BF16_INLINE __host__ __device__ inline __attribute__((always_inline))
#else
#define MOIRE_BF16_INLINE inline __attribute__((always_inline))
#endif

namespace moire::rt {

struct bf16 {
  uint16_t bits;

  bf16() = default;
  /// The nearest bf16, ties to even; what is too large becomes inf, every NaN
  /// the one with bits 0x7fff, as the GPU's instruction has it.
  MOIRE_BF16_INLINE explicit bf16(float x) : bits(round(x)) {}
  /// Exact.
  MOIRE_BF16_INLINE operator float() const {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float x;
    std::memcpy(&x, &wide, sizeof x);
    return x;
  }

private:
  MOIRE_BF16_INLINE static uint16_t round(float x) {
#if defined(__CUDA_ARCH__)
    uint16_t narrow;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrow) : "f"(x));
    return narrow;
#else
    uint32_t wide;
    std::memcpy(&wide, &x, sizeof wide);
    // A carry out of the mantissa is the next exponent, and out of the largest
    // exponent inf: both are right. Selected without a branch, so that loops
    // vectorise.
    const uint32_t nearest = (wide + 0x7fffu + (wide >> 16 & 1u)) >> 16;
    return static_cast<uint16_t>((wide & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : nearest);
#endif
  }
};
static_assert(sizeof(bf16) == 2, "an element in memory");

/// T, where a template's argument is not to be found from it: a pointer that may
/// be null.
template <typename T> struct Given {
  using Type = T;
};
template <typename T> using Same = typename Given<T>::Type;

/// The float nearest to x that a bf16 holds.
MOIRE_BF16_INLINE float roundToBf16(float x) { return bf16(x); }

} // namespace moire::rt

#undef MOIRE_BF16_INLINE

#endif // MOIRE_RT_BF16_H
