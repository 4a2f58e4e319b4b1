//===- walk.h - Walking over strided index spaces -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Host code of both targets.
//
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

/// A strided copy.
struct Plan {
  Ints dims, x, y;
};

/// Drops dimensions of size 1 and merges neighbours that are one in both.
inline Plan simplify(const Ints &dims, const Ints &x, const Ints &y) {
  Plan p;
  for (int i = 0; i < dims.n; ++i) {
    if (dims[i] == 1)
      continue;
    int last = p.dims.n - 1;
    if (last >= 0 && p.x[last] == dims[i] * x[i] && p.y[last] == dims[i] * y[i]) {
      p.dims.v[last] *= dims[i];
      p.x.v[last] = x[i];
      p.y.v[last] = y[i];
      continue;
    }
    p.dims.v[p.dims.n++] = dims[i];
    p.x.v[p.x.n++] = x[i];
    p.y.v[p.y.n++] = y[i];
  }
  if (p.dims.n == 0) {
    p.dims = {1};
    p.x = {1};
    p.y = {1};
  }
  return p;
}

/// v without places i and j.
inline Ints without(const Ints &v, int i, int j = -1) {
  Ints r;
  for (int k = 0; k < v.n; ++k)
    if (k != i && k != j)
      r.v[r.n++] = v[k];
  return r;
}

/// Dimensions in groups: kept and reduced outer ones with their strides, and
/// the innermost group, contiguous, which is kept or reduced.
struct Groups {
  Ints kept, keptStride, reduced, reducedStride;
  int64_t inner = 1;
  bool innerReduced = false;
};
inline Groups group(const Reduce &r) {
  Ints dims;
  bool flags[8];
  for (int i = 0; i < r.dims.n; ++i) {
    bool flag = (r.over >> i) & 1;
    if (r.dims[i] == 1)
      continue;
    if (dims.n && flags[dims.n - 1] == flag) {
      dims.v[dims.n - 1] *= r.dims[i];
    } else {
      flags[dims.n] = flag;
      dims.v[dims.n++] = r.dims[i];
    }
  }
  Groups g;
  if (dims.n == 0)
    return g;
  const Ints strides = denseStrides(dims);
  g.inner = dims[dims.n - 1];
  g.innerReduced = flags[dims.n - 1];
  for (int i = 0; i + 1 < dims.n; ++i) {
    Ints &d = flags[i] ? g.reduced : g.kept;
    Ints &s = flags[i] ? g.reducedStride : g.keptStride;
    d.v[d.n++] = dims[i];
    s.v[s.n++] = strides[i];
  }
  return g;
}

} // namespace moire::rt

#endif // MOIRE_RT_WALK_H
