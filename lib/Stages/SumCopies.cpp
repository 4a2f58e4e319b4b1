//===- SumCopies.cpp - Pass sum-copies -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/pipe/Gradients.h"
#include "moire/Pipe/PipelineProgram.h"
#include "moire/Stages/Passes.h"

namespace moire::stages {
#define GEN_PASS_DEF_SUMCOPIES
#include "lib/Stages/Passes.h.inc"
} // namespace moire::stages

using namespace mlir;
using namespace moire;

namespace {
struct SumCopies : stages::impl::SumCopiesBase<SumCopies> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<pipe::PipelineProgram> program = pipe::PipelineProgram::read(module);
    if (failed(program))
      return signalPassFailure();
    SmallVector<Attribute> names;
    for (auto parameter : module.getOps<pipe::ParameterOp>())
      if (program->sumsCopies(parameter.getSymNameAttr()))
        names.push_back(FlatSymbolRefAttr::get(parameter.getSymNameAttr()));
    if (names.empty())
      return;
    OpBuilder b(&getContext());
    auto reduce = module.lookupSymbol<func::FuncOp>("reduce_gradients");
    if (!reduce) {
      b.setInsertionPointToEnd(module.getBody());
      reduce = b.create<func::FuncOp>(module.getLoc(), "reduce_gradients",
                                      b.getFunctionType({}, {}));
      b.setInsertionPointToStart(reduce.addEntryBlock());
      b.create<func::ReturnOp>(module.getLoc());
    }
    b.setInsertionPointToStart(&reduce.getBody().front());
    b.create<pipe::SumCopiesOp>(module.getLoc(), b.getArrayAttr(names));
  }
};
} // namespace
