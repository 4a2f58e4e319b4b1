//===- routing.cu - Tokens to experts and back ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What moves rows between tokens and experts. Bound by memory: a row is read and
// written once, in vectors of 16 bytes where it can be. Sums run over k or over
// rows ascending, or in a tree that the shape alone decides: no float atomics.
//
//===----------------------------------------------------------------------===//

#include "moire/rt/routing.h"
#include "moire/rt/tensor.h"
#include "rows.cuh"
#include "warp.cuh"

namespace moire::rt {

namespace {
using rows::kUnroll;
using rows::Pack;

/// to[i, :] = from[index[i] / divisor, :].
template <typename T, int N>
__global__ void gatherKernel(int64_t count, int64_t vectors, const int32_t *index, int32_t divisor,
                             const Pack<T, N> *from, Pack<T, N> *to) {
  const int64_t row = rows::row();
  if (row >= count)
    return;
  from += index[row] / divisor * vectors;
  to += row * vectors;
  const int64_t step = blockDim.x;
  for (int64_t c = threadIdx.x; c < vectors; c += kUnroll * step) {
    Pack<T, N> v[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
      if (c + u * step < vectors)
        v[u] = from[c + u * step];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
      if (c + u * step < vectors)
        to[c + u * step] = v[u];
  }
}

template <typename T, int N>
void gatherVectors(Context &ctx, int64_t count, int64_t width, const int32_t *index,
                   int64_t divisor, const T *from, T *to) {
  const rows::Shape s = rows::shape(count, width / N);
  MOIRE_LAUNCH(streamOf(ctx), s.grid, s.block, 0, gatherKernel<T, N>, count, width / N, index,
               int32_t(divisor), reinterpret_cast<const Pack<T, N> *>(from),
               reinterpret_cast<Pack<T, N> *>(to));
}
template <typename T>
void gather(Context &ctx, int64_t count, int64_t width, const int32_t *index, int64_t divisor,
            const T *from, T *to) {
  if (count == 0 || width == 0)
    return;
  if (rows::wide<T>(width, from, to))
    gatherVectors<T, rows::kWide<T>>(ctx, count, width, index, divisor, from, to);
  else
    gatherVectors<T, 1>(ctx, count, width, index, divisor, from, to);
}

/// y[t, :] (+)= Σ_k weights[t, k] · from[pairToRow[t, k], :], one fma chain.
template <typename T, int N>
__global__ void combineKernel(int64_t tokens, int32_t k, int64_t vectors, const int32_t *pairToRow,
                              const Pack<T, N> *from, const float *weights, Pack<T, N> *y,
                              bool add) {
  const int64_t t = rows::row();
  if (t >= tokens)
    return;
  for (int64_t c = threadIdx.x; c < vectors; c += blockDim.x) {
    float sum[N] = {};
    if (add) {
      const Pack<T, N> old = y[t * vectors + c];
#pragma unroll
      for (int i = 0; i < N; ++i)
        sum[i] = float(old.at[i]);
    }
#pragma unroll 4
    for (int32_t j = 0; j < k; ++j) {
      const int64_t row = pairToRow[t * k + j];
      if (row < 0) // no expert
        continue;
      const Pack<T, N> v = from[row * vectors + c];
      const float w = weights ? weights[t * k + j] : 1.0f;
#pragma unroll
      for (int i = 0; i < N; ++i)
        sum[i] = fmaf(w, float(v.at[i]), sum[i]);
    }
    Pack<T, N> out;
#pragma unroll
    for (int i = 0; i < N; ++i)
      out.at[i] = T(sum[i]);
    y[t * vectors + c] = out;
  }
}

template <typename T, int N>
void combineVectors(Context &ctx, const Routing &r, int64_t width, const T *from,
                    const float *weights, T *y, bool add) {
  const rows::Shape s = rows::shape(r.tokens, width / N);
  MOIRE_LAUNCH(streamOf(ctx), s.grid, s.block, 0, combineKernel<T, N>, r.tokens, int32_t(r.k),
               width / N, r.pairToRow, reinterpret_cast<const Pack<T, N> *>(from), weights,
               reinterpret_cast<Pack<T, N> *>(y), add);
}
template <typename T>
void combineRows(Context &ctx, const Routing &r, int64_t width, const T *from, const float *weights,
                 T *y, bool add) {
  if (r.tokens == 0 || width == 0)
    return;
  if (rows::wide<T>(width, from, y))
    combineVectors<T, rows::kWide<T>>(ctx, r, width, from, weights, y, add);
  else
    combineVectors<T, 1>(ctx, r, width, from, weights, y, add);
}

/// A warp to a row: the product with dy is summed by lanes, then over the warp.
template <typename T, int N>
__global__ void combineGradKernel(const int32_t *count, int32_t k, int64_t vectors,
                                  const int32_t *rowToPair, const Pack<T, N> *from,
                                  const float *weights, const Pack<T, N> *dy, Pack<T, N> *drows,
                                  float *dweights) {
  const int64_t row = rows::row();
  if (row >= *count) // the whole warp
    return;
  const int32_t pair = rowToPair[row];
  dy += pair / k * vectors;
  from += row * vectors;
  const float w = weights ? weights[pair] : 1.0f;
  float dot = 0;
#pragma unroll 4
  for (int64_t c = threadIdx.x; c < vectors; c += kWarp) {
    const Pack<T, N> g = dy[c];
    if (dweights) {
      const Pack<T, N> v = from[c];
#pragma unroll
      for (int i = 0; i < N; ++i)
        dot = fmaf(float(v.at[i]), float(g.at[i]), dot);
    }
    if (drows) {
      Pack<T, N> d;
#pragma unroll
      for (int i = 0; i < N; ++i)
        d.at[i] = T(w * float(g.at[i]));
      drows[row * vectors + c] = d;
    }
  }
  if (!dweights)
    return;
  dot = warpSum(dot);
  if (threadIdx.x == 0)
    dweights[pair] = dot;
}

template <typename T, int N>
void combineGradVectors(Context &ctx, const Routing &r, int64_t width, const T *from,
                        const float *weights, const T *dy, T *drows, float *dweights) {
  if (dweights) // pairs without an expert have no row that would set them
    fill(ctx, r.rows(), 0.0f, dweights);
  const unsigned perBlock = rows::kThreads / kWarp;
  MOIRE_LAUNCH(streamOf(ctx), dim3(static_cast<unsigned>((r.rows() + perBlock - 1) / perBlock)),
               dim3(kWarp, perBlock), 0, combineGradKernel<T, N>, r.count(), int32_t(r.k), width / N,
               r.rowToPair, reinterpret_cast<const Pack<T, N> *>(from), weights,
               reinterpret_cast<const Pack<T, N> *>(dy), reinterpret_cast<Pack<T, N> *>(drows),
               dweights);
}

/// The expert of a row: the last e with offsets[e] <= row.
__device__ inline int32_t expertOf(const int32_t *offsets, int32_t experts, int32_t row) {
  int32_t low = 0, high = experts; // offsets[low] <= row < offsets[high]
  while (high - low > 1) {
    const int32_t middle = (low + high) / 2;
    if (offsets[middle] <= row)
      low = middle;
    else
      high = middle;
  }
  return low;
}

template <typename T, int N>
__global__ void perExpertKernel(Routing r, int64_t vectors, const float *values,
                                const Pack<T, N> *x, Pack<T, N> *to) {
  const int64_t row = rows::row();
  if (row < r.offsets[0] || row >= r.offsets[r.experts]) // a part's rows begin further on
    return;
  const float *v = values + expertOf(r.offsets, int32_t(r.experts), int32_t(row)) * vectors * N;
  for (int64_t c = threadIdx.x; c < vectors; c += blockDim.x) {
    Pack<T, N> out{};
    if (x)
      out = x[row * vectors + c];
#pragma unroll
    for (int i = 0; i < N; ++i)
      out.at[i] = T(x ? float(out.at[i]) + v[c * N + i] : v[c * N + i]);
    to[row * vectors + c] = out;
  }
}

template <typename T, int N>
void perExpertVectors(Context &ctx, const Routing &r, int64_t width, const float *values, T *to,
                      const T *x) {
  const rows::Shape s = rows::shape(r.rows(), width / N);
  MOIRE_LAUNCH(streamOf(ctx), s.grid, s.block, 0, perExpertKernel<T, N>, r, width / N, values,
               reinterpret_cast<const Pack<T, N> *>(x), reinterpret_cast<Pack<T, N> *>(to));
}

/// 32 columns of one expert to a block; kSumRows threads to a column take every
/// kSumRows-th row, and their sums are added in a tree.
constexpr unsigned kSumRows = 16;
template <typename T>
__global__ void perExpertSumKernel(Routing r, int64_t width, const T *from, float *sums,
                                   float beta) {
  MOIRE_SHARED(float, partial, kSumRows *(kWarp + 1));
  const int64_t column = int64_t(blockIdx.x) * kWarp + threadIdx.x;
  const int32_t e = int32_t(blockIdx.y), end = r.offsets[e + 1];
  float sum = 0;
  if (column < width) {
#pragma unroll 4
    for (int64_t row = r.offsets[e] + threadIdx.y; row < end; row += kSumRows)
      sum += float(from[row * width + column]);
  }
  for (unsigned half = kSumRows / 2; half > 0; half /= 2) {
    if (threadIdx.y < 2 * half)
      partial[threadIdx.y * (kWarp + 1) + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y < half)
      sum += partial[(threadIdx.y + half) * (kWarp + 1) + threadIdx.x];
    __syncthreads();
  }
  if (threadIdx.y == 0 && column < width) {
    float *to = sums + e * width + column;
    *to = beta == 0 ? sum : sum + beta * *to;
  }
}

__global__ void countsKernel(Routing r, int64_t *counts) {
  const int64_t e = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (e < r.experts)
    counts[e] = r.offsets[e + 1] - r.offsets[e];
}
} // namespace

template <typename T>
void dispatch(Context &ctx, const Routing &r, int64_t width, const T *x, T *rows) {
  gather(ctx, r.rows(), width, r.rowToPair, r.k, x, rows);
}

template <typename T>
void dispatchGrad(Context &ctx, const Routing &r, int64_t width, const T *drows, T *dx,
                  float beta) {
  combineRows<T>(ctx, r, width, drows, nullptr, dx, beta != 0);
}

template <typename T>
void combine(Context &ctx, const Routing &r, int64_t width, const T *rows, const float *weights,
             T *y, float beta) {
  combineRows(ctx, r, width, rows, weights, y, beta != 0);
}

template <typename T>
void combineGrad(Context &ctx, const Routing &r, int64_t width, const T *rows, const float *weights,
                 const T *dy, Same<T> *drows, float *dweights) {
  if (r.rows() == 0)
    return;
  if (rows::wide<T>(width, rows, dy, drows))
    combineGradVectors<T, rows::kWide<T>>(ctx, r, width, rows, weights, dy, drows, dweights);
  else
    combineGradVectors<T, 1>(ctx, r, width, rows, weights, dy, drows, dweights);
}

template <typename T>
void perExpert(Context &ctx, const Routing &r, int64_t width, const float *values, T *rows,
               const Same<T> *x) {
  if (r.rows() == 0 || width == 0)
    return;
  if (rows::wide<T>(width, rows, x))
    perExpertVectors<T, rows::kWide<T>>(ctx, r, width, values, rows, x);
  else
    perExpertVectors<T, 1>(ctx, r, width, values, rows, x);
}

#define MOIRE_ROWS(T)                                                                              \
  template void dispatch(Context &, const Routing &, int64_t, const T *, T *);                     \
  template void dispatchGrad(Context &, const Routing &, int64_t, const T *, T *, float);          \
  template void combine(Context &, const Routing &, int64_t, const T *, const float *, T *,        \
                        float);                                                                    \
  template void combineGrad(Context &, const Routing &, int64_t, const T *, const float *,         \
                            const T *, T *, float *);                                              \
  template void perExpert(Context &, const Routing &, int64_t, const float *, T *, const T *);
MOIRE_ROWS(float)
MOIRE_ROWS(bf16)
#undef MOIRE_ROWS

void perExpertSum(Context &ctx, const Routing &r, int64_t width, const float *rows, float *sums,
                  float beta) {
  const dim3 grid(static_cast<unsigned>((width + kWarp - 1) / kWarp),
                  static_cast<unsigned>(r.experts));
  MOIRE_LAUNCH(streamOf(ctx), grid, dim3(kWarp, kSumRows), 0, perExpertSumKernel<float>, r, width,
               rows, sums, beta);
}

void pairsToRows(Context &ctx, const Routing &r, int64_t width, const float *pairs, float *rows) {
  gather(ctx, r.rows(), width, r.rowToPair, 1, pairs, rows);
}

void rowsToPairs(Context &ctx, const Routing &r, int64_t width, const float *rows, float *pairs) {
  gather(ctx, r.rows(), width, r.pairToRow, 1, rows, pairs);
}

void expertCounts(Context &ctx, const Routing &r, int64_t *counts) {
  MOIRE_LAUNCH(streamOf(ctx), dim3(static_cast<unsigned>((r.experts + 255) / 256)), dim3(256), 0,
               countsKernel, r, counts);
}

static __global__ void addCountsKernel(Routing r, int64_t *loads) {
  const int64_t e = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (e < r.experts)
    loads[e] += r.offsets[e + 1] - r.offsets[e];
}

void countRows(Context &ctx, const TaskState &task, int64_t router, const Routing &r) {
  if (!ctx.loads.size())
    return;
  MOIRE_LAUNCH(streamOf(ctx), dim3(static_cast<unsigned>((r.experts + 255) / 256)), dim3(256), 0,
               addCountsKernel, r,
               ctx.loads.as<int64_t>() +
                   ctx.program->routers[task.firstRouter + router].offset);
}

} // namespace moire::rt
