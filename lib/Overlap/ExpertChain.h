//===- ExpertChain.h - Rows to experts, what these compute, and back -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_OVERLAP_EXPERTCHAIN_H
#define MOIRE_LIB_OVERLAP_EXPERTCHAIN_H

#include "dialects/dist/Dist.h"

namespace moire::overlap {

/// Rows of experts that come, what is computed of them, each row by itself, and where they go
/// back. All in one block.
struct ExpertChain {
  dist::AsyncOp come, back;
  dist::AllToAllRowsOp comeMove, backMove;
  /// What leads from the rows that come to those that go back, in the block's order; views, too.
  llvm::SmallVector<mlir::Operation *> ops;
  int64_t experts = 0; ///< of this rank

  int64_t getParts() { return comeMove.getParts(); }
};

/// The chain that begins with `come`; none where it is of another kind.
std::optional<ExpertChain> findChain(dist::AsyncOp come);

} // namespace moire::overlap

#endif // MOIRE_LIB_OVERLAP_EXPERTCHAIN_H
