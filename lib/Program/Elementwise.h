//===- Elementwise.h - Tensor ops that work element by element -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_PROGRAM_ELEMENTWISE_H
#define MOIRE_LIB_PROGRAM_ELEMENTWISE_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"

namespace moire::program {

/// A parameter that is rounded to bf16: made once a step, as a whole.
bool isShadow(mlir::Operation *op);

/// An op of arith or math, or nn.sigmoid, with one result whose operands are all
/// tensors of the result's shape, and not a shadow.
bool isElementwise(mlir::Operation *op);

/// The scalar form of an elementwise op on `operands`, its elements.
mlir::Value buildScalar(mlir::OpBuilder &builder, mlir::Operation *op,
                        mlir::ValueRange operands);

/// The value that all elements of a splat constant have, else null.
mlir::TypedAttr splatValue(mlir::Value tensor);

/// Reshape, transpose, slice, broadcast or reverse: the result is, or can be, a
/// strided window of the operand.
bool isViewOp(mlir::Operation *op);

inline llvm::ArrayRef<int64_t> shapeOf(mlir::Value tensor) {
  return llvm::cast<mlir::RankedTensorType>(tensor.getType()).getShape();
}
inline mlir::Type elementOf(mlir::Value tensor) {
  return llvm::cast<mlir::RankedTensorType>(tensor.getType()).getElementType();
}

} // namespace moire::program

#endif // MOIRE_LIB_PROGRAM_ELEMENTWISE_H
