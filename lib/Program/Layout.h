//===- Layout.h - Strided windows and what view ops make of them ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_PROGRAM_LAYOUT_H
#define MOIRE_LIB_PROGRAM_LAYOUT_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>
#include <optional>

namespace moire::program {

/// Where the elements of a tensor lie in a buffer: element (i, j, ...) is at
/// offset + i * strides[0] + j * strides[1] + ..., counted in elements.
struct Layout {
  int64_t offset = 0;
  llvm::SmallVector<int64_t, 4> shape, strides;

  static Layout dense(llvm::ArrayRef<int64_t> shape);
  bool isDense() const;
  /// Whether the elements of a row lie next to each other. The rank is at least 1.
  bool lastIsContiguous() const { return strides.back() == 1 || shape.back() == 1; }
  int64_t numElements() const;
  bool operator==(const Layout &other) const;

  /// The same elements in row-major order under another shape, where that is a
  /// strided window too.
  std::optional<Layout> reshape(llvm::ArrayRef<int64_t> newShape) const;
  /// Result dim i is dim permutation[i].
  Layout transpose(llvm::ArrayRef<int64_t> permutation) const;
  /// The layout whose transposition this is.
  Layout untranspose(llvm::ArrayRef<int64_t> permutation) const;
  Layout slice(llvm::ArrayRef<int64_t> starts, llvm::ArrayRef<int64_t> limits,
               llvm::ArrayRef<int64_t> steps) const;
  /// Dim i becomes dim dimensions[i] of newShape, the others repeat (stride 0).
  Layout broadcast(llvm::ArrayRef<int64_t> dimensions, llvm::ArrayRef<int64_t> newShape) const;
  Layout reverse(llvm::ArrayRef<int64_t> dims) const;
};

} // namespace moire::program

#endif // MOIRE_LIB_PROGRAM_LAYOUT_H
