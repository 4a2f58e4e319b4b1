//===- NNCasts.cpp - Narrow and wide elements ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"

using namespace mlir;
using namespace moire;

Type nn::wideElement(Type element) {
  return element.isBF16() || element.isF16() ? Float32Type::get(element.getContext()) : element;
}

Type nn::widened(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? tensor.clone(wideElement(tensor.getElementType())) : type;
}

bool nn::isNarrowed(Type wide, Type narrow) {
  auto from = dyn_cast<RankedTensorType>(wide), to = dyn_cast<RankedTensorType>(narrow);
  return from && to && from.getShape() == to.getShape() && from.getElementType().isF32() &&
         to.getElementType().isBF16();
}

Value nn::castElements(OpBuilder &builder, Location loc, Value value, Type element) {
  auto type = cast<RankedTensorType>(value.getType());
  Type from = type.getElementType();
  if (from == element)
    return value;
  if (from.getIntOrFloatBitWidth() < element.getIntOrFloatBitWidth())
    return builder.create<arith::ExtFOp>(loc, type.clone(element), value);
  if (auto widening = value.getDefiningOp<arith::ExtFOp>())
    if (getElementTypeOrSelf(widening.getIn().getType()) == element)
      return widening.getIn();
  return builder.create<arith::TruncFOp>(loc, type.clone(element), value);
}

SmallVector<Value> nn::decompose(DecomposableOpInterface op, OpBuilder &builder) {
  auto isNarrow = [](Type type) { return widened(type) != type; };
  if (llvm::none_of(op->getOperandTypes(), isNarrow) &&
      llvm::none_of(op->getResultTypes(), isNarrow))
    return op.decompose(builder);
  // 1. The same op on wide operands.
  IRMapping wide;
  for (Value operand : op->getOperands())
    if (isNarrow(operand.getType()))
      wide.map(operand, castElements(builder, op.getLoc(), operand, builder.getF32Type()));
  Operation *copy = builder.clone(*op, wide);
  for (Value result : copy->getResults())
    result.setType(widened(result.getType()));
  // 2. Its formula, rounded where the op's results are narrow.
  SmallVector<Value> parts = cast<DecomposableOpInterface>(copy).decompose(builder);
  for (auto [part, result] : llvm::zip(parts, op->getResults()))
    if (part)
      part = castElements(builder, op.getLoc(), part, getElementTypeOrSelf(result.getType()));
  copy->erase();
  return parts;
}
