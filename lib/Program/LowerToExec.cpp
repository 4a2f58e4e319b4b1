//===- LowerToExec.cpp - Pass lower-to-exec ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Lowering.h"
#include "moire/Program/Passes.h"

namespace moire::program {
#define GEN_PASS_DEF_LOWERTOEXEC
#include "lib/Program/Passes.h.inc"
} // namespace moire::program

using namespace mlir;
using namespace moire;
using namespace moire::program;

namespace {
struct LowerToExec : program::impl::LowerToExecBase<LowerToExec> {
  void runOnOperation() override {
    auto func = getOperation().lookupSymbol<func::FuncOp>("micro_step");
    if (!func) {
      getOperation().emitError("has no function @micro_step; run phase train first");
      return signalPassFailure();
    }
    if (!func.getBody().hasOneBlock()) {
      func.emitError("must have one block, not ") << func.getBody().getBlocks().size();
      return signalPassFailure();
    }
    dropUnusedOutputs(func);
    Folds folds(func);
    Placement placement(func, folds);
    KernelTable kernels(getOperation());
    if (failed(Lowering(func, folds, placement, kernels).run()))
      signalPassFailure();
  }

  /// A training program needs the loss; what only other results need goes.
  void dropUnusedOutputs(func::FuncOp func) {
    Block &block = func.getBody().front();
    auto ret = cast<func::ReturnOp>(block.getTerminator());
    if (ret.getNumOperands() > 1)
      ret->setOperands(ret->getOperands().take_front(1));
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
      if (isOpTriviallyDead(&op))
        op.erase();
  }
};
} // namespace
