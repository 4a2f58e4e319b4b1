//===- index.cpp - Gathers and scatters -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "kernels/walk.h"
#include "moire/rt/parallel.h"

#include <cstring>

namespace moire::rt {

namespace {
/// Before threads start, because an exception must not leave one.
void check(const int64_t *indices, int64_t n, int64_t size, const char *what) {
  for (int64_t i = 0; i < n; ++i)
    if (indices[i] < -size || indices[i] >= size)
      throw RunError(std::string(what) + " index " + std::to_string(indices[i]) +
                     " at position " + std::to_string(i) +
                     " is outside 0.." + std::to_string(size - 1));
}
int64_t wrap(int64_t i, int64_t size) { return i < 0 ? i + size : i; }

int64_t indexCount(const Gather &g) {
  return g.batchedIndices ? g.outer * g.count : g.count;
}
int64_t indexBase(const Gather &g, int64_t o) {
  return g.batchedIndices ? o * g.count : 0;
}
} // namespace

template <typename T>
void gather(Context &ctx, const Gather &g, const T *x, const int64_t *indices,
            T *y) {
  check(indices, indexCount(g), g.axis, "gather");
  const int64_t grain =
      std::max<int64_t>(1, kElementwiseGrain / std::max<int64_t>(g.inner, 1));
  parallelFor(ctx, g.outer * g.count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t o = r / g.count;
      const int64_t i = wrap(indices[indexBase(g, o) + r % g.count], g.axis);
      const T *from = x + (o * g.axis + i) * g.inner;
      if (g.inner == 1)
        y[r] = *from;
      else
        std::memcpy(y + r * g.inner, from, g.inner * sizeof(T));
    }
  });
}

// A thread owns a range of columns, so duplicates meet in it in order.
void gatherGrad(Context &ctx, const Gather &g, const float *dy,
                const int64_t *indices, float *dx, float beta) {
  check(indices, indexCount(g), g.axis, "scatter");
  if (beta == 0)
    fill<float>(ctx, g.outer * g.axis * g.inner, 0.0f, dx);
  const bool small = g.outer * g.count * g.inner < 2 * kElementwiseGrain;
  parallelFor(ctx, g.inner, small ? g.inner : 64, [&](int64_t begin, int64_t end) {
    for (int64_t o = 0; o < g.outer; ++o)
      for (int64_t c = 0; c < g.count; ++c) {
        const int64_t i = wrap(indices[indexBase(g, o) + c], g.axis);
        float *to = dx + (o * g.axis + i) * g.inner;
        const float *from = dy + (o * g.count + c) * g.inner;
#pragma GCC ivdep
        for (int64_t k = begin; k < end; ++k)
          to[k] += from[k];
      }
  });
}

template <typename T>
void scatter(Context &ctx, const Gather &g, const T *updates,
             const int64_t *indices, T *y) {
  check(indices, indexCount(g), g.axis, "scatter");
  const bool small = g.outer * g.count * g.inner < 2 * kElementwiseGrain;
  parallelFor(ctx, g.inner, small ? g.inner : 64, [&](int64_t begin, int64_t end) {
    for (int64_t o = 0; o < g.outer; ++o)
      for (int64_t c = 0; c < g.count; ++c) {
        const int64_t i = wrap(indices[indexBase(g, o) + c], g.axis);
        std::memcpy(y + (o * g.axis + i) * g.inner + begin,
                    updates + (o * g.count + c) * g.inner + begin,
                    (end - begin) * sizeof(T));
      }
  });
}

namespace {
/// body(position in indices, offset in the indexed tensor), row-major.
template <typename Body>
void eachElement(const GatherElements &g, const int64_t *indices, Body &&body) {
  const Ints strides = denseStrides(g.dims);
  Ints others = strides; // the axis' own coordinate comes from the index
  others.v[g.axis] = 0;
  Odometer o(g.indexDims, others, others, 0);
  for (int64_t i = 0, n = product(g.indexDims); i < n; ++i, o.next())
    body(i, o.offsetA + wrap(indices[i], g.dims[g.axis]) * strides[g.axis]);
}
} // namespace

// Serial: indices per element occur on routers' [tokens, k] only.
template <typename T>
void gatherElements(Context &, const GatherElements &g, const T *x,
                    const int64_t *indices, T *y) {
  check(indices, product(g.indexDims), g.dims[g.axis], "gather");
  eachElement(g, indices, [&](int64_t i, int64_t at) { y[i] = x[at]; });
}

template <typename T>
void scatterElements(Context &, const GatherElements &g, const T *updates,
                     const int64_t *indices, T *y, bool add) {
  check(indices, product(g.indexDims), g.dims[g.axis], "scatter");
  eachElement(g, indices, [&](int64_t i, int64_t at) {
    y[at] = add ? static_cast<T>(y[at] + updates[i]) : updates[i];
  });
}

namespace {
/// Which inner row of batch b the index tuple of row r addresses.
int64_t address(const GatherND &g, int64_t b, const int64_t *tuple,
                const char *what) {
  int64_t at = b;
  for (int d = 0; d < g.dims.n; ++d) {
    check(tuple + d, 1, g.dims[d], what);
    at = at * g.dims[d] + wrap(tuple[d], g.dims[d]);
  }
  return at;
}
} // namespace

template <typename T>
void gatherND(Context &, const GatherND &g, const T *x, const int64_t *indices,
              T *y) {
  for (int64_t r = 0; r < g.batch * g.rows; ++r)
    std::memcpy(y + r * g.inner,
                x + g.inner * address(g, r / g.rows, indices + r * g.dims.n,
                                      "gather"),
                g.inner * sizeof(T));
}

template <typename T>
void scatterND(Context &, const GatherND &g, const T *updates,
               const int64_t *indices, T *y, bool add) {
  for (int64_t r = 0; r < g.batch * g.rows; ++r) {
    T *to = y + g.inner * address(g, r / g.rows, indices + r * g.dims.n, "scatter");
    const T *from = updates + r * g.inner;
    for (int64_t i = 0; i < g.inner; ++i)
      to[i] = add ? static_cast<T>(to[i] + from[i]) : from[i];
  }
}

#define INSTANTIATE(T)                                                         \
  template void gather(Context &, const Gather &, const T *, const int64_t *,  \
                       T *);                                                   \
  template void scatter(Context &, const Gather &, const T *, const int64_t *, \
                        T *);                                                  \
  template void gatherElements(Context &, const GatherElements &, const T *,   \
                               const int64_t *, T *);                          \
  template void scatterElements(Context &, const GatherElements &, const T *,  \
                                const int64_t *, T *, bool);                   \
  template void gatherND(Context &, const GatherND &, const T *,               \
                         const int64_t *, T *);                                \
  template void scatterND(Context &, const GatherND &, const T *,              \
                          const int64_t *, T *, bool);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(int64_t)
INSTANTIATE(int32_t)
INSTANTIATE(uint8_t)
INSTANTIATE(bf16)

} // namespace moire::rt
