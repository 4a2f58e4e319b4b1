//===- MarkTraining.cpp - Pass mark-training -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Memory.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "moire/Program/Passes.h"

namespace moire::program {
#define GEN_PASS_DEF_MARKTRAINING
#include "lib/Program/Passes.h.inc"
} // namespace moire::program

using namespace mlir;
using namespace moire;
using namespace moire::program;

namespace {
/// Hands the loss over as soon as it is there: behind what writes it, or the wait for that.
void hoist(exec::LossOp loss) {
  const Memory value = memoryOf(loss.getValue());
  llvm::DenseSet<int64_t> asyncs; // that write it
  for (auto async : loss->getBlock()->getOps<exec::AsyncOp>())
    if (touchedBy(*async).writes.contains(value))
      asyncs.insert(async.getNumber());
  for (Operation *op = loss->getPrevNode(); op; op = op->getPrevNode()) {
    auto wait = dyn_cast<exec::WaitOp>(op);
    if (op == loss.getValue().getDefiningOp() || isa<exec::LossOp>(op) ||
        (wait ? asyncs.contains(wait.getNumber()) : touchedBy(*op).writes.contains(value)))
      return loss->moveAfter(op);
  }
}

struct MarkTraining : program::impl::MarkTrainingBase<MarkTraining> {
  void runOnOperation() override {
    auto func = getOperation().lookupSymbol<func::FuncOp>("micro_step");
    if (!func || !func.getBody().hasOneBlock())
      return;
    Block &block = func.getBody().front();
    for (exec::LossOp loss : llvm::to_vector(block.getOps<exec::LossOp>()))
      hoist(loss);
    llvm::DenseSet<Memory> needed; // by the statements below
    llvm::DenseSet<int64_t> asyncs;
    SmallVector<exec::WaitOp> waits;
    bool isLoss = false; // or above one
    for (Operation &op : llvm::reverse(block)) {
      if (isPure(&op) || op.hasTrait<OpTrait::IsTerminator>())
        continue;
      if (auto wait = dyn_cast<exec::WaitOp>(op)) {
        waits.push_back(wait);
        continue;
      }
      const Touched touched = touchedBy(op);
      isLoss |= isa<exec::LossOp>(op);
      // What tells of no place that it writes may do anything.
      if (isa<exec::LossOp>(op) || meet(touched.writes, needed) ||
          (isLoss && touched.writes.empty())) {
        needed.insert(touched.reads.begin(), touched.reads.end());
        if (auto async = dyn_cast<exec::AsyncOp>(op))
          asyncs.insert(async.getNumber());
      } else {
        mark(op);
      }
    }
    for (exec::WaitOp wait : waits)
      if (!asyncs.contains(wait.getNumber()))
        mark(*wait);
  }

  void mark(Operation &op) {
    op.setAttr(exec::kTrainingAttr, UnitAttr::get(&getContext()));
    ++marked;
  }
};
} // namespace
