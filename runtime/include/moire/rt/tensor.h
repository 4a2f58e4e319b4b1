//===- tensor.h - Data movement, indexing and reductions ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Kernels that move or index elements. T is float, double, int64_t, int32_t or
// uint8_t (bool), of copies, fills and gathers also bf16; the instantiations are
// in the .cpp files. Tensors are dense
// and row-major unless strides are given. Around an axis a tensor is seen as
// [outer, axis, inner].
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_TENSOR_H
#define MOIRE_RT_TENSOR_H

#include "moire/rt/bf16.h"
#include "moire/rt/context.h"

#include <initializer_list>

namespace moire::rt {

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

/// Up to 8 dimension sizes, strides in elements or axis numbers.
struct Ints {
  int64_t v[8] = {0};
  int n = 0;
  Ints() = default;
  Ints(std::initializer_list<int64_t> list) {
    for (int64_t x : list)
      v[n++] = x;
  }
  int64_t operator[](int i) const { return v[i]; }
};

/// y[i · yStrides] = x[i · xStrides] for all i below dims. Slices, concats, pads,
/// broadcasts (stride 0) and transposes are all this, with offset pointers.
template <typename T>
void copyStrided(Context &ctx, const Ints &dims, const T *x, const Ints &xStrides,
                 T *y, const Ints &yStrides);
/// The same, adding: y = x + beta y with beta 1, or 0 to overwrite (the pull-back
/// of a slice into a larger tensor).
void addStrided(Context &ctx, const Ints &dims, const float *x,
                const Ints &xStrides, float *y, const Ints &yStrides,
                float beta = 1);

/// y = x with dimensions permuted: y's dimension i is x's dimension perm[i];
/// dims are x's.
template <typename T>
void transpose(Context &ctx, const Ints &dims, const Ints &perm, const T *x, T *y);

template <typename T> void fill(Context &ctx, int64_t n, T value, T *y);
template <typename T> void copy(Context &ctx, int64_t n, const T *x, T *y);
/// y[i] = start + i · step.
template <typename T> void iota(Context &ctx, int64_t n, T start, T step, T *y);
template <typename From, typename To>
void convert(Context &ctx, int64_t n, const From *x, To *y);

/// y[o, a, i] = Σ_{b <= a} x[o, b, i] (exclusive: b < a; reverse: from the end).
template <typename T>
void cumulativeSum(Context &ctx, int64_t outer, int64_t axis, int64_t inner,
                   bool exclusive, bool reverse, const T *x, T *y);

//===----------------------------------------------------------------------===//
// Indexing. Indices are i64; -axis … -1 count from the end; one outside is a
// RunError that names the value, its position and the size.
//===----------------------------------------------------------------------===//

/// x [outer, axis, inner], indices [count] → y [outer, count, inner];
/// batchedIndices: indices [outer, count].
struct Gather {
  int64_t outer, axis, inner, count;
  bool batchedIndices = false;
};
/// y[o, c, i] = x[o, indices[c], i].
template <typename T>
void gather(Context &ctx, const Gather &g, const T *x, const int64_t *indices,
            T *y);
/// dx[o, indices[c], i] += dy[o, c, i], c ascending; dx is zeroed first where
/// beta is 0. Deterministic for any number of threads. Also scatter with sum.
void gatherGrad(Context &ctx, const Gather &g, const float *dy,
                const int64_t *indices, float *dx, float beta = 0);
/// y[o, indices[c], i] = updates[o, c, i], c ascending (the last one stays).
template <typename T>
void scatter(Context &ctx, const Gather &g, const T *updates,
             const int64_t *indices, T *y);

/// One index per element, dims and indexDims of equal rank:
/// y[…, i, …] = x[…, indices[…, i, …], …] along the axis; y, indices have
/// indexDims, which may be smaller than dims elsewhere.
struct GatherElements {
  Ints dims, indexDims;
  int64_t axis;
};
template <typename T>
void gatherElements(Context &ctx, const GatherElements &g, const T *x,
                    const int64_t *indices, T *y);
/// y[…, indices[…, i, …], …] = or += updates[…, i, …], in row-major order of
/// indices; y [dims] holds the data to scatter into.
template <typename T>
void scatterElements(Context &ctx, const GatherElements &g, const T *updates,
                     const int64_t *indices, T *y, bool add = false);

/// GatherND / ScatterND: indices [rows, depth] address the first `depth`
/// dimensions (sizes dims) of x [batch, dims…, inner], rows per batch.
struct GatherND {
  int64_t batch, rows, inner;
  Ints dims;
};
template <typename T>
void gatherND(Context &ctx, const GatherND &g, const T *x,
              const int64_t *indices, T *y);
template <typename T>
void scatterND(Context &ctx, const GatherND &g, const T *updates,
               const int64_t *indices, T *y, bool add = false);

/// The k largest (or smallest) of x [outer, axis, inner] along the axis, sorted;
/// equal values: the lower index first; NaN counts as largest. values, ids
/// [outer, k, inner]; either may be null.
struct TopK {
  int64_t outer, axis, inner, k;
  bool largest = true;
};
template <typename T>
void topK(Context &ctx, const TopK &t, const T *x, T *values, int64_t *ids);

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

enum class ReduceKind : uint8_t { sum, max, min, prod };

/// Reduces dense x of shape dims over the dimensions whose bit is set in
/// `over`; y is dense over the rest. f32 sums add fixed pieces in a fixed order.
struct Reduce {
  Ints dims;
  uint32_t over;
  float beta = 0; ///< y = reduced + beta · y (sum of float only)
};
template <typename T>
void reduce(Context &ctx, ReduceKind kind, const Reduce &r, const T *x, T *y);
/// The same of bf16, summed in float; sum only.
void reduce(Context &ctx, ReduceKind kind, const Reduce &r, const bf16 *x, float *y);

/// Index of the largest (smallest) along the axis, first or last among equals.
template <typename T>
void argReduce(Context &ctx, int64_t outer, int64_t axis, int64_t inner, bool max,
               bool lastOfEqual, const T *x, int64_t *y);

//===----------------------------------------------------------------------===//
// Rotary embedding
//===----------------------------------------------------------------------===//

/// x, y [batch, heads, rows, dim] by strides (last contiguous; all zero: dense);
/// cos, sin [batch or 1, rows, dim / 2]. Half rotation, x1 and x2 the halves:
///   y = (x1 · cos - x2 · sin, x2 · cos + x1 · sin);
/// interleaved: pairs (x[2i], x[2i + 1]) instead of halves; inverse: the negative
/// angle, which is the gradient.
struct Rope {
  int64_t batch, heads, rows, dim;
  bool interleaved = false, inverse = false;
  int64_t tableBatchStride = 0; ///< rows · dim / 2 for tables per batch
  int64_t xBatch = 0, xHead = 0, xRow = 0;
  int64_t yBatch = 0, yHead = 0, yRow = 0;
};
/// y may be x. T is float or bf16.
template <typename T>
void rope(Context &ctx, const Rope &r, const T *x, const float *cos,
          const float *sin, T *y);

} // namespace moire::rt

#endif // MOIRE_RT_TENSOR_H
