//===- index.cuh - Which row an index means -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// GatherTarget, ElementsTarget and NDTarget say, for row u of the small tensor
// (updates, or what is gathered), which row of the large one it belongs to; -1
// where an index is outside, which one thread reports.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_INDEX_CUH
#define MOIRE_RT_CUDA_INDEX_CUH

#include "cuda/fault.h"
#include "cuda/rows.cuh"
#include "lib/kernels/walk.h"

namespace moire::rt::device {

/// Where a bad index is reported.
struct IndexCheck {
  Fault *fault;
  FaultKind kind;
};

__device__ __forceinline__ int64_t checkedIndex(int64_t i, int64_t size, int64_t position,
                                                bool reports, const IndexCheck &check) {
  if (i >= -size && i < size)
    return i < 0 ? i + size : i;
  if (reports)
    report(check.fault, check.kind, i, position, size);
  return -1;
}

struct GatherTarget {
  Gather g;
  const int64_t *indices;
  IndexCheck check;

  int64_t small() const { return g.outer * g.count; }
  int64_t large() const { return g.outer * g.axis; }
  int64_t inner() const { return g.inner; }
  __device__ __forceinline__ int64_t of(int64_t u, bool reports) const {
    const int64_t o = u / g.count, position = g.batchedIndices ? u : u - o * g.count;
    const int64_t i = checkedIndex(indices[position], g.axis, position, reports, check);
    return i < 0 ? -1 : o * g.axis + i;
  }
};

struct ElementsTarget {
  GatherElements g;
  Ints strides; ///< of g.dims
  const int64_t *indices;
  IndexCheck check;

  int64_t small() const { return product(g.indexDims); }
  int64_t large() const { return product(g.dims); }
  int64_t inner() const { return 1; }
  __device__ __forceinline__ int64_t of(int64_t u, bool reports) const {
    int64_t at = 0, rest = u;
    for (int d = g.dims.n - 1; d >= 0; --d) {
      const int64_t next = rest / g.indexDims.v[d];
      if (d != g.axis)
        at += (rest - next * g.indexDims.v[d]) * strides.v[d];
      rest = next;
    }
    const int64_t i = checkedIndex(indices[u], g.dims.v[g.axis], u, reports, check);
    return i < 0 ? -1 : at + i * strides.v[g.axis];
  }
};

struct NDTarget {
  GatherND g;
  const int64_t *indices;
  IndexCheck check;

  int64_t small() const { return g.batch * g.rows; }
  int64_t large() const { return g.batch * product(g.dims); }
  int64_t inner() const { return g.inner; }
  __device__ __forceinline__ int64_t of(int64_t u, bool reports) const {
    int64_t at = u / g.rows;
    for (int d = 0; d < g.dims.n; ++d) {
      const int64_t position = u * g.dims.n + d;
      const int64_t i =
          checkedIndex(indices[position], g.dims.v[d], position, reports, check);
      if (i < 0)
        return -1;
      at = at * g.dims.v[d] + i;
    }
    return at;
  }
};

} // namespace moire::rt::device

#endif // MOIRE_RT_CUDA_INDEX_CUH
