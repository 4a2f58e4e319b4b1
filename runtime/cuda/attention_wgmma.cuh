//===- attention_wgmma.cuh - Heads in shared memory -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Rows of q, k, v and dout are copied as boxes of 64 columns: a tile of heads of
// 128 columns is two boxes, one behind the other.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_CUDA_ATTENTION_WGMMA_CUH
#define MOIRE_CUDA_ATTENTION_WGMMA_CUH

#include "cuda/attention_tile.cuh"
#include "cuda/attention_wgmma.h"
#include "cuda/wgmma_tile.cuh"

namespace moire::rt::hopper {

/// Bytes of `rows` rows of heads of D columns.
template <int D> constexpr int headBytes(int rows) { return rows * D * 2; }

/// Copies rows row … row + rows of a head.
template <int D, int rows>
__device__ inline void copyHead(const TensorMap *map, char *to, Barrier *done, int64_t row,
                                int64_t head, int64_t batch) {
#pragma unroll
  for (int i = 0; i < D / 64; ++i)
    copyTile(map, to + i * rows * 128, done, i * 64, int32_t(row), int32_t(head), int32_t(batch));
}

/// d [64, N] += a [64, D] · b [N, D]ᵀ: rows from `a` in a tile of aRows rows, b a
/// tile of N rows.
template <int D, int aRows, int N>
__device__ inline void scores(float (&d)[N / 2], const char *a, const char *b) {
#pragma unroll
  for (int i = 0; i < D / 16; ++i) {
    const uint64_t step = i % 4 * 32 / 16;
    Wgmma<N>::template multiply<false, false>(d, describe(a + i / 4 * aRows * 128, 16) + step,
                                              describe(b + i / 4 * N * 128, 16) + step);
  }
}

/// d [64, D] += p [64, rows] · b [rows, D], p in bf16 as `narrow` leaves it.
template <int D, int rows>
__device__ inline void weigh(float (&d)[D / 2], const uint32_t (&p)[rows / 16][4], const char *b) {
  const uint64_t tile = describe(b, rows * 128);
#pragma unroll
  for (int i = 0; i < rows / 16; ++i)
    Wgmma<D>::template multiply<true>(d, p[i], tile + i * (16 * 128 / 16));
}

/// A result d [64, N] as the left factor of a product.
template <int N> __device__ inline void narrow(const float (&d)[N / 2], uint32_t (&p)[N / 16][4]) {
#pragma unroll
  for (int i = 0; i < N / 16; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      p[i][j] = packed(d[8 * i + 2 * j], d[8 * i + 2 * j + 1]);
      pin(p[i][j]);
    }
}

/// A mask of one head; data may be null.
struct HeadMask {
  const uint8_t *data;
  int64_t query, key; ///< strides; query 0: the same keys are hidden to all
  __device__ bool hides(int64_t i, int64_t j) const { return !data[i * query + j * key]; }
};

/// Which of N keys a mask of query stride 0 hides: bit 8 i + c of all words after
/// one another is the thread's column 8 i + 2 (lane % 4) + c. All lanes must call.
template <int N>
__device__ inline void hiddenKeys(const HeadMask &mask, int64_t key, int64_t keys,
                                  uint32_t (&hidden)[N / 32]) {
  const int32_t lane = int32_t(threadIdx.x) % kWarp;
#pragma unroll
  for (int i = 0; i < N / 32; ++i) {
    const int64_t j = key + i * kWarp + lane;
    hidden[i] = __ballot_sync(kFullWarp, j < keys && mask.hides(0, j)) >> (lane % 4 * 2);
  }
}

inline constexpr float kLog2e = 1.44269504088896341f, kLn2 = 0.693147180559945309f;

/// A description of q, k, v or dout, copied by `rows` rows of a head.
inline TensorMap headMap(Context &ctx, const bf16 *data, int64_t dim, int64_t length, int64_t heads,
                         int64_t batch, const Strides &s, int64_t rows) {
  // What lies beyond the only head or batch is never looked at.
  return tensorMap(ctx, data, {dim, length, heads, batch}, {64, rows, 1, 1},
                   {length > 1 ? s.row : 8, heads > 1 ? s.head : 8, batch > 1 ? s.batch : 8});
}

/// Whether the copy engine and the tensor cores take the operands.
template <typename... P> bool takesHeads(const Attention &a, const float *bias, const P *...p) {
  const auto fits = [&](const Strides &s, int64_t rows, int64_t heads) {
    const auto one = [](int64_t stride, int64_t n) {
      return n == 1 || (stride > 0 && stride % 8 == 0);
    };
    return one(s.row, rows) && one(s.head, heads) && one(s.batch, a.batch);
  };
  return !bias && a.scale > 0 && a.dim == a.valueDim && (a.dim == 64 || a.dim == 128) &&
         a.queries > 0 && a.keys > 0 && a.batch > 0 && fits(a.q, a.queries, a.heads) &&
         fits(a.k, a.keys, a.kvHeads) && fits(a.v, a.keys, a.kvHeads) &&
         fits(a.out, a.queries, a.heads) && fits(a.dq, a.queries, a.heads) &&
         fits(a.dk, a.keys, a.kvHeads) && fits(a.dv, a.keys, a.kvHeads) &&
         fits(a.dout, a.queries, a.heads) && (... && (reinterpret_cast<uintptr_t>(p) % 16 == 0));
}

} // namespace moire::rt::hopper

#endif // MOIRE_CUDA_ATTENTION_WGMMA_CUH
