//===- rope.cu - Rotary position embedding --------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Bound by memory: x is read and y written once, 16 bytes a thread on each side;
// the tables come from the cache, as all heads read the same.
//
//===----------------------------------------------------------------------===//

#include "moire/rt/cuda/pack.h"
#include "moire/rt/tensor.h"

namespace moire::rt {

namespace {
using namespace device;

/// Rope with its strides filled in; threads: W pairs each.
struct RopeWalk {
  int64_t threads, half, tableBatch;
  Divider perRow, heads, rows;
  int64_t xBatch, xHead, xRow, yBatch, yHead, yRow;
  bool interleaved;
  float sign;
};

template <typename T, int W>
__global__ void __launch_bounds__(256)
    ropeKernel(RopeWalk r, const T *x, const float *cosines, const float *sines, T *y) {
  const uint32_t t = blockIdx.x * 256 + threadIdx.x;
  if (t >= r.threads)
    return;
  // Heads inside rows: neighbouring blocks read the same entries of the tables.
  uint32_t rest = r.perRow.divide(t);
  const int64_t i = int64_t(t - rest * r.perRow.divisor) * W;
  uint32_t next = r.heads.divide(rest);
  const int64_t head = rest - next * r.heads.divisor;
  const int64_t batch = r.rows.divide(next), row = next - uint32_t(batch) * r.rows.divisor;
  x += batch * r.xBatch + head * r.xHead + row * r.xRow;
  y += batch * r.yBatch + head * r.yHead + row * r.yRow;
  Run<float, W> c, s;
  c.load(cosines + batch * r.tableBatch + row * r.half + i);
  s.load(sines + batch * r.tableBatch + row * r.half + i);
  // The pairs (a, b): of halves, or of neighbours in 2 W elements.
  Run<T, W> u, v;
  const T *p = r.interleaved ? x + 2 * i : x + i, *q = r.interleaved ? p + W : p + r.half;
  u.load(p);
  v.load(q);
  float a[W], b[W];
#pragma unroll
  for (int j = 0; j < W; ++j) {
    a[j] = float(!r.interleaved ? u.at[j] : W == 1 || 2 * j < W ? u.at[2 * j % W] : v.at[2 * j % W]);
    b[j] = float(!r.interleaved || W == 1 ? v.at[j]
                 : 2 * j < W             ? u.at[(2 * j + 1) % W]
                                         : v.at[(2 * j + 1) % W]);
  }
#pragma unroll
  for (int j = 0; j < W; ++j) {
    const float sine = r.sign * s.at[j];
    const T first = T(a[j] * c.at[j] - b[j] * sine), second = T(b[j] * c.at[j] + a[j] * sine);
    if (!r.interleaved || W == 1) {
      u.at[j] = first;
      v.at[j] = second;
    } else if (2 * j < W) {
      u.at[2 * j % W] = first;
      u.at[(2 * j + 1) % W] = second;
    } else {
      v.at[2 * j % W] = first;
      v.at[(2 * j + 1) % W] = second;
    }
  }
  u.store(y + (p - x));
  v.store(y + (q - x));
}
} // namespace

template <typename T>
void rope(Context &ctx, const Rope &r, const T *x, const float *cos, const float *sin, T *y) {
  const bool xDense = !r.xBatch && !r.xHead && !r.xRow;
  const bool yDense = !r.yBatch && !r.yHead && !r.yRow;
  const int64_t row = r.dim, head = r.rows * row, batch = r.heads * head, half = r.dim / 2;
  RopeWalk w;
  w.half = half;
  w.tableBatch = r.tableBatchStride;
  w.heads = Divider(uint32_t(r.heads));
  w.rows = Divider(uint32_t(r.rows));
  w.xBatch = xDense ? batch : r.xBatch;
  w.xHead = xDense ? head : r.xHead;
  w.xRow = xDense ? row : r.xRow;
  w.yBatch = yDense ? batch : r.yBatch;
  w.yHead = yDense ? head : r.yHead;
  w.yRow = yDense ? row : r.yRow;
  w.interleaved = r.interleaved;
  w.sign = r.inverse ? -1.0f : 1.0f;
  constexpr int W = 16 / sizeof(T);
  bool wide = half % W == 0 && isAligned(x, 16) && isAligned(y, 16) && isAligned(cos, 16) &&
              isAligned(sin, 16) && r.tableBatchStride % 4 == 0;
  for (int64_t stride : {w.xBatch, w.xHead, w.xRow, w.yBatch, w.yHead, w.yRow})
    wide &= stride % W == 0;
  const int64_t perRow = wide ? half / W : half;
  w.perRow = Divider(uint32_t(perRow));
  w.threads = r.batch * r.rows * r.heads * perRow;
  if (w.threads >= int64_t(1) << 31)
    throw RunError("a rotary embedding of " + std::to_string(w.threads * 2) +
                   " elements is too large; use a smaller batch or sequence in --bind");
  const dim3 blocks(unsigned((w.threads + 255) / 256));
  if (wide)
    MOIRE_LAUNCH(streamOf(ctx), blocks, 256, 0, ropeKernel<T, W>, w, x, cos, sin, y);
  else
    MOIRE_LAUNCH(streamOf(ctx), blocks, 256, 0, ropeKernel<T, 1>, w, x, cos, sin, y);
}

template void rope(Context &, const Rope &, const float *, const float *, const float *, float *);
template void rope(Context &, const Rope &, const bf16 *, const float *, const float *, bf16 *);

} // namespace moire::rt
