//===- Onnx.cpp - Registration and verifiers of the onnx dialect ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/onnx/Onnx.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace moire::onnx;

#include "dialects/onnx/OnnxOpsDialect.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/onnx/OnnxOpsTypes.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/onnx/OnnxOpsAttributes.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/onnx/OnnxOps.cpp.inc"

void OnnxDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/onnx/OnnxOpsTypes.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/onnx/OnnxOpsAttributes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/onnx/OnnxOps.cpp.inc"
      >();
}

std::optional<int64_t> moire::onnx::getPayloadSize(ShapedType type) {
  if (!type.hasRank() || !type.hasStaticShape())
    return std::nullopt;
  Type element = type.getElementType();
  int64_t bits;
  if (element.isIntOrFloat())
    bits = element.isInteger(1) ? 8 : element.getIntOrFloatBitWidth();
  else if (auto complex = dyn_cast<ComplexType>(element))
    bits = 2 * complex.getElementType().getIntOrFloatBitWidth();
  else
    return std::nullopt;
  int64_t count = 1;
  for (int64_t size : type.getShape())
    if (llvm::MulOverflow(count, size, count) || count > (INT64_MAX >> 8))
      return std::nullopt;
  return (count * bits + 7) / 8;
}

//===----------------------------------------------------------------------===//
// ExternalAttr
//===----------------------------------------------------------------------===//

LogicalResult ExternalAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringAttr file,
                                   int64_t offset, int64_t length) {
  if (offset < 0)
    return emitError() << "offset " << offset << " must not be negative";
  if (length < 0)
    return emitError() << "length " << length << " must not be negative";
  StringRef path = file.getValue();
  if (llvm::sys::path::is_absolute(path, llvm::sys::path::Style::posix))
    return emitError() << "file \"" << path << "\" must be relative to the model's folder";
  for (StringRef part : llvm::split(path, '/'))
    if (part == "..")
      return emitError() << "file \"" << path << "\" must not climb out of the model's folder";
  return success();
}

//===----------------------------------------------------------------------===//
// NodeOp
//===----------------------------------------------------------------------===//

LogicalResult NodeOp::verify() {
  if (getOpType().empty())
    return emitOpError("needs an op type");
  if (getDomain() && (getDomain()->empty() || *getDomain() == "ai.onnx"))
    return emitOpError("domain \"") << *getDomain() << "\" is the default one and must be left out";
  size_t names = getGraphNames() ? getGraphNames()->size() : 0;
  if (names != getGraphs().size())
    return emitOpError("has ") << getGraphs().size() << " graphs and " << names
                               << " names for them, which must be equal";
  for (Region &graph : getGraphs())
    if (graph.front().empty() || !isa<YieldOp>(graph.front().back()))
      return emitOpError("graph ") << graph.getRegionNumber() << " must end in onnx.yield";
  return success();
}

int64_t NodeOp::getInt(StringRef name, int64_t otherwise) {
  auto attribute = getAttribute<IntegerAttr>(name);
  return attribute ? attribute.getValue().getSExtValue() : otherwise;
}

double NodeOp::getFloat(StringRef name, double otherwise) {
  auto attribute = getAttribute<FloatAttr>(name);
  return attribute ? attribute.getValueAsDouble() : otherwise;
}

StringRef NodeOp::getString(StringRef name, StringRef otherwise) {
  auto attribute = getAttribute<StringAttr>(name);
  return attribute ? attribute.getValue() : otherwise;
}

std::optional<ArrayRef<int64_t>> NodeOp::getInts(StringRef name) {
  if (auto attribute = getAttribute<DenseI64ArrayAttr>(name))
    return attribute.asArrayRef();
  return std::nullopt;
}

StringRef NodeOp::getDomainName() { return getDomain().value_or("ai.onnx"); }

int64_t NodeOp::getOpsetVersion() {
  if (getOpset())
    return *getOpset();
  auto module = (*this)->getParentOfType<ModuleOp>();
  auto opsets = module ? module->getAttrOfType<DictionaryAttr>("onnx.opsets") : DictionaryAttr();
  auto version = opsets ? opsets.getAs<IntegerAttr>(getDomainName()) : IntegerAttr();
  return version ? version.getInt() : 0;
}

Value NodeOp::getInput(unsigned i) {
  if (i >= getInputs().size())
    return {};
  Value input = getInputs()[i];
  return isa<NoneType>(input.getType()) ? Value() : input;
}

std::string NodeOp::getQualifiedOpType() {
  if (!getDomain())
    return getOpType().str();
  return (*getDomain() + "::" + getOpType()).str();
}

//===----------------------------------------------------------------------===//
// InitializerOp
//===----------------------------------------------------------------------===//

LogicalResult InitializerOp::verify() {
  ShapedType type = getType();
  if (!getValue() && !getExternal())
    return emitOpError("needs a value or a place in a file");
  if (getValue() && getValueAttr().getShapedType() != type)
    return emitOpError("value of type ") << getValueAttr().getShapedType()
                                         << " must have the result's type " << type;
  std::optional<int64_t> bytes = getPayloadSize(type);
  if (getExternal() && !bytes)
    return emitOpError("has no known size in a file for type ") << type;
  if (getExternal() && getExternal()->getLength() != *bytes)
    return emitOpError("spans ") << getExternal()->getLength() << " bytes of the file, but " << type
                                 << " needs " << *bytes;
  return success();
}
