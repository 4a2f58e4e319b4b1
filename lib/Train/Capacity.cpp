//===- Capacity.cpp - Experts that take a limited number of pairs --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Forward and backward read one routing, so pairs that have no room are left out
// of it once, after differentiation: they get no row, nn.combine adds nothing for
// them, and their weights' cotangents are zero. Tensors keep their rows; those
// past the last one that there is hold anything, so what would mix rows is refused.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/NNBalance.h"
#include "dialects/nn/NNRows.h"
#include "moire/Train/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace moire::train {
#define GEN_PASS_DEF_TRAINCAPACITY
#include "lib/Train/Passes.h.inc"
} // namespace moire::train

using namespace mlir;
using namespace moire;

/// The ids behind reshapes.
static Value originOf(nn::RouteOp route) {
  Value ids = route.getIds();
  while (auto reshape = ids.getDefiningOp<nn::ReshapeOp>())
    ids = reshape.getInput();
  return ids;
}

namespace {
struct TrainCapacity : train::impl::TrainCapacityBase<TrainCapacity> {
  using TrainCapacityBase::TrainCapacityBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto microStep = module.lookupSymbol<func::FuncOp>("micro_step");
    auto fail = [&](const Twine &sentence) {
      emitError(module.getLoc(), sentence);
      signalPassFailure();
    };
    if (!(factor > 0))
      return fail("--capacity-factor must be more than 0, as 1.25 is");
    if (order != "gshard" && order != "switch")
      return fail("--drop-order knows gshard (second choices after all first ones) and switch "
                  "(tokens in order), not '" + order + "'");
    llvm::MapVector<Value, SmallVector<nn::RouteOp>> routes;
    if (microStep)
      for (auto route : microStep.getBody().front().getOps<nn::RouteOp>())
        routes[originOf(route)].push_back(route);
    if (routes.empty())
      return fail("--capacity-factor is for mixtures of experts, and no experts of the model are "
                  "recognised; leave it out");
    if (failed(checkRows(microStep)))
      return signalPassFailure();
    for (auto &[ids, group] : routes)
      limit(ids, group);
  }

  /// Nothing may read a row that is not there.
  LogicalResult checkRows(func::FuncOp func) {
    DenseSet<Value> rows;
    for (Operation &op : func.getBody().front()) {
      if (isa<nn::DispatchOp, nn::GroupedMatmulOp, nn::PerExpertOp, nn::CombineGradOp>(op)) {
        rows.insert(op.getResult(0));
        continue;
      }
      if (isa<nn::CombineOp, nn::GroupedMatmulGradWeightOp, nn::PerExpertSumOp>(op) ||
          llvm::none_of(op.getOperands(), [&](Value v) { return rows.contains(v); }))
        continue;
      if (!nn::treatsRowsAlike(&op))
        return op.emitError("mixes rows of experts, of which --capacity-factor leaves some out; "
                            "train without it");
      rows.insert(op.result_begin(), op.result_end());
    }
    return success();
  }

  void limit(Value ids, ArrayRef<nn::RouteOp> routes) {
    // Routes whose every pair is a token of its own have k = 1.
    nn::RouteOp first = routes.front();
    nn::RoutingType type = first.getRouting().getType();
    for (nn::RouteOp route : routes)
      if (route.getRouting().getType().getK() > type.getK())
        type = route.getRouting().getType();
    OpBuilder b(first->getContext());
    b.setInsertionPointAfterValue(ids);
    Location loc = first.getLoc();
    auto reshape = [&](Value v, ArrayRef<int64_t> shape) {
      auto to = RankedTensorType::get(shape, getElementTypeOrSelf(v));
      return v.getType() == to ? v : b.create<nn::ReshapeOp>(loc, to, v).getResult();
    };
    const int64_t k = type.getK(), experts = type.getExperts();
    Value pairs = reshape(ids, {type.getTokens(), k});
    Value counts = b.create<nn::ChoiceCountsOp>(
        loc, RankedTensorType::get({k, experts}, b.getF32Type()), pairs);
    auto index = RankedTensorType::get({}, b.getI64Type());
    Value shard = b.create<arith::ConstantOp>(
        loc, DenseElementsAttr::get(index, b.getI64IntegerAttr(0)));
    Value kept = b.create<nn::CapacityOp>(loc, pairs, reshape(counts, {1, k, experts}), shard,
                                          b.getF64FloatAttr(factor),
                                          order == "gshard" ? b.getUnitAttr() : UnitAttr());
    for (nn::RouteOp route : routes) {
      b.setInsertionPoint(route);
      auto shape = cast<RankedTensorType>(route.getIds().getType()).getShape();
      route.getIdsMutable().assign(reshape(kept, shape));
    }
  }
};
} // namespace
