//===- convert.h - Stored numbers and float32 -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CONVERT_H
#define MOIRE_RT_CONVERT_H

#include "moire/rt/program.h"

#include <cstdint>

namespace moire::rt {

int64_t bytesOf(DType type);
const char *nameOf(DType type);
inline bool isFloat(DType t) {
  return t == DType::f32 || t == DType::f16 || t == DType::bf16 || t == DType::f64;
}

/// to[i] = from[i] for i < n; from is little-endian and need not be aligned.
void toFloat(DType type, const unsigned char *from, int64_t n, float *to);
/// to[i] = from[i] for i < n in a floating-point type, little-endian, rounded to the nearest, ties
/// to even. An element of `to` that reads as from[i] already keeps its bytes: what one number of
/// float32 stands for may be several of float64, and NaNs.
void fromFloat(DType type, const float *from, int64_t n, unsigned char *to);
/// The same as toFloat() for an integer or bool type.
void toInt64(DType type, const unsigned char *from, int64_t n, int64_t *to);

/// to[o, b, a, i] = from[o, a, b, i] for a row-major [outer, a, b, inner].
void swapAxes(int64_t outer, int64_t a, int64_t b, int64_t inner, const float *from, float *to);

} // namespace moire::rt

#endif // MOIRE_RT_CONVERT_H
