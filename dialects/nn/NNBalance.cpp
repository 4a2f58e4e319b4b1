//===- NNBalance.cpp - How full experts are ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NNBalance.h"
#include "dialects/nn/NNTypes.h"

using namespace mlir;
using namespace moire::nn;

#define GET_OP_CLASSES
#include "dialects/nn/NNBalanceOps.cpp.inc"

void NNDialect::addBalanceOps() {
  addOperations<
#define GET_OP_LIST
#include "dialects/nn/NNBalanceOps.cpp.inc"
      >();
}

LogicalResult ChoiceCountsOp::verify() {
  auto ids = shapeOf(getIds()), counts = shapeOf(getCounts());
  if (ids.size() != 2 || counts.size() != 2 || counts[0] != ids[1])
    return emitOpError("counts ") << getCounts().getType() << " must be [K, E] of ids [T, K] "
                                  << getIds().getType();
  return success();
}

LogicalResult LogSumExpOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc,
                                            ValueRange operands, DictionaryAttr, OpaqueProperties,
                                            RegionRange, SmallVectorImpl<Type> &types) {
  auto input = typeOf(operands[0]);
  if (input.getRank() != 2)
    return emitOptionalError(loc, "input ", input, " must have rank 2");
  types.push_back(input.clone(input.getShape().take_front(1)));
  return success();
}

// The largest element taken out first: exp stays at most 1.
SmallVector<Value> LogSumExpOp::decompose(OpBuilder &b) {
  Location loc = getLoc();
  int64_t rows[] = {0};
  Value most = b.create<ReduceOp>(loc, getInput(), ReduceKind::max, ArrayRef<int64_t>{1});
  Value shifted = b.create<arith::SubFOp>(
      loc, getInput(), b.create<BroadcastOp>(loc, getInput().getType(), most, rows));
  Value sum = b.create<ReduceOp>(loc, b.create<math::ExpOp>(loc, shifted), ReduceKind::sum,
                                 ArrayRef<int64_t>{1});
  return {b.create<arith::AddFOp>(loc, most, b.create<math::LogOp>(loc, sum))};
}

SmallVector<Value> LogSumExpOp::buildAdjoint(OpBuilder &b, ArrayRef<Value> cotangents,
                                             ArrayRef<bool>) {
  int64_t rows[] = {0};
  Value shares = b.create<SoftmaxOp>(getLoc(), getInput());
  Value spread = b.create<BroadcastOp>(getLoc(), getInput().getType(), cotangents[0], rows);
  return {b.create<arith::MulFOp>(getLoc(), shares, spread)};
}

SmallVector<Value> BatchSumOp::decompose(OpBuilder &) { return {getInput()}; }

LogicalResult BatchSumOp::inferReturnTypes(MLIRContext *, std::optional<Location>,
                                           ValueRange operands, DictionaryAttr, OpaqueProperties,
                                           RegionRange, SmallVectorImpl<Type> &types) {
  types.push_back(operands[0].getType());
  return success();
}

SmallVector<Value> BatchSumOp::buildAdjoint(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>) {
  // Of a sum over ranks the cotangent would be one, too; nothing here needs it.
  emitOpError("has an operand that depends on trained parameters");
  return {Value()};
}

int64_t moire::nn::capacityOf(double factor, int64_t pairs, int64_t experts) {
  double room = factor * static_cast<double>(pairs) / static_cast<double>(experts);
  return std::min(pairs, static_cast<int64_t>(std::ceil(room * (1 - 1e-12))));
}

LogicalResult CapacityOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc,
                                           ValueRange operands, DictionaryAttr attributes,
                                           OpaqueProperties properties, RegionRange regions,
                                           SmallVectorImpl<Type> &types) {
  Adaptor op(operands, attributes, properties, regions);
  auto ids = shapeOf(op.getIds()), counts = shapeOf(op.getCounts());
  if (ids.size() != 2 || counts.size() != 3 || counts[1] != ids[1] ||
      !shapeOf(op.getShard()).empty())
    return emitOptionalError(loc, "takes ids [T, K], counts [S, K, E] and a shard [], not ",
                             op.getIds().getType(), ", ", op.getCounts().getType(), " and ",
                             op.getShard().getType());
  if (!(op.getFactor().convertToDouble() > 0))
    return emitOptionalError(loc, "factor must be more than 0");
  types.push_back(op.getIds().getType());
  return success();
}

int64_t CapacityOp::getSlots() {
  auto ids = getIds().getType(), counts = getCounts().getType();
  return capacityOf(getFactor().convertToDouble(), ids.getNumElements() * counts.getDimSize(0),
                    counts.getDimSize(2));
}
