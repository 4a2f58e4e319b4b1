//===- attention_tile.h - Tiles of rows × keys ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Attention works on tiles of kRows queries × up to kKeys keys that stay in the
// second-level cache. All its products are C (+)= A · B with a small A that is
// broadcast element by element and a B that was packed into panels of kPanel
// columns once per head: panel p holds B[:, p · kPanel …] as [k, kPanel], padded
// with zeros.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_ATTENTION_TILE_H
#define MOIRE_RT_ATTENTION_TILE_H

#include "kernels/rows.h"
#include "kernels/simd.h"
#include "moire/rt/attention.h"

namespace moire::rt::tile {

/// Two vectors wide.
inline constexpr int64_t kPanel = 2 * simd::kLanes;
/// Queries of a tile, a multiple of the micro-kernels' 6 and 12 rows. Few, so that
/// little is computed beyond the causal limit (256 keys: 24 rows 54, 72 rows 49
/// GFLOP/s forward on one core of a Zen 3 with a peak of 102; rt-bench 1
/// attention).
inline constexpr int64_t kRows = 24;
/// Keys of a tile.
inline constexpr int64_t kKeys = 512;

inline int64_t padded(int64_t n) { return (n + kPanel - 1) / kPanel * kPanel; }

/// B[k, n] = x[k · stride + n] for k < rows, n < cols: panels of x as it lies.
template <typename T>
void pack(const T *x, int64_t stride, int64_t rows, int64_t cols,
          float *panels);
/// B[k, n] = x[n · stride + k]: panels of x's transpose; x [cols, rows].
template <typename T>
void packTransposed(const T *x, int64_t stride, int64_t rows, int64_t cols,
                    float *panels);

/// Rows of a matrix as floats: as they lie, or copied to `buffer` [rows, cols].
struct FloatRows {
  const float *data;
  int64_t stride;
};
template <typename T>
FloatRows asFloats(const T *x, int64_t stride, int64_t rows, int64_t cols, float *buffer) {
  if constexpr (std::is_same_v<T, float>) {
    return {x, stride};
  } else {
    for (int64_t i = 0; i < rows; ++i)
      widen(x + i * stride, cols, buffer + i * cols);
    return {buffer, cols};
  }
}
/// to = x, rounded where T is.
template <typename T> void storeRow(const float *x, int64_t n, T *to) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i)
    to[i] = static_cast<T>(x[i]);
}

/// C [m, n] (+)= A · B, n padded; A[i, p] = a[i · aRow + p · aCol], p < k; panels
/// hold kTotal rows each, of which those from kFirst are used. Each element sums
/// p ascending in one fma chain, whatever its place in the tile.
void multiply(int64_t m, int64_t n, int64_t k, const float *a, int64_t aRow,
              int64_t aCol, const float *panels, int64_t kTotal, int64_t kFirst,
              bool accumulate, float *c, int64_t ldc);

/// Where one (batch, head) finds its mask and bias.
struct Masks {
  const uint8_t *mask;
  const float *bias;
  Masks(const Attention &a, const uint8_t *mask, const float *bias, int64_t b,
        int64_t h)
      : mask(mask ? mask + b * a.mask.batch + h * a.mask.head : nullptr),
        bias(bias ? bias + b * a.bias.batch + h * a.bias.head : nullptr) {}
};

/// How many keys (a prefix) the rows [row, row + rows) may see at most.
int64_t visibleKeys(const Attention &a, const Masks &m, int64_t row,
                    int64_t rows);

/// Scales a row of products s[0, n) for keys key … key + n of query `row`, adds
/// bias, sets hidden keys to -inf. Returns how many columns are left to look at:
/// the others lie beyond the causal limit and were not touched.
int64_t score(const Attention &a, const Masks &m, int64_t row, int64_t key,
              int64_t n, float *s);

/// The strides with dense ones filled in.
Strides dense(const Strides &s, int64_t heads, int64_t rows, int64_t dim);

} // namespace moire::rt::tile

#endif // MOIRE_RT_ATTENTION_TILE_H
