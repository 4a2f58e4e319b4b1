//===- elementwise.h - launch() over the threads of a GPU -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The CUDA side of moire/rt/elementwise.h, which includes it. A thread computes
// W neighbours of the innermost dimension: operands that are contiguous there
// move in 16-byte accesses, which needs their rows to start at multiples of 16
// bytes; else W is 1. Bound by memory: each operand is touched once, and a
// multiprocessor's 2,048 threads keep 32 KiB a contiguous operand in flight,
// more than the 18 KiB that 3.35 TB/s at 700 ns ask for.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_ELEMENTWISE_H
#define MOIRE_RT_CUDA_ELEMENTWISE_H

#include "moire/rt/cuda/launch.h"
#include "moire/rt/cuda/space.h"

namespace moire::rt {
namespace device {

/// A thread's place: the coordinates of its row, its first column, how many
/// columns it has.
struct At {
  uint32_t c[kMaxDims - 1];
  int64_t column;
  int count;
};

/// An operand's values for the W columns of a thread.
template <typename Op, int W> struct Slot;

template <typename T, int Inner, bool IsOutput, int W>
struct Slot<Operand<T, Inner, IsOutput>, W> {
  using Op = Operand<T, Inner, IsOutput>;
  using Value = typename Op::Value;
  typename Op::Pointer p;
  int64_t stride;
  Value v[W];

  __device__ __forceinline__ Slot(const Op &op, const Walk &walk, const At &at)
      : p(op.base), stride(Inner == kStrided ? op.strides[kMaxDims - 1] : Inner) {
    if (walk.outerRank)
#pragma unroll
      for (int d = 0; d < kMaxDims - 1; ++d)
        if (d < walk.outerRank)
          p += int64_t(at.c[d]) * op.strides[d];
    p += at.column * stride;
  }
  __device__ __forceinline__ void load(int count) {
    if constexpr (IsOutput) {
      return;
    } else if constexpr (Inner == 0) {
      const Value splat = static_cast<Value>(*p);
#pragma unroll
      for (int i = 0; i < W; ++i)
        v[i] = splat;
    } else if constexpr (Inner == 1) {
      if (count == W) {
        Run<T, W> run;
        run.load(p);
#pragma unroll
        for (int i = 0; i < W; ++i)
          v[i] = static_cast<Value>(run.at[i]);
      } else {
#pragma unroll
        for (int i = 0; i < W; ++i)
          if (i < count)
            v[i] = static_cast<Value>(p[i]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < W; ++i)
        if (i < count)
          v[i] = static_cast<Value>(p[i * stride]);
    }
  }
  __device__ __forceinline__ void store(int count) {
    if constexpr (IsOutput) {
      if (Inner == 1 && count == W) {
        Run<T, W> run;
#pragma unroll
        for (int i = 0; i < W; ++i)
          run.at[i] = static_cast<T>(v[i]);
        run.store(p);
      } else {
#pragma unroll
        for (int i = 0; i < W; ++i)
          if (i < count)
            p[i * stride] = static_cast<T>(v[i]);
      }
    }
  }
  __device__ __forceinline__ Value &value(int i) { return v[i]; }
};

template <int W> struct Slot<IndexOperand, W> {
  int64_t first = 0;
  int step = 0;
  __device__ __forceinline__ Slot(const IndexOperand &op, const Walk &walk, const At &at) {
    // Walk has renumbered the dimensions.
#pragma unroll
    for (int d = 0; d < kMaxDims - 1; ++d)
      if (d == op.dim && d < walk.outerRank)
        first = at.c[d];
    if (op.dim == walk.outerRank) {
      first = at.column;
      step = 1;
    }
    first += op.dim >= 0 ? walk.offset[op.dim] : 0;
  }
  __device__ __forceinline__ void load(int) {}
  __device__ __forceinline__ void store(int) {}
  __device__ __forceinline__ int64_t value(int i) const { return first + i * step; }
};

/// Inputs first into registers, then all results, then the stores: so an output
/// may lie where an input does.
template <typename F, int W, typename... Slots>
__device__ __forceinline__ void compute(int count, Slots... slots) {
  (slots.load(count), ...);
#pragma unroll
  for (int i = 0; i < W; ++i)
    if (W == 1 || i < count)
      F::run(slots.value(i)...);
  (slots.store(count), ...);
}

inline constexpr int kElementwiseThreads = 256;

template <typename F, int W, typename... Ops>
__global__ void __launch_bounds__(kElementwiseThreads) elementwise(Walk walk, Ops... ops) {
  const uint32_t t = blockIdx.x * kElementwiseThreads + threadIdx.x;
  if (t >= walk.threads)
    return;
  At at;
  uint32_t row = walk.outerRank ? walk.threadsPerRow.divide(t) : 0;
  at.column = int64_t(t - row * walk.threadsPerRow.divisor) * W;
  if (walk.outerRank) {
#pragma unroll
    for (int d = kMaxDims - 2; d >= 0; --d)
      if (d < walk.outerRank) {
        const uint32_t rest = walk.dims[d].divide(row);
        at.c[d] = row - rest * walk.dims[d].divisor;
        row = rest;
      }
  }
  int64_t left = walk.inner - at.column;
  if (walk.count) {
    const int64_t end = *walk.count * walk.perRow - walk.offset[0];
    const int64_t place = walk.outerRank ? int64_t(at.c[0]) : at.column;
    if (place >= end || (walk.first && place < *walk.first * walk.perRow - walk.offset[0]))
      return;
    if (!walk.outerRank && end - at.column < left)
      left = end - at.column;
  }
  at.count = left < W ? int(left) : W;
  compute<F, W>(at.count, Slot<Ops, W>(ops, walk, at)...);
}

template <typename F, int W, size_t... I, typename... Ops>
void launchWalks(Context &ctx, const Shape &shape, std::index_sequence<I...>, const Ops &...ops) {
  forEachWalk(shape, W, [&](const Walk &walk, const int64_t *first) {
    const unsigned blocks = (walk.threads + kElementwiseThreads - 1) / kElementwiseThreads;
    MOIRE_LAUNCH(streamOf(ctx), blocks, kElementwiseThreads, 0, elementwise<F, W, Ops...>, walk,
                 placed(ops, shape, int(I), first)...);
  });
}

template <typename F, size_t... I, typename... Ops>
void launchShape(Context &ctx, const Shape &shape, std::index_sequence<I...> numbers,
                 const Ops &...ops) {
  constexpr int W = widthOf<Ops...>();
  if (W > 1 && shape.rowsTake(W) && (isAligned<W>(ops, shape, int(I)) && ...))
    launchWalks<F, W>(ctx, shape, numbers, ops...);
  else
    launchWalks<F, 1>(ctx, shape, numbers, ops...);
}

} // namespace device

/// Runs F over the space. See the top of moire/rt/elementwise.h.
template <typename F, typename... Ops>
void launch(Context &ctx, const Space &space, const Ops &...ops) {
  device::Shape shape(space);
  (shape.add(ops), ...);
  shape.merge();
  if (!shape.empty())
    device::launchShape<F>(ctx, shape, std::index_sequence_for<Ops...>(), ops...);
}

} // namespace moire::rt

#endif // MOIRE_RT_CUDA_ELEMENTWISE_H
