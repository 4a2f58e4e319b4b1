//===- Types.cpp - ONNX types become MLIR types --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Types.h"
#include "dialects/onnx/Onnx.h"

using namespace mlir;
using namespace moire;
using DataType = ::onnx::TensorProto;

static StringRef getElementName(int32_t dataType) {
  static constexpr const char *names[] = {
      "undefined", "float",      "uint8",          "int8",       "uint16",        "int16",
      "int32",     "int64",      "string",         "bool",       "float16",       "double",
      "uint32",    "uint64",     "complex64",      "complex128", "bfloat16",      "float8e4m3fn",
      "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "uint4", "int4",         "float4e2m1",
      "float8e8m0", "uint2",     "int2"};
  return dataType >= 0 && dataType < static_cast<int32_t>(std::size(names)) ? names[dataType] : "?";
}

Type moire::frontend::convertElementType(int32_t dataType, MLIRContext *context) {
  Builder b(context);
  auto getUnsigned = [&](unsigned width) { return IntegerType::get(context, width, IntegerType::Unsigned); };
  switch (dataType) {
  case DataType::FLOAT:
    return b.getF32Type();
  case DataType::DOUBLE:
    return b.getF64Type();
  case DataType::FLOAT16:
    return b.getF16Type();
  case DataType::BFLOAT16:
    return b.getBF16Type();
  case DataType::BOOL:
    return b.getI1Type();
  case DataType::INT8:
    return b.getI8Type();
  case DataType::INT16:
    return b.getI16Type();
  case DataType::INT32:
    return b.getI32Type();
  case DataType::INT64:
    return b.getI64Type();
  case DataType::UINT8:
    return getUnsigned(8);
  case DataType::UINT16:
    return getUnsigned(16);
  case DataType::UINT32:
    return getUnsigned(32);
  case DataType::UINT64:
    return getUnsigned(64);
  case DataType::INT4:
    return b.getIntegerType(4);
  case DataType::UINT4:
    return getUnsigned(4);
  case DataType::INT2:
    return b.getIntegerType(2);
  case DataType::UINT2:
    return getUnsigned(2);
  case DataType::COMPLEX64:
    return ComplexType::get(b.getF32Type());
  case DataType::COMPLEX128:
    return ComplexType::get(b.getF64Type());
  case DataType::FLOAT8E4M3FN:
    return b.getFloat8E4M3FNType();
  case DataType::FLOAT8E4M3FNUZ:
    return b.getFloat8E4M3FNUZType();
  case DataType::FLOAT8E5M2:
    return b.getFloat8E5M2Type();
  case DataType::FLOAT8E5M2FNUZ:
    return b.getFloat8E5M2FNUZType();
  default:
    return onnx::OpaqueType::get(context, getElementName(dataType));
  }
}

std::string moire::frontend::describeType(const ::onnx::TypeProto &type) {
  switch (type.value_case()) {
  case ::onnx::TypeProto::kTensorType:
    return "tensor(" + getElementName(type.tensor_type().elem_type()).str() + ")";
  case ::onnx::TypeProto::kSparseTensorType:
    return "sparse_tensor(" + getElementName(type.sparse_tensor_type().elem_type()).str() + ")";
  case ::onnx::TypeProto::kSequenceType:
    return "sequence(" + describeType(type.sequence_type().elem_type()) + ")";
  case ::onnx::TypeProto::kOptionalType:
    return "optional(" + describeType(type.optional_type().elem_type()) + ")";
  case ::onnx::TypeProto::kMapType:
    return "map(" + getElementName(type.map_type().key_type()).str() + ", " +
           describeType(type.map_type().value_type()) + ")";
  case ::onnx::TypeProto::kOpaqueType:
    return "opaque(" + type.opaque_type().domain() + ", " + type.opaque_type().name() + ")";
  default:
    return "?";
  }
}

Type moire::frontend::convertType(const ::onnx::TypeProto &type, MLIRContext *context) {
  if (!type.has_tensor_type())
    return onnx::OpaqueType::get(context, describeType(type));
  const auto &tensor = type.tensor_type();
  if (tensor.elem_type() == DataType::UNDEFINED)
    return onnx::OpaqueType::get(context, "?");
  Type element = convertElementType(tensor.elem_type(), context);
  if (!tensor.has_shape())
    return UnrankedTensorType::get(element);
  SmallVector<int64_t> shape;
  for (const auto &dim : tensor.shape().dim())
    shape.push_back(dim.has_dim_value() && dim.dim_value() >= 0 ? dim.dim_value()
                                                                : ShapedType::kDynamic);
  return RankedTensorType::get(shape, element);
}
