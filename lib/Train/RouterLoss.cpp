//===- RouterLoss.cpp - Losses that keep routers balanced ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "RouterLoss.h"
#include "dialects/nn/NNBalance.h"

using namespace mlir;
using namespace moire;
using namespace moire::train;

/// The ids before reshapes and a limit of capacity.
static Value chosenIds(nn::RouteOp route) {
  Value ids = route.getIds();
  while (Operation *op = ids.getDefiningOp()) {
    if (!isa<nn::ReshapeOp, nn::CapacityOp>(op))
      break;
    ids = op->getOperand(0);
  }
  return ids;
}

static bool isMatrix(Value v) { return cast<RankedTensorType>(v.getType()).getRank() == 2; }

/// The bias [E] that is added to `scores` on the way to what top_k looks at.
static Value biasOf(Value ranked, Value scores) {
  SmallVector<Value> todo = {ranked};
  llvm::DenseSet<Value> seen;
  while (!todo.empty()) {
    Operation *op = todo.pop_back_val().getDefiningOp();
    if (auto add = dyn_cast_or_null<arith::AddFOp>(op))
      for (auto [a, b] : {std::pair(add.getLhs(), add.getRhs()), {add.getRhs(), add.getLhs()}})
        if (auto row = b.getDefiningOp<nn::BroadcastOp>(); a == scores && row)
          return row.getInput();
    if (op && (isa<nn::ReshapeOp, arith::SelectOp>(op)))
      for (Value operand : op->getOperands())
        if (seen.insert(operand).second)
          todo.push_back(operand);
  }
  return {};
}

/// Fails where the weights of the chosen are not scores that were looked up.
static std::optional<Router> routerOf(nn::TopKOp top) {
  if (top.getSmallest() || !isMatrix(top.getIndices()))
    return std::nullopt;
  for (Operation *user : top.getIndices().getUsers()) {
    auto lookup = dyn_cast<nn::GatherElementsOp>(user);
    if (!lookup || lookup.getIndices() != top.getIndices() || (int64_t)lookup.getAxis() != 1 ||
        !isMatrix(lookup.getInput()))
      continue;
    Value scores = lookup.getInput(), bias = biasOf(top.getInput(), scores);
    if (auto sigmoid = scores.getDefiningOp<nn::SigmoidOp>())
      return Router{sigmoid.getInput(), top.getIndices(), bias, nn::Scoring::sigmoid};
    if (auto softmax = scores.getDefiningOp<nn::SoftmaxOp>())
      return Router{softmax.getInput(), top.getIndices(), bias, nn::Scoring::softmax};
  }
  return std::nullopt;
}

FailureOr<SmallVector<Router>> train::findRouters(func::FuncOp func, StringRef flag) {
  SmallVector<Router> routers;
  for (Operation &op : func.getBody().front()) {
    if (auto router = dyn_cast<nn::RouterOp>(op))
      routers.push_back({router.getLogits(), router.getIds(), router.getSelectionBias(),
                         router.getScoring()});
    auto route = dyn_cast<nn::RouteOp>(op);
    if (!route)
      continue;
    Value ids = chosenIds(route);
    if (llvm::any_of(routers, [&](const Router &router) { return router.ids == ids; }))
      continue;
    auto top = ids.getDefiningOp<nn::TopKOp>();
    if (auto router = top ? routerOf(top) : std::nullopt)
      routers.push_back(*router);
    else
      return route.emitError(flag)
                 << " needs every router's scores, but the choice of experts here is not "
                    "recognised as a router's; leave " << flag << " out",
             failure();
  }
  if (routers.empty())
    return emitError(func.getLoc(), flag)
               << " is for mixtures of experts, and the model has no router; leave " << flag
               << " out",
           failure();
  return routers;
}

namespace {
struct Terms {
  OpBuilder &b;
  Location loc;

  Value scalar(Type element, double value) {
    auto type = RankedTensorType::get({}, element);
    return b.create<arith::ConstantOp>(
        loc, DenseElementsAttr::get(type, b.getFloatAttr(element, value)));
  }
  Value sum(Value v, ArrayRef<int64_t> dims) {
    return b.create<nn::ReduceOp>(loc, v, nn::ReduceKind::sum, dims);
  }
  Value add(Value a, Value c) { return a ? b.create<arith::AddFOp>(loc, a, c).getResult() : c; }
  Value mul(Value a, Value c) { return b.create<arith::MulFOp>(loc, a, c); }
  Value div(Value a, Value c) { return b.create<arith::DivFOp>(loc, a, c); }

  /// Scores over all experts that add up to 1 for each token [T, E].
  Value shares(const Router &router, Value logits) {
    if (router.scoring != nn::Scoring::sigmoid)
      return b.create<nn::SoftmaxOp>(loc, logits);
    Value scores = b.create<nn::SigmoidOp>(loc, logits);
    Value whole = sum(scores, {1});
    int64_t rows[] = {0};
    return div(scores, b.create<nn::BroadcastOp>(loc, scores.getType(), whole, rows));
  }
};
} // namespace

Value train::buildRouterLosses(OpBuilder &b, ArrayRef<Router> routers, double auxWeight,
                               double zWeight) {
  Value total;
  for (const Router &router : routers) {
    Terms f{b, router.ids.getLoc()};
    Value logits = router.logits;
    logits = nn::castElements(b, f.loc, logits, nn::wideElement(getElementTypeOrSelf(logits)));
    auto type = cast<RankedTensorType>(logits.getType());
    Type element = type.getElementType();
    const int64_t experts = router.experts(), k = router.k();
    Value tokens = b.create<nn::BatchSumOp>(
        f.loc, f.scalar(element, static_cast<double>(type.getDimSize(0))));
    if (auxWeight != 0) {
      Value counts = b.create<nn::ChoiceCountsOp>(
          f.loc, RankedTensorType::get({k, experts}, element), router.ids);
      Value load = b.create<nn::BatchSumOp>(f.loc, f.sum(counts, {0}));
      Value chosen = f.sum(f.mul(load, f.sum(f.shares(router, logits), {0})), {0});
      Value mean = f.div(f.div(chosen, tokens), tokens);
      double factor = auxWeight * static_cast<double>(experts) / static_cast<double>(k);
      total = f.add(total, f.mul(mean, f.scalar(element, factor)));
    }
    if (zWeight != 0) {
      Value z = b.create<nn::LogSumExpOp>(f.loc, logits);
      Value mean = f.div(f.sum(f.mul(z, z), {0}), tokens);
      total = f.add(total, f.mul(mean, f.scalar(element, zWeight)));
    }
  }
  return total;
}
