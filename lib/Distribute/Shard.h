//===- Shard.h - What one rank of a group holds of a tensor --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_DISTRIBUTE_SHARD_H
#define MOIRE_LIB_DISTRIBUTE_SHARD_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>

namespace moire::distribute {

/// What a rank holds of a tensor, over one axis of the mesh.
struct Shard {
  enum class Kind {
    constant,   ///< one number everywhere: any shard of it costs nothing
    replicated, ///< all of it
    split,      ///< its pieces of one dim
    unreduced,  ///< a summand of it: the tensor is the sum over the ranks
  };
  Kind kind = Kind::replicated;
  int64_t dim = -1; ///< of split
  /// Of split: sizes that add up to the dim. Each block is cut into equal pieces, one a
  /// rank, and a rank holds its pieces of all blocks one after another.
  llvm::SmallVector<int64_t, 3> blocks;

  static Shard constant() { return {Kind::constant, -1, {}}; }
  static Shard replicated() { return {}; }
  static Shard unreduced() { return {Kind::unreduced, -1, {}}; }
  static Shard split(int64_t dim, llvm::ArrayRef<int64_t> blocks) {
    return {Kind::split, dim, llvm::SmallVector<int64_t, 3>(blocks)};
  }
  /// A dim of `type` as one block.
  static Shard split(mlir::Type type, int64_t dim) {
    return split(dim, mlir::cast<mlir::RankedTensorType>(type).getDimSize(dim));
  }

  bool isSplit() const { return kind == Kind::split; }
  bool isSplit(int64_t d) const { return isSplit() && dim == d; }
  bool isUnreduced() const { return kind == Kind::unreduced; }
  bool isConstant() const { return kind == Kind::constant; }
  /// Every rank holds all of it, or can at no cost.
  bool isWhole() const { return kind == Kind::replicated || kind == Kind::constant; }

  /// The same pieces at another place among the dims.
  Shard at(int64_t other) const { return split(other, blocks); }

  bool operator==(const Shard &other) const {
    return kind == other.kind && dim == other.dim && blocks == other.blocks;
  }
  bool operator!=(const Shard &other) const { return !(*this == other); }
};

/// `shard` splits a dim that `type` has into whole pieces for `ranks` ranks, or nothing.
bool fits(const Shard &shard, mlir::Type type, int64_t ranks);

/// The type of what a rank holds. `type` need not be a tensor where nothing is split.
mlir::Type localType(mlir::Type type, const Shard &shard, int64_t ranks);

/// The split of a tensor of shape `from` as it looks under shape `to`, which has as
/// many elements: the same elements on each rank, in the same order. Nothing where no
/// single dim of `to` has those pieces.
std::optional<Shard> throughReshape(llvm::ArrayRef<int64_t> from, llvm::ArrayRef<int64_t> to,
                                    const Shard &shard, int64_t ranks);

/// A window of a split dim, and where it lies in what a rank holds of the dim.
struct Window {
  Shard shard;
  int64_t start, limit;
};

/// The window [start, limit) by `stride` of the dim that `shard` splits, where each
/// rank has its pieces of the window: whole blocks, and strides that do not cross the
/// bounds of pieces (every second element: gate and up of one interleaved weight).
std::optional<Window> throughSlice(const Shard &shard, int64_t start, int64_t limit, int64_t stride,
                                   int64_t ranks);

/// Padding of the dim that `shard` splits, as a rank does it.
struct Padding {
  Shard shard;
  int64_t low, high;
};

/// The dim that `shard` splits with `low` and `high` elements around and `interior`
/// between: blocks of their own, or every piece gets its share (slice's adjoint).
std::optional<Padding> throughPad(const Shard &shard, int64_t low, int64_t high, int64_t interior,
                                  int64_t ranks);

} // namespace moire::distribute

#endif // MOIRE_LIB_DISTRIBUTE_SHARD_H
