//===- rows.h - Rows of float or bf16 as floats -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_ROWS_H
#define MOIRE_RT_ROWS_H

#include "moire/rt/bf16.h"

#include <cstdint>
#include <type_traits>
#include <vector>

namespace moire::rt {

inline void widen(const bf16 *x, int64_t n, float *y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i)
    y[i] = x[i];
}
inline void narrow(const float *x, int64_t n, bf16 *y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i)
    y[i] = bf16(x[i]);
}
/// Rounded as elements of T are in memory.
template <typename T> float rounded(float x) { return static_cast<float>(static_cast<T>(x)); }

/// What a thread reads and writes of one operand, a row at a time: floats where
/// they lie, bf16 in a buffer of its own.
template <typename T> class FloatRow {
public:
  explicit FloatRow(int64_t n) : n(n), buffer(kCopies ? n : 0) {}
  /// The row's values; null for null.
  const float *read(const T *row) {
    if constexpr (!kCopies) {
      return row;
    } else {
      if (!row)
        return nullptr;
      widen(row, n, buffer.data());
      return buffer.data();
    }
  }
  /// Where to write floats that store() will put into the row.
  float *open(T *row) {
    if constexpr (!kCopies)
      return row;
    else
      return row ? buffer.data() : nullptr;
  }
  void store(T *row) {
    if constexpr (kCopies)
      if (row)
        narrow(buffer.data(), n, row);
  }

private:
  static constexpr bool kCopies = !std::is_same_v<T, float>;
  int64_t n;
  std::vector<float> buffer;
};

} // namespace moire::rt

#endif // MOIRE_RT_ROWS_H
