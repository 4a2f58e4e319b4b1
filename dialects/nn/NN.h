//===- NN.h - The nn dialect ---------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_NN_NN_H
#define MOIRE_DIALECTS_NN_NN_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace moire::nn {

/// f32 for bf16 and f16, in which statistics, sums and scales of such tensors
/// are; every other element type is its own.
mlir::Type wideElement(mlir::Type element);
/// The tensor type with its element type widened.
mlir::Type widened(mlir::Type tensor);
/// Whether `narrow` is the f32 tensor type `wide` with bf16 elements.
bool isNarrowed(mlir::Type wide, mlir::Type narrow);

/// `value` with elements of float type `element`: itself, an arith.extf or an
/// arith.truncf. What was widened from that type is not rounded again.
mlir::Value castElements(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value,
                         mlir::Type element);

} // namespace moire::nn

#include "dialects/nn/NNOpsDialect.h.inc"
#include "dialects/nn/NNOpsEnums.h.inc"
#include "dialects/nn/NNInterfaces.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/nn/NNOpsTypes.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/nn/NNOpsAttributes.h.inc"
#define GET_OP_CLASSES
#include "dialects/nn/NNOps.h.inc"

namespace moire::nn {

/// op.decompose(), on operands widened to f32 and with rounded results where the
/// op has bf16 or f16: formulas know one float type.
llvm::SmallVector<mlir::Value> decompose(DecomposableOpInterface op, mlir::OpBuilder &builder);

} // namespace moire::nn

#endif // MOIRE_DIALECTS_NN_NN_H
