//===- AsyncCollectives.cpp - Pass async-collectives ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "Steps.h"
#include "moire/Overlap/Passes.h"

namespace moire::overlap {
#define GEN_PASS_DEF_ASYNCCOLLECTIVES
#include "lib/Overlap/Passes.h.inc"
} // namespace moire::overlap

using namespace mlir;
using namespace moire;

/// Puts `op` into an async of its own, with a wait behind it.
static dist::AsyncOp wrap(Operation *op) {
  OpBuilder builder(op);
  Location loc = op->getLoc();
  SmallVector<Type> futures;
  for (Type type : op->getResultTypes())
    futures.push_back(dist::FutureType::get(type.getContext(), type));
  if (futures.empty())
    futures.push_back(dist::FutureType::get(op->getContext(), builder.getNoneType()));
  auto async = builder.create<dist::AsyncOp>(loc, futures);
  auto wait = builder.create<dist::WaitOp>(loc, op->getResultTypes(), async.getFutures());
  op->replaceAllUsesWith(wait.getValues());
  Block &body = async.getBody().emplaceBlock();
  op->moveBefore(&body, body.end());
  builder.setInsertionPointToEnd(&body);
  builder.create<dist::YieldOp>(loc, op->getResults());
  return async;
}

namespace {
struct AsyncCollectives : overlap::impl::AsyncCollectivesBase<AsyncCollectives> {
  void runOnOperation() override {
    for (func::FuncOp step : overlap::findSteps(getOperation()))
      startCollectives(step.getBody().front());
  }

  void startCollectives(Block &block) {
    for (Operation &op : llvm::make_early_inc_range(block)) {
      // What changes parameters or gradients has its place in the order of the function.
      if (!dist::isCollective(&op) || !isMemoryEffectFree(&op))
        continue;
      dist::AsyncOp async = wrap(&op);
      ++collectives;
      startEarly(async, block);
      waitLate(cast<dist::WaitOp>(async.getWait()), block);
    }
  }

  /// Behind the last op that makes what the body reads.
  static void startEarly(dist::AsyncOp async, Block &block) {
    Operation *last = nullptr;
    async.getBody().walk([&](Operation *inner) {
      for (Value operand : inner->getOperands()) {
        Operation *def = operand.getDefiningOp();
        if (def && def->getBlock() == &block && (!last || last->isBeforeInBlock(def)))
          last = def;
      }
    });
    if (last)
      async->moveAfter(last);
    else
      async->moveBefore(&block, block.begin());
  }

  /// In front of the first op that reads a value.
  static void waitLate(dist::WaitOp wait, Block &block) {
    Operation *first = block.getTerminator();
    for (Operation *user : wait->getUsers())
      if (Operation *reader = block.findAncestorOpInBlock(*user); reader->isBeforeInBlock(first))
        first = reader;
    wait->moveBefore(first);
  }
};
} // namespace
