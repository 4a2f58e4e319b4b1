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
    if (failed(pipe::PipelineProgram::isIn(getOperation()) ? lowerStages() : lowerMicroStep()))
      signalPassFailure();
  }

  LogicalResult lowerMicroStep() {
    auto func = getOperation().lookupSymbol<func::FuncOp>("micro_step");
    if (!func)
      return getOperation().emitError("has no function @micro_step; run phase train first");
    if (!func.getBody().hasOneBlock())
      return func.emitError("must have one block, not ") << func.getBody().getBlocks().size();
    dropUnusedOutputs(func);
    KernelTable kernels(getOperation());
    if (failed(lower(func, kernels, nullptr)))
      return failure();
    makeShadows({func});
    return success();
  }

  /// A stage's functions in the order in which they run: what one keeps the next finds.
  LogicalResult lowerStages() {
    auto program = pipe::PipelineProgram::read(getOperation());
    if (failed(program))
      return failure();
    for (pipe::StageOp stage : program->stages)
      if (stage->hasAttr(pipe::kParametersAttr))
        return stage.emitOpError("has the functions of another stage, and statements need addresses of "
                                 "its own parameters; run unshare-stages first");
    const auto pairs = program->pairs();
    KernelTable kernels(getOperation());
    SmallVector<func::FuncOp> all;
    std::vector<Placement::KeptWords> words(program->stages.size());
    for (auto [stage, kept] : llvm::zip(program->stages, words))
      for (func::FuncOp func : program->functionsOf(stage)) {
        if (failed(lower(func, kernels, &kept)))
          return failure();
        all.push_back(func);
      }
    // Both tasks of a pair find what their stages' functions keep.
    for (pipe::PipelineProgram::Pair pair : pairs) {
      Placement::KeptWords kept = words[pair.first];
      for (auto [port, count] : words[pair.second]) {
        pipe::Port there = port;
        there.second = true;
        kept[there] = count;
      }
      if (failed(lower(pair.func, kernels, &kept)))
        return failure();
      all.push_back(pair.func);
    }
    makeShadows(all);
    return success();
  }

  LogicalResult lower(func::FuncOp func, KernelTable &kernels, Placement::KeptWords *kept) {
    Folds folds(func);
    Placement placement(func, folds, kept);
    return Lowering(func, folds, placement, kernels).run();
  }

  /// @prepare rounds the parameters of which the functions read shadows, in the
  /// order in which they first do.
  void makeShadows(ArrayRef<func::FuncOp> functions) {
    llvm::MapVector<Attribute, exec::ShadowOp> shadows;
    for (func::FuncOp function : functions)
      for (auto shadow : function.getBody().front().getOps<exec::ShadowOp>())
        shadows.insert({shadow.getParameterAttr(), shadow});
    if (shadows.empty())
      return;
    func::FuncOp first = functions.front();
    OpBuilder b(first);
    Location loc = first.getLoc();
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
