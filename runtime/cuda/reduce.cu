//===- reduce.cu - Sums and the like over dimensions ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Bound by memory: each element is read once. Few outputs over many elements are
// cut into pieces, so that all multiprocessors work; pieces and order depend on
// the shape alone. Sums of float run in double, of which an H100 adds half as
// many a second as floats: more than its memory delivers.
//
//===----------------------------------------------------------------------===//

#include "cuda/warp.cuh"
#include "lib/kernels/walk.h"
#include "moire/rt/cuda/pack.h"

#include <limits>
#include <type_traits>

namespace moire::rt {

namespace {
using namespace device;

struct Sum {
  template <typename T> __host__ __device__ static T identity() { return 0; }
  template <typename T> __device__ static T combine(T a, T b) { return static_cast<T>(a + b); }
};
struct Prod {
  template <typename T> __host__ __device__ static T identity() { return 1; }
  template <typename T> __device__ static T combine(T a, T b) { return static_cast<T>(a * b); }
};
struct Max {
  template <typename T> __host__ static T identity() {
    return std::is_floating_point_v<T> ? -std::numeric_limits<T>::infinity()
                                       : std::numeric_limits<T>::lowest();
  }
  // NaN wins, as in PyTorch and ONNX Runtime.
  template <typename T> __device__ static T combine(T a, T b) { return a > b || a != a ? a : b; }
};
struct Min {
  template <typename T> __host__ static T identity() {
    return std::is_floating_point_v<T> ? std::numeric_limits<T>::infinity()
                                       : std::numeric_limits<T>::max();
  }
  template <typename T> __device__ static T combine(T a, T b) { return a < b || a != a ? a : b; }
};

/// What partial results are: double for sums of float, else the result's type.
template <typename Op, typename T>
using Partial = std::conditional_t<std::is_same_v<Op, Sum> && std::is_same_v<T, float>, double, T>;

/// Blocks: of 132 multiprocessors' 4 blocks twice: a constant, see above.
constexpr int64_t kBlocks = 1056;
constexpr int kThreads = 256;

template <typename A> struct ReduceArguments {
  Groups g;
  int64_t outputs; ///< product of g.kept
  int64_t work;    ///< elements of an output, or rows of a column
  int64_t pieces, perPiece;
  A identity;
  A *partial; ///< [pieces][outputs (· g.inner)]
};

__device__ __forceinline__ int64_t offsetOf(const Ints &dims, const Ints &strides, int64_t i) {
  int64_t at = 0;
  for (int d = dims.n - 1; d > 0; --d) {
    const int64_t rest = i / dims.v[d];
    at += (i - rest * dims.v[d]) * strides.v[d];
    i = rest;
  }
  return dims.n ? at + i * strides.v[0] : 0;
}

template <typename Op, typename A> __device__ __forceinline__ A warpReduce(A v) {
  for (int d = kWarp / 2; d; d /= 2)
    v = Op::combine(v, A(__shfl_xor_sync(kFullWarp, v, d)));
  return v;
}

/// The innermost dimensions are reduced: a warp, or a block, to a piece of an
/// output. W divides g.inner.
template <typename Op, typename A, typename X, int W, int Team>
__global__ void __launch_bounds__(kThreads) reduceRows(ReduceArguments<A> a, const X *x) {
  MOIRE_SHARED(A, warps, 8);
  const int64_t task = (int64_t(blockIdx.x) * kThreads + threadIdx.x) / Team;
  if (task >= a.outputs * a.pieces) // a warp, or no thread of the block
    return;
  const int64_t output = task % a.outputs, piece = task / a.outputs;
  x += offsetOf(a.g.kept, a.g.keptStride, output);
  const int64_t begin = piece * a.perPiece, most = begin + a.perPiece;
  const int64_t end = most < a.work ? most : a.work;
  A acc = a.identity;
#pragma unroll 4
  for (int64_t e = begin + threadIdx.x % Team * W; e < end; e += Team * W) {
    const X *p = x + e;
    if (a.g.reduced.n) {
      const int64_t row = e / a.g.inner;
      p = x + offsetOf(a.g.reduced, a.g.reducedStride, row) + (e - row * a.g.inner);
    }
    Run<X, W> run;
    run.load(p);
#pragma unroll
    for (int j = 0; j < W; ++j)
      acc = Op::combine(acc, static_cast<A>(run.at[j]));
  }
  acc = warpReduce<Op>(acc);
  if (Team > kWarp) {
    if (threadIdx.x % kWarp == 0)
      warps[threadIdx.x / kWarp] = acc;
    __syncthreads();
    if (threadIdx.x == 0)
      for (int w = 1; w < Team / kWarp; ++w)
        acc = Op::combine(acc, A(warps[w]));
  }
  if (threadIdx.x % Team == 0)
    a.partial[task] = acc;
}

/// The innermost dimension is kept: a thread to W columns and every
/// blockDim.y-th row of its piece.
template <typename Op, typename A, typename X, int W>
__global__ void __launch_bounds__(kThreads) reduceColumns(ReduceArguments<A> a, const X *x) {
  MOIRE_SHARED_MATRIX(A, sums, 8, 32 * W + 1);
  const int64_t perRow = (a.g.inner + 32 * W - 1) / (32 * W);
  int64_t rest = blockIdx.x;
  const int64_t c = (rest % perRow * 32 + threadIdx.x) * W;
  rest /= perRow;
  const int64_t output = rest % a.outputs, piece = rest / a.outputs;
  x += offsetOf(a.g.kept, a.g.keptStride, output) + c;
  const int64_t begin = piece * a.perPiece, most = begin + a.perPiece;
  const int64_t end = most < a.work ? most : a.work;
  A acc[W];
#pragma unroll
  for (int j = 0; j < W; ++j)
    acc[j] = a.identity;
  if (c < a.g.inner)
#pragma unroll 4
    for (int64_t r = begin + threadIdx.y; r < end; r += blockDim.y) {
      Run<X, W> run;
      run.load(x + offsetOf(a.g.reduced, a.g.reducedStride, r));
#pragma unroll
      for (int j = 0; j < W; ++j)
        acc[j] = Op::combine(acc[j], static_cast<A>(run.at[j]));
    }
#pragma unroll
  for (int j = 0; j < W; ++j)
    sums[threadIdx.y][j * 32 + threadIdx.x] = acc[j];
  __syncthreads();
  if (threadIdx.y == 0 && c < a.g.inner)
#pragma unroll
    for (int j = 0; j < W; ++j) {
      for (int y = 1; y < int(blockDim.y); ++y)
        acc[j] = Op::combine(acc[j], A(sums[y][j * 32 + threadIdx.x]));
      a.partial[(piece * a.outputs + output) * a.g.inner + c + j] = acc[j];
    }
}

/// y[i] = the pieces of i, and beta · y[i].
template <typename Op, typename A, typename T>
__global__ void __launch_bounds__(kThreads)
    finish(int64_t n, int64_t pieces, A identity, const A *partial, float beta, T *y) {
  MOIRE_SHARED_MATRIX(A, sums, 8, 33);
  const int64_t i = int64_t(blockIdx.x) * 32 + threadIdx.x;
  A acc = identity;
  if (i < n)
#pragma unroll 4
    for (int64_t p = threadIdx.y; p < pieces; p += blockDim.y)
      acc = Op::combine(acc, partial[p * n + i]);
  sums[threadIdx.y][threadIdx.x] = acc;
  __syncthreads();
  if (threadIdx.y || i >= n)
    return;
  for (int k = 1; k < int(blockDim.y); ++k)
    acc = Op::combine(acc, A(sums[k][threadIdx.x]));
  y[i] = beta == 0 ? static_cast<T>(acc) : static_cast<T>(acc + static_cast<A>(beta) * y[i]);
}

unsigned rowsOfBlock(int64_t work) { return work >= 8 ? 8 : work >= 4 ? 4 : work >= 2 ? 2 : 1; }

template <typename Op, typename T, typename X>
void run(Context &ctx, const Reduce &r, const X *x, T *y) {
  using A = Partial<Op, T>;
  // Vectors for what occurs in models' large tensors; the rest stays small.
  constexpr bool kCommon = std::is_same_v<T, float> && !std::is_same_v<Op, Prod>;
  constexpr int kWide = kCommon ? 4 : 1;
  ReduceArguments<A> a;
  a.g = group(r);
  a.outputs = product(a.g.kept);
  a.identity = Op::template identity<A>();
  const int64_t depth = std::max<int64_t>(1, product(a.g.reduced));
  const bool wide = a.g.inner % kWide == 0 && isAligned(x, kAccessBytes<X, kWide>);
  const int64_t results = a.g.innerReduced ? a.outputs : a.outputs * a.g.inner;
  if (results == 0)
    return;
  // Every stride is a multiple of g.inner, so pieces of W never cross a row.
  const int64_t W = wide ? kWide : 1, columns = (a.g.inner + 32 * W - 1) / (32 * W);
  a.work = a.g.innerReduced ? depth * a.g.inner : depth;
  const int64_t tasks = a.g.innerReduced ? a.outputs : a.outputs * columns;
  const int64_t least = a.g.innerReduced ? 8192 : 128;
  a.pieces = std::max<int64_t>(1, std::min((a.work + least - 1) / least,
                                           (kBlocks + tasks - 1) / std::max<int64_t>(tasks, 1)));
  a.perPiece = ((a.work + a.pieces - 1) / a.pieces + kWide - 1) / kWide * kWide;
  a.partial = static_cast<A *>(ctx.scratch(a.pieces * results * sizeof(A)));
  auto rows = [&](auto kernel, int team) {
    MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned((tasks * a.pieces * team + kThreads - 1) / kThreads)),
                 kThreads, 0, kernel, a, x);
  };
  auto cols = [&](auto kernel) {
    MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned(tasks * a.pieces)), dim3(32, rowsOfBlock(a.work)), 0,
                 kernel, a, x);
  };
  if (a.g.innerReduced && a.work <= 2048)
    wide ? rows(reduceRows<Op, A, X, kWide, 32>, 32) : rows(reduceRows<Op, A, X, 1, 32>, 32);
  else if (a.g.innerReduced)
    wide ? rows(reduceRows<Op, A, X, kWide, 256>, 256) : rows(reduceRows<Op, A, X, 1, 256>, 256);
  else
    wide ? cols(reduceColumns<Op, A, X, kWide>) : cols(reduceColumns<Op, A, X, 1>);
  MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned((results + 31) / 32)),
               dim3(32, rowsOfBlock(a.pieces)), 0, finish<Op, A, T>, results, a.pieces, a.identity,
               a.partial, r.beta, y);
}
} // namespace

template <typename T>
void reduce(Context &ctx, ReduceKind kind, const Reduce &r, const T *x, T *y) {
  switch (kind) {
  case ReduceKind::sum:
    return run<Sum>(ctx, r, x, y);
  case ReduceKind::max:
    return run<Max>(ctx, r, x, y);
  case ReduceKind::min:
    return run<Min>(ctx, r, x, y);
  case ReduceKind::prod:
    return run<Prod>(ctx, r, x, y);
  }
}
void reduce(Context &ctx, ReduceKind kind, const Reduce &r, const bf16 *x, float *y) {
  if (kind != ReduceKind::sum)
    throw RunError("a reduction from bf16 to float can only be a sum");
  run<Sum>(ctx, r, x, y);
}

template void reduce(Context &, ReduceKind, const Reduce &, const float *, float *);
template void reduce(Context &, ReduceKind, const Reduce &, const double *, double *);
template void reduce(Context &, ReduceKind, const Reduce &, const int64_t *, int64_t *);
template void reduce(Context &, ReduceKind, const Reduce &, const int32_t *, int32_t *);
template void reduce(Context &, ReduceKind, const Reduce &, const uint8_t *, uint8_t *);

} // namespace moire::rt
