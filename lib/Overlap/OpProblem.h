//===- OpProblem.h - A block of ops as a scheduling problem --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_OVERLAP_OPPROBLEM_H
#define MOIRE_LIB_OVERLAP_OPPROBLEM_H

#include "moire/Overlap/ListScheduler.h"
#include "moire/Overlap/OpCost.h"

namespace moire::overlap {

/// The ops of a block in its order, without waits and terminator. An async is a transfer;
/// what waits are for comes after it.
struct OpProblem {
  Problem problem;
  std::vector<mlir::Operation *> ops; ///< by task
};

/// Besides what ops read of each other, tasks keep the block's order
///  * where the order of additions is at stake: among the summands of one parameter's
///    cotangent, and between the two products of one sum;
///  * where they change the same parameter or gradient;
///  * between what reads the gradient of logits and later collectives: pass
///    `chunk-logits` takes these ops together.
/// So every order of the tasks gives the same bits.
/// inParts: rows of experts take what they do in the parts in which they move; else what they
/// would as a whole.
OpProblem makeProblem(mlir::Block &block, const Rates &rates, bool inParts = true);

/// Puts the ops into this order, each wait before the first op that needs it.
void applyOrder(mlir::Block &block, const OpProblem &problem, llvm::ArrayRef<int> order);

} // namespace moire::overlap

#endif // MOIRE_LIB_OVERLAP_OPPROBLEM_H
