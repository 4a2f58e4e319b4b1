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

#include "dialects/nn/NNOpsDialect.h.inc"
#include "dialects/nn/NNOpsEnums.h.inc"
#include "dialects/nn/NNInterfaces.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/nn/NNOpsTypes.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/nn/NNOpsAttributes.h.inc"
#define GET_OP_CLASSES
#include "dialects/nn/NNOps.h.inc"

#endif // MOIRE_DIALECTS_NN_NN_H
