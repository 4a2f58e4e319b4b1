//===- Elementwise.cpp - Tensor ops that work element by element ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Elementwise.h"
#include "dialects/nn/NN.h"
#include "dialects/pipe/Pipe.h"

using namespace mlir;
using namespace moire;

bool program::isShadow(Operation *op) {
  return isa_and_nonnull<arith::TruncFOp>(op) &&
         op->getOperand(0).getDefiningOp<pipe::ReadOp>() &&
         getElementTypeOrSelf(op->getResult(0).getType()).isBF16();
}

bool program::isElementwise(Operation *op) {
  if (op->getNumResults() != 1 || op->getNumOperands() == 0 || op->getNumRegions())
    return false;
  if (!isa<nn::SigmoidOp>(op) && !isa<arith::ArithDialect, math::MathDialect>(op->getDialect()))
    return false;
  auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (!type || !type.hasStaticShape() || isShadow(op))
    return false;
  return llvm::all_of(op->getOperandTypes(), [&](Type operand) {
    auto tensor = dyn_cast<RankedTensorType>(operand);
    return tensor && tensor.getShape() == type.getShape();
  });
}

Value program::buildScalar(OpBuilder &b, Operation *op, ValueRange operands) {
  Location loc = op->getLoc();
  Type type = elementOf(op->getResult(0));
  if (isa<nn::SigmoidOp>(op)) {
    // Overflow of exp gives inf, and 1 / inf the right 0.
    Value one = b.create<arith::ConstantOp>(loc, b.getFloatAttr(type, 1.0));
    Value minus = b.create<arith::NegFOp>(loc, operands[0]);
    Value e = b.create<math::ExpOp>(loc, minus);
    Value sum = b.create<arith::AddFOp>(loc, one, e);
    return b.create<arith::DivFOp>(loc, one, sum);
  }
  OperationState state(loc, op->getName(), operands, {type}, op->getAttrs());
  return b.create(state)->getResult(0);
}

TypedAttr program::splatValue(Value tensor) {
  auto constant = tensor.getDefiningOp<arith::ConstantOp>();
  if (!constant)
    return {};
  auto elements = dyn_cast<DenseElementsAttr>(constant.getValue());
  if (!elements || !elements.isSplat())
    return {};
  return elements.getSplatValue<TypedAttr>();
}

bool program::isViewOp(Operation *op) {
  return isa<nn::ReshapeOp, nn::TransposeOp, nn::SliceOp, nn::BroadcastOp, nn::ReverseOp>(op);
}
