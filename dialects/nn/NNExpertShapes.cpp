//===- NNExpertShapes.cpp - Types of mixture-of-experts ops --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NNInfer.h"

using namespace mlir;
using namespace moire::nn;

//===----------------------------------------------------------------------===//
// Mixture of experts
//===----------------------------------------------------------------------===//

INFER(RouterOp) {
  ADAPT(RouterOp);
  auto logits = shapeOf(op.getLogits());
  int64_t k = op.getK();
  if (logits.size() != 2)
    return emitOptionalError(loc, "logits must have shape [tokens, experts], not ",
                             op.getLogits().getType());
  if (k < 1 || k > logits[1])
    return emitOptionalError(loc, "k = ", k, " must lie in 1..", logits[1],
                             ", the number of experts");
  if (op.getSelectionBias() && shapeOf(op.getSelectionBias()) != logits.drop_front())
    return emitOptionalError(loc, "bias must have shape [", logits[1], "]");
  types.push_back(withShape(op.getLogits(), {logits[0], k}));
  types.push_back(RankedTensorType::get({logits[0], k}, IntegerType::get(ctx, 64)));
  return success();
}

INFER(RouterGradOp) {
  ADAPT(RouterGradOp);
  auto logits = shapeOf(op.getLogits()), ids = shapeOf(op.getIds());
  if (logits.size() != 2 || ids.size() != 2 || ids[0] != logits[0] ||
      shapeOf(op.getCotangent()) != ids)
    return emitOptionalError(loc, "logits ", op.getLogits().getType(), ", ids ",
                             op.getIds().getType(), " and cotangent ",
                             op.getCotangent().getType(),
                             " must have shapes [T, E], [T, k] and [T, k]");
  types.push_back(op.getLogits().getType());
  return success();
}

LogicalResult RouteOp::verify() {
  auto r = getRouting().getType();
  int64_t want[] = {r.getTokens(), r.getK()};
  if (shapeOf(getIds()) != ArrayRef<int64_t>(want))
    return emitOpError("ids ") << getIds().getType() << " must have the routing's shape "
                               << str(want);
  return success();
}

static RoutingType routingOf(Value v) { return cast<RoutingType>(v.getType()); }

/// A tensor that must have `rows` (or tokens, or experts) as its first size.
static LogicalResult checkFirst(Loc loc, Value v, int64_t rank, int64_t first, StringRef what) {
  auto shape = shapeOf(v);
  if ((int64_t)shape.size() != rank || shape[0] != first)
    return emitOptionalError(loc, what, " ", v.getType(), " must have rank ", rank,
                             " and first size ", first);
  return success();
}

INFER(DispatchOp) {
  ADAPT(DispatchOp);
  auto r = routingOf(op.getRouting());
  if (failed(checkFirst(loc, op.getInput(), 2, r.getTokens(), "input")))
    return failure();
  types.push_back(withShape(op.getInput(), {r.getRows(), shapeOf(op.getInput())[1]}));
  return success();
}

static LogicalResult checkWeights(Loc loc, Value weights, RoutingType r) {
  int64_t want[] = {r.getTokens(), r.getK()};
  if (weights && shapeOf(weights) != ArrayRef<int64_t>(want))
    return emitOptionalError(loc, "weights ", weights.getType(), " must have shape ", str(want));
  return success();
}

INFER(CombineOp) {
  ADAPT(CombineOp);
  auto r = routingOf(op.getRouting());
  if (failed(checkFirst(loc, op.getRows(), 2, r.getRows(), "rows")) ||
      failed(checkWeights(loc, op.getWeights(), r)))
    return failure();
  types.push_back(withShape(op.getRows(), {r.getTokens(), shapeOf(op.getRows())[1]}));
  return success();
}

INFER(CombineGradOp) {
  ADAPT(CombineGradOp);
  auto r = routingOf(op.getRouting());
  if (failed(checkFirst(loc, op.getRows(), 2, r.getRows(), "rows")) ||
      failed(checkFirst(loc, op.getCotangent(), 2, r.getTokens(), "cotangent")) ||
      failed(checkWeights(loc, op.getWeights(), r)))
    return failure();
  types.append({op.getRows().getType(), op.getWeights().getType()});
  return success();
}

/// How many rows an operand has that may be gathered.
static int64_t rowsOf(RoutingType r, bool gathered) {
  return gathered ? r.getTokens() : r.getRows();
}

INFER(GroupedMatmulOp) {
  ADAPT(GroupedMatmulOp);
  auto r = routingOf(op.getRouting());
  if (failed(checkFirst(loc, op.getRows(), 2, rowsOf(r, op.getGatherRows()), "rows")) ||
      failed(checkFirst(loc, op.getWeight(), 3, r.getExperts(), "weight")))
    return failure();
  if (elementOf(op.getRows()) != elementOf(op.getWeight()))
    return emitOptionalError(loc, "element types ", elementOf(op.getRows()), " and ",
                             elementOf(op.getWeight()), " must be equal");
  auto w = shapeOf(op.getWeight());
  int64_t k = w[1], n = w[2];
  if (op.getTransposeWeight())
    std::swap(k, n);
  if (shapeOf(op.getRows())[1] != k)
    return emitOptionalError(loc, "inner sizes ", shapeOf(op.getRows())[1], " and ", k,
                             " must be equal");
  types.push_back(withShape(op.getRows(), {r.getRows(), n}));
  return success();
}

INFER(GroupedMatmulGradWeightOp) {
  ADAPT(GroupedMatmulGradWeightOp);
  auto r = routingOf(op.getRouting());
  if (op.getGatherLhs() && op.getGatherRhs())
    return emitOptionalError(loc, "gathers both sides, of which one at most can be tokens");
  if (failed(checkFirst(loc, op.getLhs(), 2, rowsOf(r, op.getGatherLhs()), "lhs")) ||
      failed(checkFirst(loc, op.getRhs(), 2, rowsOf(r, op.getGatherRhs()), "rhs")))
    return failure();
  if (elementOf(op.getLhs()) != elementOf(op.getRhs()))
    return emitOptionalError(loc, "element types ", elementOf(op.getLhs()), " and ",
                             elementOf(op.getRhs()), " must be equal");
  types.push_back(
      withShape(op.getLhs(), {r.getExperts(), shapeOf(op.getLhs())[1], shapeOf(op.getRhs())[1]}));
  return success();
}

INFER(PerExpertOp) {
  ADAPT(PerExpertOp);
  auto r = routingOf(op.getRouting());
  if (failed(checkFirst(loc, op.getValues(), 2, r.getExperts(), "values")))
    return failure();
  types.push_back(withShape(op.getValues(), {r.getRows(), shapeOf(op.getValues())[1]}));
  return success();
}

INFER(PerExpertSumOp) {
  ADAPT(PerExpertSumOp);
  auto r = routingOf(op.getRouting());
  if (failed(checkFirst(loc, op.getRows(), 2, r.getRows(), "rows")))
    return failure();
  types.push_back(withShape(op.getRows(), {r.getExperts(), shapeOf(op.getRows())[1]}));
  return success();
}
