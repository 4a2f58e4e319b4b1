//===- index.cu - Gathers and scatters that set ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Bound by memory: rows move once, 16 bytes a thread where they can; types of a
// size share a kernel. Of updates to one row the last must stay: the largest
// update number of each row is found first, by integer atomics.
//
//===----------------------------------------------------------------------===//

#include "cuda/index.cuh"
#include "cuda/scatter_add.h"

#include <type_traits>

namespace moire::rt {

namespace {
using namespace device;
using rows::Pack;

template <typename T>
using Bits = std::conditional_t<
    sizeof(T) == 1, uint8_t,
    std::conditional_t<sizeof(T) == 2, uint16_t,
                       std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>>;

template <typename T>
__device__ __forceinline__ void copyRow(int64_t vectors, const T *from, T *to) {
  const int64_t step = blockDim.x;
  for (int64_t c = threadIdx.x; c < vectors; c += rows::kUnroll * step) {
    T v[rows::kUnroll];
#pragma unroll
    for (int u = 0; u < rows::kUnroll; ++u)
      if (c + u * step < vectors)
        v[u] = from[c + u * step];
#pragma unroll
    for (int u = 0; u < rows::kUnroll; ++u)
      if (c + u * step < vectors)
        to[c + u * step] = v[u];
  }
}

template <typename Target, typename T>
__global__ void __launch_bounds__(rows::kThreads)
    gatherKernel(Target target, int64_t count, int64_t vectors, const T *x, T *y) {
  const int64_t u = rows::row();
  if (u >= count)
    return;
  const int64_t row = target.of(u, threadIdx.x == 0);
  if (row >= 0)
    copyRow(vectors, x + row * vectors, y + u * vectors);
}

template <typename Target>
__global__ void __launch_bounds__(256) lastUpdate(Target target, int64_t count, int32_t *last) {
  const int64_t u = int64_t(blockIdx.x) * 256 + threadIdx.x;
  const int64_t row = u < count ? target.of(u, true) : -1;
  if (row >= 0)
    atomicMax(&last[row], int32_t(u));
}

template <typename Target, typename T>
__global__ void __launch_bounds__(rows::kThreads)
    scatterKernel(Target target, int64_t count, int64_t vectors, const int32_t *last,
                  const T *updates, T *y) {
  const int64_t u = rows::row();
  if (u >= count)
    return;
  const int64_t row = target.of(u, false);
  if (row >= 0 && last[row] == u)
    copyRow(vectors, updates + u * vectors, y + row * vectors);
}

/// Calls body(x, y, vectors) with pointers to what one access moves.
template <typename T, typename Body>
void asVectors(int64_t inner, const T *x, T *y, Body &&body) {
  using B = Bits<T>;
  auto cast = [&](auto pack) {
    using P = decltype(pack);
    body(reinterpret_cast<const P *>(x), reinterpret_cast<P *>(y),
         inner * int64_t(sizeof(T)) / int64_t(sizeof(P)));
  };
  if (rows::wide<T>(inner, x, y))
    cast(Pack<uint32_t, 4>());
  else
    cast(B());
}

template <typename T, typename Target>
void gatherRows(Context &ctx, const Target &target, const T *x, T *y) {
  const int64_t count = target.small();
  asVectors(target.inner(), x, y, [&](auto *from, auto *to, int64_t vectors) {
    const rows::Shape s = rows::shape(count, vectors);
    using P = std::decay_t<decltype(*to)>;
    MOIRE_LAUNCH(streamOf(ctx), s.grid, s.block, 0, gatherKernel<Target, P>, target, count,
                 vectors, from, to);
  });
  checkFaultsOfModel(ctx);
}

template <typename T, typename Target>
void scatterRows(Context &ctx, const Target &target, const T *updates, T *y) {
  const int64_t count = target.small(), bytes = target.large() * 4;
  auto *last = static_cast<int32_t *>(ctx.scratch(bytes));
  MOIRE_CUDA(cudaMemsetAsync(last, 0xff, bytes, streamOf(ctx)));
  MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned((count + 255) / 256)), 256, 0, lastUpdate<Target>,
               target, count, last);
  asVectors(target.inner(), updates, y, [&](auto *from, auto *to, int64_t vectors) {
    const rows::Shape s = rows::shape(count, vectors);
    using P = std::decay_t<decltype(*to)>;
    MOIRE_LAUNCH(streamOf(ctx), s.grid, s.block, 0, scatterKernel<Target, P>, target, count,
                 vectors, last, from, to);
  });
  checkFaultsOfModel(ctx);
}

IndexCheck checkOf(Context &ctx, bool gather) {
  return {faultOf(ctx), gather ? FaultKind::gatherIndex : FaultKind::scatterIndex};
}
ElementsTarget elements(Context &ctx, const GatherElements &g, const int64_t *indices,
                        bool gather) {
  return {g, denseStrides(g.dims), indices, checkOf(ctx, gather)};
}
} // namespace

template <typename T>
void gather(Context &ctx, const Gather &g, const T *x, const int64_t *indices, T *y) {
  gatherRows(ctx, GatherTarget{g, indices, checkOf(ctx, true)}, x, y);
}
template <typename T>
void gatherElements(Context &ctx, const GatherElements &g, const T *x, const int64_t *indices,
                    T *y) {
  gatherRows(ctx, elements(ctx, g, indices, true), x, y);
}
template <typename T>
void gatherND(Context &ctx, const GatherND &g, const T *x, const int64_t *indices, T *y) {
  gatherRows(ctx, NDTarget{g, indices, checkOf(ctx, true)}, x, y);
}

template <typename T>
void scatter(Context &ctx, const Gather &g, const T *updates, const int64_t *indices, T *y) {
  scatterRows(ctx, GatherTarget{g, indices, checkOf(ctx, false)}, updates, y);
}
void gatherGrad(Context &ctx, const Gather &g, const float *dy, const int64_t *indices, float *dx,
                float beta) {
  if (beta == 0)
    fill<float>(ctx, g.outer * g.axis * g.inner, 0.0f, dx);
  scatterAdd(ctx, GatherTarget{g, indices, checkOf(ctx, false)}, dy, dx);
}
template <typename T>
void scatterElements(Context &ctx, const GatherElements &g, const T *updates,
                     const int64_t *indices, T *y, bool add) {
  const ElementsTarget target = elements(ctx, g, indices, false);
  add ? scatterAdd(ctx, target, updates, y) : scatterRows(ctx, target, updates, y);
}
template <typename T>
void scatterND(Context &ctx, const GatherND &g, const T *updates, const int64_t *indices, T *y,
               bool add) {
  const NDTarget target{g, indices, checkOf(ctx, false)};
  add ? scatterAdd(ctx, target, updates, y) : scatterRows(ctx, target, updates, y);
}

#define INSTANTIATE(T)                                                                            \
  template void gather(Context &, const Gather &, const T *, const int64_t *, T *);              \
  template void scatter(Context &, const Gather &, const T *, const int64_t *, T *);             \
  template void gatherElements(Context &, const GatherElements &, const T *, const int64_t *,    \
                               T *);                                                             \
  template void scatterElements(Context &, const GatherElements &, const T *, const int64_t *,   \
                                T *, bool);                                                      \
  template void gatherND(Context &, const GatherND &, const T *, const int64_t *, T *);          \
  template void scatterND(Context &, const GatherND &, const T *, const int64_t *, T *, bool);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(int64_t)
INSTANTIATE(int32_t)
INSTANTIATE(uint8_t)
INSTANTIATE(bf16)

} // namespace moire::rt
