//===- Views.cpp - Shortest data movement --------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Matchers.h"
#include "moire/Raise/Passes.h"

namespace moire::raise {
#define GEN_PASS_DEF_RAISEVIEWS
#include "lib/Raise/Passes.h.inc"
} // namespace moire::raise

using namespace mlir;
using namespace moire;
using namespace moire::raise;

static bool isMovement(Operation *op) {
  return isa_and_present<nn::ReshapeOp, nn::TransposeOp, nn::BroadcastOp, nn::SliceOp,
                         nn::ConcatOp, nn::GatherOp>(op);
}

/// What an op of the chain costs: a reshape moves nothing, a gather reads its
/// indices too and hides the order from everything behind it.
static int64_t weight(Operation *op) {
  return isa<nn::ReshapeOp>(op) ? 1 : isa<nn::GatherOp, nn::ConcatOp>(op) ? 100 : 4;
}

namespace {
struct RaiseViewsPass : raise::impl::RaiseViewsBase<RaiseViewsPass> {
  void runOnOperation() override {
    Symbols symbols;
    for (Operation *op : reversedOps(getOperation()))
      if (isMovement(op) && !op->use_empty())
        shorten(op, symbols);
    eraseDead(getOperation());
  }

  void shorten(Operation *op, Symbols &symbols) {
    // The middle of a chain is judged with its end.
    if (op->hasOneUse() && isMovement(*op->user_begin()) && !isa<nn::GatherOp>(op))
      return;
    Value result = op->getResult(0);
    View view = symbols.peel(viewOf(result));
    // 1. What the chain costs now: its ops that feed nothing else.
    int64_t before = 0;
    for (Operation *at = op; at && at->getResult(0) != view.base;) {
      before += weight(at);
      Operation *next = nullptr;
      for (Value operand : at->getOperands())
        if (Operation *def = operand.getDefiningOp();
            operand != view.base && isMovement(def) && def->hasOneUse())
          next = def;
      at = next;
    }
    // 2. What the shortest form costs.
    OpBuilder builder(op);
    Operation *previous = op->getPrevNode();
    Value shorter = materialize(builder, op->getLoc(), view);
    if (!shorter)
      return;
    int64_t after = 0;
    SmallVector<Operation *> built;
    for (Operation *at = previous ? previous->getNextNode() : &op->getBlock()->front(); at != op;
         at = at->getNextNode()) {
      built.push_back(at);
      after += weight(at);
    }
    if (after < before) {
      result.replaceAllUsesWith(shorter);
      return;
    }
    for (Operation *at : llvm::reverse(built))
      at->erase();
  }
};
} // namespace
