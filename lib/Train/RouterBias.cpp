//===- RouterBias.cpp - Selection biases that follow their experts' load -===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What a bias accumulates over a step is E · load - T · k: whole numbers, whose
// sums over micro-batches and ranks are exact whatever the order, so that an
// expert of just the mean load keeps its bias.
//
//===----------------------------------------------------------------------===//
#include "RouterLoss.h"
#include "dialects/nn/NNBalance.h"
#include "dialects/pipe/PipeBalance.h"
#include "moire/Train/Passes.h"

namespace moire::train {
#define GEN_PASS_DEF_TRAINROUTERBIAS
#include "lib/Train/Passes.h.inc"
} // namespace moire::train

using namespace mlir;
using namespace moire;
using namespace moire::train;

namespace {
struct TrainRouterBias : train::impl::TrainRouterBiasBase<TrainRouterBias> {
  using TrainRouterBiasBase::TrainRouterBiasBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto microStep = module.lookupSymbol<func::FuncOp>("micro_step");
    auto optimizerStep = module.lookupSymbol<func::FuncOp>("optimizer_step");
    if (!microStep || !optimizerStep) {
      emitError(module.getLoc(), "needs @micro_step and @optimizer_step; run train-optimizer first");
      return signalPassFailure();
    }
    if (!(rate > 0)) {
      emitError(module.getLoc(), "--router-bias-rate must be more than 0, as 0.001 is");
      return signalPassFailure();
    }
    auto routers = findRouters(microStep, "--router-bias-rate");
    if (failed(routers))
      return signalPassFailure();
    bool any = false;
    for (const Router &router : *routers)
      if (router.bias) {
        any = true;
        if (failed(follow(module, router, optimizerStep)))
          return signalPassFailure();
      }
    if (!any) {
      emitError(module.getLoc(), "--router-bias-rate moves the biases that routers add to scores "
                                 "for the choice alone, and no router of the model has one; leave "
                                 "it out");
      return signalPassFailure();
    }
  }

  LogicalResult follow(ModuleOp module, const Router &router, func::FuncOp optimizerStep) {
    Value bias = router.bias;
    Operation *choice = router.ids.getDefiningOp();
    while (auto reshape = bias.getDefiningOp<nn::ReshapeOp>())
      bias = reshape.getInput();
    auto read = bias.getDefiningOp<pipe::ReadOp>();
    if (!read)
      return choice->emitError("--router-bias-rate needs a bias that is a parameter of the file, "
                              "and this router's is computed; leave it out");
    auto parameter = module.lookupSymbol<pipe::ParameterOp>(read.getParameter());
    for (Operation &other : *choice->getBlock())
      if (auto accumulate = dyn_cast<pipe::AccumulateOp>(other))
        if (accumulate.getParameter() == read.getParameter())
          return choice->emitError("the bias @")
                 << read.getParameter()
                 << " has a gradient or belongs to two routers, so --router-bias-rate cannot move "
                    "it; leave it out";
    OpBuilder b(choice->getContext());
    b.setInsertionPointAfter(choice);
    Location loc = choice->getLoc();
    auto ids = cast<RankedTensorType>(router.ids.getType());
    const int64_t k = router.k(), experts = router.experts();
    auto counts = RankedTensorType::get({k, experts}, b.getF32Type());
    auto each = counts.clone(ArrayRef<int64_t>{experts});
    auto splat = [&](double value) {
      return b.create<arith::ConstantOp>(loc,
                                         DenseElementsAttr::get(each, b.getF32FloatAttr(value)));
    };
    Value load =
        b.create<nn::ReduceOp>(loc, b.create<nn::ChoiceCountsOp>(loc, counts, router.ids),
                               nn::ReduceKind::sum, ArrayRef<int64_t>{0});
    Value scaled = b.create<arith::MulFOp>(loc, load, splat(static_cast<double>(experts)));
    Value excess =
        b.create<arith::SubFOp>(loc, scaled, splat(static_cast<double>(ids.getNumElements())));
    if (excess.getType() != read.getType())
      excess = b.create<nn::ReshapeOp>(loc, read.getType(), excess);
    b.create<pipe::AccumulateOp>(loc, read.getParameterAttr(), excess);
    parameter.setFrozen(false);
    b.setInsertionPoint(optimizerStep.getBody().front().getTerminator());
    b.create<pipe::BalanceOp>(parameter.getLoc(), read.getParameterAttr(),
                              b.getF64FloatAttr(rate));
    return success();
  }
};
} // namespace
