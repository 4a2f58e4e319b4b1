//===- Layout.h - Where the elements of a rearranged tensor come from ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RAISE_LAYOUT_H
#define MOIRE_RAISE_LAYOUT_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdint>
#include <optional>
#include <utility>

namespace moire::raise {

/// A counter of `size` steps, each of which adds `stride`.
struct Factor {
  int64_t size;
  int64_t stride;
  bool operator==(const Factor &o) const { return size == o.size && stride == o.stride; }
};

/// One dim as a mixed-radix number, outermost digit first. Empty: size 1.
using Mode = llvm::SmallVector<Factor, 2>;

int64_t sizeOf(llvm::ArrayRef<Factor> mode);
/// All strides are zero: nothing changes along the dim.
bool isConstant(llvm::ArrayRef<Factor> mode);
/// Drops digits of size 1 and merges digits that count on seamlessly.
Mode coalesce(llvm::ArrayRef<Factor> mode);

/// A function from the positions of a static shape to integers:
/// offset + the sum over all digits of (digit's count x stride).
///
/// As the place of an element in a flat buffer it describes what any chain of
/// reshape, transpose, broadcast and slice does; a dim has several digits
/// where such a chain merged dims that do not lie behind each other (repeated
/// key heads: (Hkv, S*D), (G, 0)). As a value it describes an integer tensor
/// that is linear in its positions (iota, b*S + k).
struct Layout {
  int64_t offset = 0;
  llvm::SmallVector<Mode, 4> dims;

  static Layout rowMajor(llvm::ArrayRef<int64_t> shape);
  static Layout constant(llvm::ArrayRef<int64_t> shape, int64_t value);

  llvm::SmallVector<int64_t> shape() const;
  int64_t elements() const;
  /// The least and the largest value that the function takes.
  std::pair<int64_t, int64_t> range() const;
  bool isConstant() const;
  int64_t at(llvm::ArrayRef<int64_t> position) const;
  Layout coalesced() const;
  bool operator==(const Layout &o) const { return offset == o.offset && dims == o.dims; }
  bool operator!=(const Layout &o) const { return !(*this == o); }
  void print(llvm::raw_ostream &os) const;
};

/// Cuts `a` and `b` of equal size into digits of the same sizes. Empty where
/// their digits overlap without dividing each other.
std::optional<std::pair<Mode, Mode>> refine(llvm::ArrayRef<Factor> a, llvm::ArrayRef<Factor> b);

/// scaleA * a + scaleB * b, position by position; both have one shape.
std::optional<Layout> combine(const Layout &a, int64_t scaleA, const Layout &b, int64_t scaleB);

/// Which values a digit of the target takes under a layout.
struct DigitRange {
  int64_t first;
  int64_t last;
};

/// Follows `outer`, whose values are row-major positions in a tensor with the
/// digits `inner` (outermost first), to innerOffset + the sum of inner's
/// strides. Empty where a digit of `outer` would carry from one digit of the
/// tensor into another. `ranges`, if given, receives one entry per digit.
std::optional<Layout> compose(const Layout &outer, llvm::ArrayRef<Factor> inner,
                              int64_t innerOffset = 0,
                              llvm::SmallVectorImpl<DigitRange> *ranges = nullptr);

/// The digits of a function given by all its values in row-major order, where
/// it has the form of a layout's offset and digits.
std::optional<std::pair<int64_t, Mode>> digitsOf(llvm::ArrayRef<int64_t> values);

} // namespace moire::raise

#endif // MOIRE_RAISE_LAYOUT_H
