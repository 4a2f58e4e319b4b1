//===- LowerToExec.cpp - Pass lower-to-exec ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Lowering.h"
#include "moire/Program/Passes.h"
#include "llvm/ADT/MapVector.h"

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
      return signalPassFailure();
    makeShadows(func);
  }

  /// @prepare rounds the parameters of which the function reads shadows, in the
  /// order in which it first does.
  void makeShadows(func::FuncOp microStep) {
    llvm::MapVector<Attribute, exec::ShadowOp> shadows;
    for (auto shadow : microStep.getBody().front().getOps<exec::ShadowOp>())
      shadows.insert({shadow.getParameterAttr(), shadow});
    if (shadows.empty())
      return;
    OpBuilder b(microStep);
    Location loc = microStep.getLoc();
    auto prepare = b.create<func::FuncOp>(loc, "prepare", b.getFunctionType({}, {}));
    b.setInsertionPointToEnd(prepare.addEntryBlock());
    for (auto [name, read] : shadows) {
      auto parameter = cast<FlatSymbolRefAttr>(name);
      auto type = MemRefType::get(read.getType().getShape(), b.getF32Type());
      Value value = b.create<exec::ParamOp>(read.getLoc(), type, parameter);
      Value shadow = b.create<exec::ShadowOp>(read.getLoc(), read.getType(), parameter);
      b.create<exec::RoundOp>(read.getLoc(), value, shadow);
    }
    b.create<func::ReturnOp>(loc);
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
