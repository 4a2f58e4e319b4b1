//===- Onnx.h - The onnx dialect -----------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_ONNX_ONNX_H
#define MOIRE_DIALECTS_ONNX_ONNX_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/onnx/OnnxOpsDialect.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/onnx/OnnxOpsTypes.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/onnx/OnnxOpsAttributes.h.inc"
#define GET_OP_CLASSES
#include "dialects/onnx/OnnxOps.h.inc"

namespace moire::onnx {

/// Bytes of a tensor's payload in a file: rows of bits packed for the 2 and 4
/// bit types, a byte for a bool. Nothing for opaque elements, dynamic shapes
/// and sizes that do not fit 62 bits.
std::optional<int64_t> getPayloadSize(mlir::ShapedType type);

} // namespace moire::onnx

#endif // MOIRE_DIALECTS_ONNX_ONNX_H
