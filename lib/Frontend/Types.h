//===- Types.h - ONNX types become MLIR types ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_FRONTEND_TYPES_H
#define MOIRE_LIB_FRONTEND_TYPES_H

#include "mlir/IR/Types.h"
#include "onnx.pb.h"

namespace moire::frontend {

namespace pb = ::onnx;

/// The element type of a TensorProto.DataType; `!onnx.opaque` for strings and
/// whatever else has no arithmetic here, also unknown numbers.
mlir::Type convertElementType(int32_t dataType, mlir::MLIRContext *context);

/// tensor<2x?xf32>, tensor<*xf32> where the rank is not given, `!onnx.opaque` for
/// all that is not a tensor.
mlir::Type convertType(const pb::TypeProto &type, mlir::MLIRContext *context);

/// What a type is called in `!onnx.opaque`, for example "sequence(tensor(float))".
std::string describeType(const pb::TypeProto &type);

} // namespace moire::frontend

#endif // MOIRE_LIB_FRONTEND_TYPES_H
