//===- GatherRows.cpp - Pass gather-rows ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"
#include "moire/Program/Passes.h"

namespace moire::program {
#define GEN_PASS_DEF_GATHERROWS
#include "lib/Program/Passes.h.inc"
} // namespace moire::program

using namespace mlir;
using namespace moire;

namespace {
struct GatherRows : program::impl::GatherRowsBase<GatherRows> {
  void runOnOperation() override {
    SmallVector<nn::DispatchOp> dispatches;
    getOperation()->walk([&](nn::DispatchOp op) { dispatches.push_back(op); });
    for (nn::DispatchOp dispatch : dispatches) {
      // With another reader the rows are there anyway.
      if (dispatch->use_empty() ||
          !llvm::all_of(dispatch->getUses(), [&](OpOperand &use) { return gathers(use); }))
        continue;
      for (OpOperand &use : llvm::make_early_inc_range(dispatch->getUses()))
        gather(use, dispatch.getInput());
      dispatch.erase();
      ++gathered;
    }
  }

private:
  /// Whether the reader of a dispatch's rows is a product that can gather them itself.
  static bool gathers(OpOperand &use) {
    auto dispatch = use.get().getDefiningOp<nn::DispatchOp>();
    if (auto product = dyn_cast<nn::GroupedMatmulOp>(use.getOwner()))
      return use.get() == product.getRows() && product.getWeight() != use.get() &&
             product.getRouting() == dispatch.getRouting();
    if (auto gradient = dyn_cast<nn::GroupedMatmulGradWeightOp>(use.getOwner()))
      return gradient.getRouting() == dispatch.getRouting() && !gradient.getGatherLhs() &&
             !gradient.getGatherRhs() && gradient.getLhs() != gradient.getRhs() &&
             !otherIsDispatched(gradient, use.get());
    return false;
  }
  /// One side alone can be gathered; of two that could be, neither is.
  static bool otherIsDispatched(nn::GroupedMatmulGradWeightOp gradient, Value rows) {
    Value other = gradient.getLhs() == rows ? gradient.getRhs() : gradient.getLhs();
    return other.getDefiningOp<nn::DispatchOp>() != nullptr;
  }
  static void gather(OpOperand &use, Value tokens) {
    if (auto product = dyn_cast<nn::GroupedMatmulOp>(use.getOwner())) {
      product.setGatherRows(true);
    } else {
      auto gradient = cast<nn::GroupedMatmulGradWeightOp>(use.getOwner());
      const bool isLhs = gradient.getLhs() == use.get();
      gradient.setGatherLhs(isLhs);
      gradient.setGatherRhs(!isLhs);
    }
    use.set(tokens);
  }
};
} // namespace
