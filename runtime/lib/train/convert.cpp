//===- convert.cpp - Stored numbers and float32 ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/convert.h"

#include "moire/rt/bf16.h"
#include "moire/rt/context.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace moire::rt {

int64_t bytesOf(DType type) {
  switch (type) {
  case DType::f64:
  case DType::i64:
    return 8;
  case DType::f32:
  case DType::i32:
    return 4;
  case DType::f16:
  case DType::bf16:
    return 2;
  case DType::i1:
    return 1;
  }
  return 0;
}

const char *nameOf(DType type) {
  switch (type) {
  case DType::f64:
    return "float64";
  case DType::i64:
    return "int64";
  case DType::f32:
    return "float32";
  case DType::i32:
    return "int32";
  case DType::f16:
    return "float16";
  case DType::bf16:
    return "bfloat16";
  case DType::i1:
    return "bool";
  }
  return "?";
}

namespace {
template <typename T> T read(const unsigned char *p) {
  T v;
  std::memcpy(&v, p, sizeof(T));
  return v;
}
float fromBits(uint32_t bits) {
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
float fromHalf(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16, exponent = (h >> 10) & 31,
                 mantissa = h & 1023;
  if (exponent == 31) // inf and NaN
    return fromBits(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0) { // zero and subnormals: mantissa · 2^-24
    float f = float(mantissa) * 0x1p-24f;
    return sign ? -f : f;
  }
  return fromBits(sign | (exponent + 112) << 23 | mantissa << 13);
}
uint16_t toHalf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  const uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  if (size > 0x7f800000) // NaN
    return uint16_t(sign | 0x7e00);
  if (size >= 0x477ff000) // from the middle between the largest number and 2^16 on
    return uint16_t(sign | 0x7c00);
  if (size < 0x38800000) // subnormals: multiples of 2^-24
    return uint16_t(sign | uint32_t(std::nearbyint(std::fabs(x) * 0x1p24f)));
  // A carry out of the mantissa is the next exponent.
  return uint16_t(sign | (size - (112u << 23) + 0xfff + (size >> 13 & 1)) >> 13);
}
template <typename T> void put(T value, unsigned char *to) { std::memcpy(to, &value, sizeof value); }
} // namespace

void toFloat(DType type, const unsigned char *from, int64_t n, float *to) {
  switch (type) {
  case DType::f32:
    std::memcpy(to, from, n * 4);
    return;
  case DType::f16:
    for (int64_t i = 0; i < n; ++i)
      to[i] = fromHalf(read<uint16_t>(from + 2 * i));
    return;
  case DType::bf16:
    for (int64_t i = 0; i < n; ++i)
      to[i] = fromBits(uint32_t(read<uint16_t>(from + 2 * i)) << 16);
    return;
  case DType::f64:
    for (int64_t i = 0; i < n; ++i)
      to[i] = static_cast<float>(read<double>(from + 8 * i));
    return;
  case DType::i64:
    for (int64_t i = 0; i < n; ++i)
      to[i] = static_cast<float>(read<int64_t>(from + 8 * i));
    return;
  case DType::i32:
    for (int64_t i = 0; i < n; ++i)
      to[i] = static_cast<float>(read<int32_t>(from + 4 * i));
    return;
  case DType::i1:
    for (int64_t i = 0; i < n; ++i)
      to[i] = from[i] ? 1.0f : 0.0f;
    return;
  }
}

void fromFloat(DType type, const float *from, int64_t n, unsigned char *to) {
  if (type == DType::f32) {
    std::memcpy(to, from, n * 4);
    return;
  }
  const int64_t bytes = bytesOf(type);
  for (int64_t i = 0; i < n; ++i, to += bytes) {
    float now;
    toFloat(type, to, 1, &now);
    if (std::memcmp(&now, from + i, sizeof now) == 0)
      continue;
    if (type == DType::f16)
      put(toHalf(from[i]), to);
    else if (type == DType::bf16)
      put(bf16(from[i]), to);
    else if (type == DType::f64)
      put(double(from[i]), to);
    else
      throw RunError(std::string("float32 is not written as ") + nameOf(type));
  }
}

void toInt64(DType type, const unsigned char *from, int64_t n, int64_t *to) {
  switch (type) {
  case DType::i64:
    std::memcpy(to, from, n * 8);
    return;
  case DType::i32:
    for (int64_t i = 0; i < n; ++i)
      to[i] = read<int32_t>(from + 4 * i);
    return;
  case DType::i1:
    for (int64_t i = 0; i < n; ++i)
      to[i] = from[i] != 0;
    return;
  default:
    throw InputError(std::string("a tensor of ") + nameOf(type) +
                     " is given where integers are wanted");
  }
}

void swapAxes(int64_t outer, int64_t a, int64_t b, int64_t inner, const float *from,
              float *to) {
  constexpr int64_t kTile = 32; // of both axes: the lines of a tile stay in the cache
  const int64_t tiles = (a + kTile - 1) / kTile;
#pragma omp parallel for schedule(static)
  for (int64_t job = 0; job < outer * tiles; ++job) {
    const int64_t o = job / tiles, firstA = job % tiles * kTile;
    const float *x = from + o * a * b * inner;
    float *y = to + o * a * b * inner;
    for (int64_t firstB = 0; firstB < b; firstB += kTile)
      for (int64_t i = firstA; i < std::min(a, firstA + kTile); ++i)
        for (int64_t j = firstB; j < std::min(b, firstB + kTile); ++j)
          std::copy_n(x + (i * b + j) * inner, inner, y + (j * a + i) * inner);
  }
}

} // namespace moire::rt
