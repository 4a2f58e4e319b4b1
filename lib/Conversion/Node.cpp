//===- Node.cpp - One ONNX node while it is converted --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Node.h"
#include "moire/Support/Recipes.h"
#include <charconv>

using namespace mlir;
using namespace moire;
using namespace moire::conversion;

LogicalResult Node::fail(const Twine &message) {
  return emitError(op.getLoc()) << op.getQualifiedOpType() << ": " << message;
}

double Node::getFloat(StringRef name, double otherwise) {
  auto attr = op.getAttribute<FloatAttr>(name);
  if (!attr)
    return otherwise;
  char text[32];
  float value = attr.getValueAsDouble();
  auto end = std::to_chars(text, text + sizeof(text) - 1, value);
  *end.ptr = 0;
  return std::strtod(text, nullptr);
}

FailureOr<DimVector> Node::constInts(unsigned i, StringRef what) {
  if (!has(i))
    return fail(what + " is missing");
  if (auto ints = conversion::intsOf(in(i)))
    return *ints;
  return fail(what +
              " is computed from data, but only what follows from the shapes can be "
              "compiled" +
              recipe("shapes-from-data"));
}

FailureOr<int64_t> Node::constInt(unsigned i, StringRef what) {
  auto ints = constInts(i, what);
  if (failed(ints))
    return failure();
  if (ints->size() != 1)
    return fail(what + " has " + Twine(ints->size()) + " elements but must have 1");
  return ints->front();
}

std::optional<DimVector> Node::getInts(StringRef name) {
  if (auto ints = op.getInts(name))
    return DimVector(*ints);
  return std::nullopt;
}

FailureOr<std::optional<DimVector>> Node::intsOf(StringRef name, unsigned i) {
  if (auto ints = getInts(name))
    return ints;
  if (!has(i))
    return std::optional<DimVector>();
  auto ints = constInts(i, name);
  if (failed(ints))
    return failure();
  return std::optional<DimVector>(*ints);
}

FailureOr<int64_t> Node::axis(int64_t value, int64_t rank) {
  int64_t axis = value < 0 ? value + rank : value;
  if (axis < 0 || axis >= rank)
    return fail("axis " + Twine(value) + " must lie in " + Twine(-rank) + ".." + Twine(rank - 1) +
                ", the input having rank " + Twine(rank));
  return axis;
}

FailureOr<DimVector> Node::axes(Dims values, int64_t rank) {
  DimVector out;
  for (int64_t v : values) {
    auto a = axis(v, rank);
    if (failed(a))
      return failure();
    if (llvm::is_contained(out, *a))
      return fail("axis " + Twine(v) + " is given twice in " + str(values));
    out.push_back(*a);
  }
  llvm::sort(out);
  return out;
}

const HandlerTable &HandlerTable::get() {
  static const HandlerTable table = [] {
    HandlerTable t;
    addElementwise(t);
    addActivations(t);
    addShape(t);
    addMovement(t);
    addIndex(t);
    addReduce(t);
    addMatmul(t);
    addEinsum(t);
    addNormalization(t);
    addAttention(t);
    addLoss(t);
    addMoE(t);
    return t;
  }();
  return table;
}
