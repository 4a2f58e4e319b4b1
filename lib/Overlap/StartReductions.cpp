//===- StartReductions.cpp - Pass start-reductions -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/pipe/Gradients.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "moire/Overlap/Passes.h"

namespace moire::overlap {
#define GEN_PASS_DEF_STARTREDUCTIONS
#include "lib/Overlap/Passes.h.inc"
} // namespace moire::overlap

using namespace mlir;
using namespace moire;

namespace {
struct StartReductions : overlap::impl::StartReductionsBase<StartReductions> {
  void runOnOperation() override {
    auto microStep = getOperation().lookupSymbol<func::FuncOp>("micro_step");
    auto reduce = getOperation().lookupSymbol<func::FuncOp>("reduce_gradients");
    if (!microStep || !reduce || microStep.getBody().empty())
      return;
    Block &block = microStep.getBody().front();
    llvm::DenseMap<Attribute, Operation *> completes; // the last op that changes a gradient
    for (auto accumulate : block.getOps<pipe::AccumulateOp>())
      completes[accumulate.getParameterAttr()] = accumulate;
    for (auto sum : reduce.getOps<pipe::ReduceGradsOp>()) {
      Operation *last = nullptr;
      bool all = true;
      for (Attribute parameter : sum.getParameters()) {
        Operation *op = completes.lookup(parameter);
        all &= op != nullptr;
        if (op && (!last || last->isBeforeInBlock(op)))
          last = op;
      }
      if (!last || !all)
        continue;
      OpBuilder builder(&getContext());
      builder.setInsertionPointAfter(last);
      builder.create<pipe::StartReduceOp>(sum.getLoc(), sum.getParameters());
      ++started;
    }
  }
};
} // namespace
