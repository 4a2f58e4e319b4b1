//===- copy.cpp - Strided copies, fills, conversions ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "kernels/walk.h"
#include "moire/rt/parallel.h"
#include "moire/rt/tensor.h"

#include <cstring>

namespace moire::rt {

namespace {
template <bool Add, typename T> T sum(T y, T x) {
  if constexpr (Add)
    return static_cast<T>(y + x);
  else
    return x;
}

/// One row of n elements. Inner strides 1 are the common case.
template <typename T, bool Add>
void row(int64_t n, const T *x, int64_t sx, T *y, int64_t sy) {
  if (sx == 1 && sy == 1) {
    if constexpr (!Add) {
      std::memcpy(y, x, n * sizeof(T));
    } else {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i)
        y[i] += x[i];
    }
    return;
  }
  if (sx == 0 && sy == 1) {
    const T value = *x;
    for (int64_t i = 0; i < n; ++i)
      y[i] = sum<Add>(y[i], value);
    return;
  }
  for (int64_t i = 0; i < n; ++i)
    y[i * sy] = sum<Add>(y[i * sy], x[i * sx]);
}

/// y is contiguous along one dimension, x along another: squares of 32 × 32
/// elements, so that each line that is loaded is used whole.
template <typename T, bool Add>
void transposed(Context &ctx, const Plan &p, int xInner, const T *x, T *y) {
  constexpr int64_t kTile = 32;
  const int yInner = p.dims.n - 1;
  const Ints dims = without(p.dims, xInner, yInner);
  const int64_t rows = p.dims[xInner], cols = p.dims[yInner];
  const int64_t strideX = p.x[yInner], strideY = p.y[xInner];
  const int64_t bands = (rows + kTile - 1) / kTile;
  const Ints sx = without(p.x, xInner, yInner), sy = without(p.y, xInner, yInner);
  const int64_t grain = std::max<int64_t>(1, kElementwiseGrain / (kTile * cols));
  parallelFor(ctx, product(dims) * bands, grain, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      Odometer o(dims, sx, sy, task / bands);
      const int64_t r0 = task % bands * kTile, r1 = std::min(rows, r0 + kTile);
      const T *xb = x + o.offsetA;
      T *yb = y + o.offsetB;
      for (int64_t c0 = 0; c0 < cols; c0 += kTile) {
        const int64_t c1 = std::min(cols, c0 + kTile);
        for (int64_t r = r0; r < r1; ++r) {
          T *yr = yb + r * strideY;
          const T *xr = xb + r;
#pragma GCC ivdep
          for (int64_t c = c0; c < c1; ++c)
            yr[c] = sum<Add>(yr[c], xr[c * strideX]);
        }
      }
    }
  });
}

template <typename T, bool Add>
void strided(Context &ctx, const Ints &dims, const T *x, const Ints &xs, T *y,
             const Ints &ys) {
  if (product(dims) == 0)
    return;
  const Plan p = simplify(dims, xs, ys);
  const int last = p.dims.n - 1;
  const int64_t n = p.dims[last];
  if (p.y[last] == 1 && p.x[last] != 1)
    for (int i = 0; i < last; ++i)
      if (p.x[i] == 1)
        return transposed<T, Add>(ctx, p, i, x, y);
  const Ints outer = without(p.dims, last), sx = without(p.x, last),
             sy = without(p.y, last);
  // Flattened, so that one long row is cut as well as many short ones.
  parallelFor(ctx, product(p.dims), kElementwiseGrain,
              [&](int64_t begin, int64_t end) {
    Odometer o(outer, sx, sy, begin / n);
    for (int64_t at = begin, column = begin % n; at < end; column = 0) {
      const int64_t m = std::min(n - column, end - at);
      row<T, Add>(m, x + o.offsetA + column * p.x[last], p.x[last],
                  y + o.offsetB + column * p.y[last], p.y[last]);
      at += m;
      o.next();
    }
  });
}
} // namespace

template <typename T>
void copyStrided(Context &ctx, const Ints &dims, const T *x,
                 const Ints &xStrides, T *y, const Ints &yStrides) {
  strided<T, false>(ctx, dims, x, xStrides, y, yStrides);
}
void addStrided(Context &ctx, const Ints &dims, const float *x,
                const Ints &xStrides, float *y, const Ints &yStrides, float beta) {
  if (beta == 0)
    strided<float, false>(ctx, dims, x, xStrides, y, yStrides);
  else
    strided<float, true>(ctx, dims, x, xStrides, y, yStrides);
}

template <typename T>
void transpose(Context &ctx, const Ints &dims, const Ints &perm, const T *x,
               T *y) {
  const Ints sx = denseStrides(dims);
  Ints to, from;
  to.n = from.n = dims.n;
  for (int i = 0; i < dims.n; ++i) {
    to.v[i] = dims[perm[i]];
    from.v[i] = sx[perm[i]];
  }
  strided<T, false>(ctx, to, x, from, y, denseStrides(to));
}

template <typename T> void fill(Context &ctx, int64_t n, T value, T *y) {
  parallelFor(ctx, n, kElementwiseGrain, [&](int64_t begin, int64_t end) {
    std::fill(y + begin, y + end, value);
  });
}
template <typename T> void copy(Context &ctx, int64_t n, const T *x, T *y) {
  parallelFor(ctx, n, kElementwiseGrain, [&](int64_t begin, int64_t end) {
    std::memcpy(y + begin, x + begin, (end - begin) * sizeof(T));
  });
}
template <typename T>
void iota(Context &ctx, int64_t n, T start, T step, T *y) {
  parallelFor(ctx, n, kElementwiseGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      y[i] = static_cast<T>(start + static_cast<T>(i) * step);
  });
}
template <typename From, typename To>
void convert(Context &ctx, int64_t n, const From *x, To *y) {
  parallelFor(ctx, n, kElementwiseGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      y[i] = static_cast<To>(x[i]);
  });
}

template <typename T>
void cumulativeSum(Context &ctx, int64_t outer, int64_t axis, int64_t inner,
                   bool exclusive, bool reverse, const T *x, T *y) {
  const int64_t first = reverse ? axis - 1 : 0, step = reverse ? -1 : 1;
  parallelFor(ctx, outer * inner,
              std::max<int64_t>(1, kElementwiseGrain / std::max<int64_t>(axis, 1)),
              [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i / inner * axis * inner + i % inner;
      T sum = 0;
      for (int64_t a = first, k = 0; k < axis; ++k, a += step) {
        const T value = x[at + a * inner];
        y[at + a * inner] = exclusive ? sum : static_cast<T>(sum + value);
        sum = static_cast<T>(sum + value);
      }
    }
  });
}

#define INSTANTIATE_MOVES(T)                                                   \
  template void copyStrided(Context &, const Ints &, const T *, const Ints &,  \
                            T *, const Ints &);                                \
  template void transpose(Context &, const Ints &, const Ints &, const T *,    \
                          T *);                                                \
  template void fill(Context &, int64_t, T, T *);                              \
  template void copy(Context &, int64_t, const T *, T *);
#define INSTANTIATE(T)                                                         \
  INSTANTIATE_MOVES(T)                                                         \
  template void iota(Context &, int64_t, T, T, T *);                           \
  template void cumulativeSum(Context &, int64_t, int64_t, int64_t, bool,      \
                              bool, const T *, T *);                           \
  template void convert(Context &, int64_t, const T *, float *);               \
  template void convert(Context &, int64_t, const T *, double *);              \
  template void convert(Context &, int64_t, const T *, int64_t *);             \
  template void convert(Context &, int64_t, const T *, int32_t *);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(int64_t)
INSTANTIATE(int32_t)
INSTANTIATE(uint8_t)
INSTANTIATE_MOVES(bf16)
template void convert(Context &, int64_t, const float *, bf16 *);
template void convert(Context &, int64_t, const bf16 *, float *);

} // namespace moire::rt
