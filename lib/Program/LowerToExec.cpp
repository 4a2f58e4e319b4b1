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
    Shadows shadows;
    for (auto shadow : func.getOps<exec::ShadowOp>())
      shadows.insert({shadow.getParameterAttr(), shadow});
    makeShadows(shadows, func);
    return success();
  }

  /// A stage's functions in the order in which they run: what one keeps the next finds. Those that
  /// several stages run once.
  LogicalResult lowerStages() {
    auto program = pipe::PipelineProgram::read(getOperation());
    if (failed(program))
      return failure();
    const auto pairs = program->pairs();
    KernelTable kernels(getOperation());
    Shadows shadows;
    std::vector<Placement::KeptWords> words(program->stages.size());
    for (auto [number, stage] : llvm::enumerate(program->stages)) {
      const int64_t original = program->originalOf(number);
      for (func::FuncOp func : program->functionsOf(stage)) {
        if (original == int64_t(number) && failed(lower(func, kernels, &words[number])))
          return failure();
        for (auto shadow : func.getOps<exec::ShadowOp>())
          shadows.insert({FlatSymbolRefAttr::get(
                              program->parameterOf(number, shadow.getParameterAttr().getAttr())),
                          shadow});
      }
      words[number] = words[original];
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
    }
    makeShadows(shadows, program->first());
    return success();
  }

  LogicalResult lower(func::FuncOp func, KernelTable &kernels, Placement::KeptWords *kept) {
    Folds folds(func);
    Placement placement(func, folds, kept);
    return Lowering(func, folds, placement, kernels).run();
  }

  /// By parameter a place like that of its shadow, in the order in which functions first read them.
  using Shadows = llvm::MapVector<Attribute, exec::ShadowOp>;
  /// @prepare rounds the parameters of which the functions read shadows. It stands before `first`.
  void makeShadows(const Shadows &shadows, func::FuncOp first) {
    if (shadows.empty())
      return;
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
