//===- walk.h - Walking over strided index spaces -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_WALK_H
#define MOIRE_RT_WALK_H

#include "moire/rt/tensor.h"

namespace moire::rt {

inline int64_t product(const Ints &dims) {
  int64_t n = 1;
  for (int i = 0; i < dims.n; ++i)
    n *= dims[i];
  return n;
}

/// Row-major strides of a dense tensor.
inline Ints denseStrides(const Ints &dims) {
  Ints s;
  s.n = dims.n;
  int64_t step = 1;
  for (int i = dims.n - 1; i >= 0; --i) {
    s.v[i] = step;
    step *= dims[i];
  }
  return s;
}

/// Coordinates below dims in row-major order with two offsets that follow.
class Odometer {
public:
  Odometer(const Ints &dims, const Ints &a, const Ints &b, int64_t start)
      : dims(dims), a(a), b(b) {
    for (int i = dims.n - 1; i >= 0; --i) {
      c[i] = start % dims[i];
      start /= dims[i];
      offsetA += c[i] * a[i];
      offsetB += c[i] * b[i];
    }
  }
  void next() {
    for (int i = dims.n - 1; i >= 0; --i) {
      offsetA += a[i];
      offsetB += b[i];
      if (++c[i] < dims[i])
        return;
      offsetA -= dims[i] * a[i];
      offsetB -= dims[i] * b[i];
      c[i] = 0;
    }
  }
  int64_t offsetA = 0, offsetB = 0;
  int64_t c[8] = {0};

private:
  const Ints dims, a, b;
};

} // namespace moire::rt

#endif // MOIRE_RT_WALK_H
