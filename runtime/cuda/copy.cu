//===- copy.cu - Strided copies, fills, conversions -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Bound by memory: each element is read and written once. Copies move bits, so
// one kernel serves all types of a size.
//
//===----------------------------------------------------------------------===//

#include "cuda/transpose.cuh"
#include "moire/rt/elementwise.h"
#include "moire/rt/tensor.h"

namespace moire::rt {

namespace {
using namespace device;

struct Move {
  template <typename T> MOIRE_FUNCTOR run(T x, T &y) { y = x; }
};
struct Add {
  MOIRE_FUNCTOR run(float x, float y, float &sum) { sum = y + x; }
};
template <typename To> struct Convert {
  template <typename From, typename Value> MOIRE_FUNCTOR run(From x, Value &y) {
    y = static_cast<Value>(x);
  }
};

/// An integer of T's size; not uint8_t, which elementwise kernels take for bool.
template <typename T>
using Bits = std::conditional_t<
    sizeof(T) == 1, int8_t,
    std::conditional_t<sizeof(T) == 2, uint16_t,
                       std::conditional_t<sizeof(T) == 4, int32_t, int64_t>>>;

template <int Inner, bool IsOutput, typename T>
Operand<T, Inner, IsOutput> operand(std::conditional_t<IsOutput, T *, const T *> p,
                                    const Ints &strides) {
  Operand<T, Inner, IsOutput> op{p};
  for (int d = 0; d < strides.n; ++d)
    op.strides[d] = strides[d];
  return op;
}

/// After simplify(): at most kMaxDims dimensions in one launch.
template <typename T, bool Accumulate>
void copyPlan(Context &ctx, const Plan &p, const T *x, T *y) {
  if (p.dims.n > kMaxDims) {
    const Plan rest = {without(p.dims, 0), without(p.x, 0), without(p.y, 0)};
    for (int64_t i = 0; i < p.dims[0]; ++i)
      copyPlan<T, Accumulate>(ctx, rest, x + i * p.x[0], y + i * p.y[0]);
    return;
  }
  const int last = p.dims.n - 1;
  if (p.y[last] == 1 && p.x[last] != 1)
    for (int i = 0; i < last; ++i)
      if (p.x[i] == 1)
        return transposed<T, Accumulate>(ctx, p, i, x, y);
  Space space({});
  space.rank = p.dims.n;
  for (int d = 0; d < space.rank; ++d)
    space.dims[d] = p.dims[d];
  auto toOf = [&](const auto &from) {
    auto go = [&](auto inner) {
      constexpr int Inner = decltype(inner)::value;
      const auto to = operand<Inner, true, T>(y, p.y);
      if constexpr (Accumulate)
        launch<Add>(ctx, space, from, operand<Inner, false, T>(y, p.y), to);
      else
        launch<Move>(ctx, space, from, to);
    };
    if (p.y[last] == 1)
      go(std::integral_constant<int, 1>());
    else
      go(std::integral_constant<int, kStrided>());
  };
  if (p.x[last] == 1)
    toOf(operand<1, false, T>(x, p.x));
  else if (p.x[last] == 0)
    toOf(operand<0, false, T>(x, p.x));
  else
    toOf(operand<kStrided, false, T>(x, p.x));
}

template <typename T, bool Accumulate>
void strided(Context &ctx, const Ints &dims, const T *x, const Ints &xs, T *y, const Ints &ys) {
  if (product(dims) > 0)
    copyPlan<T, Accumulate>(ctx, simplify(dims, xs, ys), x, y);
}

template <typename T, int W>
__global__ void __launch_bounds__(256) fillKernel(int64_t n, T value, T *y) {
  const int64_t i = (int64_t(blockIdx.x) * 256 + threadIdx.x) * W;
  Run<T, W> run;
#pragma unroll
  for (int j = 0; j < W; ++j)
    run.at[j] = value;
  if (i + W <= n)
    run.store(y + i);
  else
    for (int64_t k = i; k < n; ++k)
      y[k] = value;
}

template <typename T>
__global__ void __launch_bounds__(256) iotaKernel(int64_t n, T start, T step, T *y) {
  const int64_t i = int64_t(blockIdx.x) * 256 + threadIdx.x;
  if (i < n)
    y[i] = static_cast<T>(start + static_cast<T>(i) * step);
}

dim3 blocksFor(int64_t n) { return dim3(unsigned((n + 255) / 256)); }
} // namespace

template <typename T>
void copyStrided(Context &ctx, const Ints &dims, const T *x, const Ints &xStrides, T *y,
                 const Ints &yStrides) {
  strided<Bits<T>, false>(ctx, dims, reinterpret_cast<const Bits<T> *>(x), xStrides,
                          reinterpret_cast<Bits<T> *>(y), yStrides);
}
void addStrided(Context &ctx, const Ints &dims, const float *x, const Ints &xStrides, float *y,
                const Ints &yStrides, float beta) {
  if (beta == 0)
    copyStrided<float>(ctx, dims, x, xStrides, y, yStrides);
  else
    strided<float, true>(ctx, dims, x, xStrides, y, yStrides);
}

template <typename T>
void transpose(Context &ctx, const Ints &dims, const Ints &perm, const T *x, T *y) {
  const Ints sx = denseStrides(dims);
  Ints to, from;
  to.n = from.n = dims.n;
  for (int i = 0; i < dims.n; ++i) {
    to.v[i] = dims[perm[i]];
    from.v[i] = sx[perm[i]];
  }
  copyStrided<T>(ctx, to, x, from, y, denseStrides(to));
}

template <typename T> void fill(Context &ctx, int64_t n, T value, T *y) {
  constexpr int W = 16 / sizeof(T);
  if (isAligned(y, 16))
    MOIRE_LAUNCH(streamOf(ctx), blocksFor((n + W - 1) / W), 256, 0, fillKernel<T, W>, n, value, y);
  else
    MOIRE_LAUNCH(streamOf(ctx), blocksFor(n), 256, 0, fillKernel<T, 1>, n, value, y);
}
template <typename T> void copy(Context &ctx, int64_t n, const T *x, T *y) {
  if (n > 0)
    MOIRE_CUDA(cudaMemcpyAsync(y, x, n * sizeof(T), cudaMemcpyDeviceToDevice, streamOf(ctx)));
}
template <typename T> void iota(Context &ctx, int64_t n, T start, T step, T *y) {
  MOIRE_LAUNCH(streamOf(ctx), blocksFor(n), 256, 0, iotaKernel<T>, n, start, step, y);
}
template <typename From, typename To>
void convert(Context &ctx, int64_t n, const From *x, To *y) {
  launch<Convert<To>>(ctx, {n}, in<1>(x), out<1>(y));
}

#define INSTANTIATE_MOVES(T)                                                                      \
  template void copyStrided(Context &, const Ints &, const T *, const Ints &, T *, const Ints &); \
  template void transpose(Context &, const Ints &, const Ints &, const T *, T *);                \
  template void fill(Context &, int64_t, T, T *);                                                \
  template void copy(Context &, int64_t, const T *, T *);
#define INSTANTIATE(T)                                                                            \
  INSTANTIATE_MOVES(T)                                                                            \
  template void iota(Context &, int64_t, T, T, T *);                                             \
  template void convert(Context &, int64_t, const T *, float *);                                 \
  template void convert(Context &, int64_t, const T *, double *);                                \
  template void convert(Context &, int64_t, const T *, int64_t *);                               \
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
