//===- simd.h - Vectors and reductions of a fixed order -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Sums over a row use lanes × 4 partial sums added in a fixed tree, so that they
// vectorise without -ffast-math and give the same bits at every call with the
// same length.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_SIMD_H
#define MOIRE_RT_SIMD_H

#include "moire/rt/math.h"

#include <cstdint>
#include <limits>

namespace moire::rt::simd {

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
#elif defined(__AVX__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef float UnalignedVec
    __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

#define MOIRE_INLINE static inline __attribute__((always_inline))

MOIRE_INLINE Vec load(const float *p) {
  return *reinterpret_cast<const UnalignedVec *>(p);
}
MOIRE_INLINE void store(float *p, Vec v) {
  *reinterpret_cast<UnalignedVec *>(p) = v;
}
MOIRE_INLINE Vec splat(float x) { return x - Vec{}; }

MOIRE_INLINE float add(Vec v) {
  float s[kLanes];
  store(s, v);
  for (int half = kLanes / 2; half; half /= 2)
    for (int i = 0; i < half; ++i)
      s[i] += s[i + half];
  return s[0];
}

/// Σ f(i) over i < n, where f gives a vector at i or a scalar.
template <typename VectorAt, typename ScalarAt>
MOIRE_INLINE float sumOf(int64_t n, VectorAt &&v, ScalarAt &&s) {
  Vec a0{}, a1{}, a2{}, a3{};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    a0 += v(i);
    a1 += v(i + kLanes);
    a2 += v(i + 2 * kLanes);
    a3 += v(i + 3 * kLanes);
  }
  for (; i + kLanes <= n; i += kLanes)
    a0 += v(i);
  float rest = 0;
  for (; i < n; ++i)
    rest += s(i);
  return add((a0 + a1) + (a2 + a3)) + rest;
}

inline float sum(const float *x, int64_t n) {
  return sumOf(n, [&](int64_t i) { return load(x + i); },
               [&](int64_t i) { return x[i]; });
}
inline float dot(const float *x, const float *y, int64_t n) {
  return sumOf(n, [&](int64_t i) { return load(x + i) * load(y + i); },
               [&](int64_t i) { return x[i] * y[i]; });
}
/// Σ (x - c)².
inline float squaredDistance(const float *x, float c, int64_t n) {
  const Vec cv = splat(c);
  return sumOf(n,
               [&](int64_t i) {
                 Vec d = load(x + i) - cv;
                 return d * d;
               },
               [&](int64_t i) { return (x[i] - c) * (x[i] - c); });
}
/// The largest; NaN is passed over.
inline float max(const float *x, int64_t n) {
  const float low = -std::numeric_limits<float>::infinity();
  Vec m0 = splat(0) + low, m1 = m0;
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    Vec a = load(x + i), b = load(x + i + kLanes);
    m0 = a > m0 ? a : m0;
    m1 = b > m1 ? b : m1;
  }
  m0 = m0 > m1 ? m0 : m1;
  float s[kLanes];
  store(s, m0);
  float m = low;
  for (int l = 0; l < kLanes; ++l)
    m = s[l] > m ? s[l] : m;
  for (; i < n; ++i)
    m = x[i] > m ? x[i] : m;
  return m;
}

/// y = exp(x - shift), returns Σ y. y may be x.
inline float expAndSum(const float *x, float shift, float *y, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i)
    y[i] = math::exp(x[i] - shift);
  return sum(y, n);
}

#undef MOIRE_INLINE

} // namespace moire::rt::simd

#endif // MOIRE_RT_SIMD_H
