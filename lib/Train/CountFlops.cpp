//===- CountFlops.cpp - Pass train-count-flops ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Train/Passes.h"

namespace moire::train {
#define GEN_PASS_DEF_TRAINCOUNTFLOPS
#include "lib/Train/Passes.h.inc"
} // namespace moire::train

using namespace mlir;
using namespace moire;

namespace {
struct TrainCountFlops : train::impl::TrainCountFlopsBase<TrainCountFlops> {
  using TrainCountFlopsBase::TrainCountFlopsBase;

  void runOnOperation() override {
    auto step = getOperation().lookupSymbol<func::FuncOp>("micro_step");
    if (!step) {
      getOperation().emitError("has no function @micro_step to count");
      return signalPassFailure();
    }
    int64_t model = 0, hardware = 0;
    step.walk([&](nn::CostOpInterface op) {
      int64_t flops = op.flops(), again = 0;
      auto forward = dyn_cast<nn::AttentionOp>(op.getOperation());
      auto backward = dyn_cast<nn::AttentionGradOp>(op.getOperation());
      if (backward) {
        // Of its products, q k^T was computed by the forward, too.
        const int64_t key = widthOf(backward.getQuery()), value = widthOf(backward.getValue());
        again = flops / (3 * key + 2 * value) * key;
      }
      if ((forward && forward.getCausal()) || (backward && backward.getCausal())) {
        flops /= 2;
        again /= 2;
      }
      model += flops - again;
      hardware += flops;
    });
    Builder builder(&getContext());
    getOperation()->setAttr("moire.model_flops", builder.getI64IntegerAttr(model));
    getOperation()->setAttr("moire.hardware_flops", builder.getI64IntegerAttr(hardware));
  }

  static int64_t widthOf(Value heads) {
    return cast<RankedTensorType>(heads.getType()).getShape().back();
  }
};
} // namespace
