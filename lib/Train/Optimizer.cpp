//===- Optimizer.cpp - The function that moves the parameters ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Train/Passes.h"
#include "llvm/ADT/StringSet.h"

namespace moire::train {
#define GEN_PASS_DEF_TRAINOPTIMIZER
#include "lib/Train/Passes.h.inc"
} // namespace moire::train

using namespace mlir;
using namespace moire;

namespace {
struct TrainOptimizer : train::impl::TrainOptimizerBase<TrainOptimizer> {
  using TrainOptimizerBase::TrainOptimizerBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto optimizer = pipe::symbolizeOptimizer(kind);
    if (!optimizer) {
      emitError(module.getLoc(), "unknown optimizer '") << kind << "'; --optimizer takes sgd or adamw";
      return signalPassFailure();
    }

    llvm::StringSet<> hasGradient;
    module.walk([&](pipe::AccumulateOp op) { hasGradient.insert(op.getParameter()); });

    auto builder = OpBuilder::atBlockEnd(module.getBody());
    auto step = builder.create<func::FuncOp>(module.getLoc(), "optimizer_step",
                                             builder.getFunctionType({}, {}));
    builder.setInsertionPointToStart(step.addEntryBlock());
    for (auto parameter : module.getOps<pipe::ParameterOp>()) {
      if (!hasGradient.contains(parameter.getSymName())) {
        parameter.setFrozen(true);
        continue;
      }
      bool matrix = cast<RankedTensorType>(parameter.getType()).getRank() >= 2;
      builder.create<pipe::UpdateOp>(parameter.getLoc(), parameter.getSymName(), *optimizer,
                                     matrix);
    }
    builder.create<func::ReturnOp>(module.getLoc());
  }
};
} // namespace
