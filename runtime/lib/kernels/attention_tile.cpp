//===- attention_tile.cpp - Tiles of rows × keys --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "kernels/attention_tile.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace moire::rt::tile {

using simd::kLanes;
using simd::Vec;

template <typename T>
void pack(const T *x, int64_t stride, int64_t rows, int64_t cols,
          float *panels) {
  for (int64_t c = 0; c < cols; c += kPanel) {
    const int64_t n = std::min(kPanel, cols - c);
    for (int64_t r = 0; r < rows; ++r, panels += kPanel) {
      const T *from = x + r * stride + c;
      if constexpr (std::is_same_v<T, float>) {
        if (n == kPanel) {
          simd::store(panels, simd::load(from));
          simd::store(panels + kLanes, simd::load(from + kLanes));
          continue;
        }
      }
      for (int64_t i = 0; i < kPanel; ++i)
        panels[i] = i < n ? static_cast<float>(from[i]) : 0.0f;
    }
  }
}

template <typename T>
void packTransposed(const T *x, int64_t stride, int64_t rows, int64_t cols,
                    float *panels) {
  for (int64_t c = 0; c < cols; c += kPanel, panels += rows * kPanel) {
    const int64_t n = std::min(kPanel, cols - c);
    // Reads a row's piece at a time: 16 lines are open for writing.
    for (int64_t r0 = 0; r0 < rows; r0 += 16) {
      const int64_t r1 = std::min(rows, r0 + 16);
      for (int64_t i = 0; i < n; ++i) {
        const T *from = x + (c + i) * stride;
        for (int64_t r = r0; r < r1; ++r)
          panels[r * kPanel + i] = from[r];
      }
      for (int64_t r = r0; r < r1; ++r)
        for (int64_t i = n; i < kPanel; ++i)
          panels[r * kPanel + i] = 0.0f;
    }
  }
}

template void pack(const float *, int64_t, int64_t, int64_t, float *);
template void pack(const bf16 *, int64_t, int64_t, int64_t, float *);
template void packTransposed(const float *, int64_t, int64_t, int64_t, float *);
template void packTransposed(const bf16 *, int64_t, int64_t, int64_t, float *);

namespace {
#if defined(__AVX512F__)
constexpr int kMicroRows = 12; // 24 sums, 2 of B, 1 of A: 27 of 32 registers
#else
constexpr int kMicroRows = 6; // 12 sums, 2 of B, 1 of A: 15 of 16 registers
#endif

template <int M>
inline __attribute__((always_inline)) void
micro(int64_t k, const float *a, int64_t aRow, int64_t aCol, const float *b,
      bool accumulate, float *c, int64_t ldc) {
  Vec s0[M], s1[M];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
    s0[i] = Vec{};
    s1[i] = Vec{};
  }
  if (accumulate) {
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      s0[i] = simd::load(c + i * ldc);
      s1[i] = simd::load(c + i * ldc + kLanes);
    }
  }
  for (int64_t p = 0; p < k; ++p, a += aCol, b += kPanel) {
    const Vec b0 = simd::load(b), b1 = simd::load(b + kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      const Vec ai = simd::splat(a[i * aRow]);
      s0[i] += ai * b0;
      s1[i] += ai * b1;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
    simd::store(c + i * ldc, s0[i]);
    simd::store(c + i * ldc + kLanes, s1[i]);
  }
}
} // namespace

void multiply(int64_t m, int64_t n, int64_t k, const float *a, int64_t aRow,
              int64_t aCol, const float *panels, int64_t kTotal, int64_t kFirst,
              bool accumulate, float *c, int64_t ldc) {
  for (int64_t j = 0; j < n; j += kPanel) {
    const float *b = panels + (j * kTotal) + kFirst * kPanel;
    int64_t i = 0;
    for (; i + kMicroRows <= m; i += kMicroRows)
      micro<kMicroRows>(k, a + i * aRow, aRow, aCol, b, accumulate,
                        c + i * ldc + j, ldc);
    for (; i + 2 <= m; i += 2)
      micro<2>(k, a + i * aRow, aRow, aCol, b, accumulate, c + i * ldc + j, ldc);
    for (; i < m; ++i)
      micro<1>(k, a + i * aRow, aRow, aCol, b, accumulate, c + i * ldc + j, ldc);
  }
}

namespace {
/// 1 + the last key below limit that the mask's row shows, 0: none.
int64_t lastVisible(const uint8_t *mask, int64_t stride, int64_t limit) {
  if (stride == 1)
    // Eight at a time: most rows of a padded batch end in hidden keys.
    for (uint64_t eight; limit >= 8; limit -= 8) {
      std::memcpy(&eight, mask + limit - 8, 8);
      if (eight)
        break;
    }
  while (limit > 0 && !mask[(limit - 1) * stride])
    --limit;
  return limit;
}
} // namespace

int64_t visibleKeys(const Attention &a, const Masks &m, int64_t row,
                    int64_t rows) {
  int64_t limit = a.keys;
  if (a.causal)
    limit = std::clamp<int64_t>(row + rows + a.causalOffset, 0, a.keys);
  if (!m.mask)
    return limit;
  int64_t most = 0;
  // From the last row: under a causal mask it decides and the others are quick.
  for (int64_t r = row + rows - 1; r >= row && most < limit; --r) {
    const uint8_t *p = m.mask + r * a.mask.query;
    if (most && a.mask.key == 1 && !std::memchr(p + most, 1, limit - most))
      continue;
    most = std::max(most, lastVisible(p, a.mask.key, limit));
    if (a.mask.query == 0)
      break;
  }
  return most;
}

int64_t score(const Attention &a, const Masks &m, int64_t row, int64_t key,
              int64_t n, float *s) {
  if (a.causal)
    n = std::clamp<int64_t>(row + a.causalOffset + 1 - key, 0, n);
  const float scale = a.scale;
  if (m.bias) {
    const float *bias = m.bias + row * a.bias.query + key * a.bias.key;
    if (a.bias.key == 1) {
#pragma GCC ivdep
      for (int64_t j = 0; j < n; ++j)
        s[j] = s[j] * scale + bias[j];
    } else {
      for (int64_t j = 0; j < n; ++j)
        s[j] = s[j] * scale + bias[j * a.bias.key];
    }
  } else {
    for (int64_t j = 0; j < n; ++j)
      s[j] *= scale;
  }
  if (m.mask) {
    const uint8_t *mask = m.mask + row * a.mask.query + key * a.mask.key;
    const float hidden = -HUGE_VALF;
    if (a.mask.key == 1) {
#pragma GCC ivdep
      for (int64_t j = 0; j < n; ++j)
        s[j] = mask[j] ? s[j] : hidden;
    } else {
      for (int64_t j = 0; j < n; ++j)
        s[j] = mask[j * a.mask.key] ? s[j] : hidden;
    }
  }
  return n;
}

Strides dense(const Strides &s, int64_t heads, int64_t rows, int64_t dim) {
  if (s.batch || s.head || s.row)
    return s;
  return {heads * rows * dim, rows * dim, dim};
}

} // namespace moire::rt::tile
