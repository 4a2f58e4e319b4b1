//===- Tensor.cpp - Values of the interpreter ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Interp/Tensor.h"
#include "mlir/IR/Builders.h"
#include <cstring>

using namespace mlir;
using namespace moire::interp;

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

/// The nearest value of a narrow float type, ties to even.
static double roundToNarrow(FloatType type, double value) {
  bool inexact;
  llvm::APFloat narrow(value);
  narrow.convert(type.getFloatSemantics(), llvm::APFloat::rmNearestTiesToEven, &inexact);
  narrow.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &inexact);
  return narrow.convertToDouble();
}

/// i1 is 0 or 1; other signless integers are sign-extended from their width.
static int64_t wrap(Type type, int64_t value) {
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer || integer.getWidth() >= 64)
    return value;
  unsigned unused = 64 - integer.getWidth();
  if (integer.getWidth() == 1 || integer.isUnsigned())
    return static_cast<uint64_t>(value) << unused >> unused;
  return static_cast<int64_t>(static_cast<uint64_t>(value) << unused) >> unused;
}

void Tensor::round() {
  if (!isFloat()) {
    if (!elementType().isInteger(64) && !elementType().isIndex())
      for (int64_t &x : edit<int64_t>())
        x = wrap(elementType(), x);
    return;
  }
  if (elementType().isF64())
    return;
  if (elementType().isF32()) {
    for (double &x : edit<double>())
      x = static_cast<float>(x);
    return;
  }
  for (double &x : edit<double>())
    x = roundToNarrow(cast<FloatType>(elementType()), x);
}

//===----------------------------------------------------------------------===//
// Construction
//===----------------------------------------------------------------------===//

Tensor::Tensor(RankedTensorType type) : tensorType(type) {
  if (isFloat())
    data = std::make_shared<std::vector<double>>(size(), 0.0);
  else
    data = std::make_shared<std::vector<int64_t>>(size(), 0);
}

Tensor Tensor::splat(RankedTensorType type, double value) {
  Tensor result(type);
  dispatch(result, [&](auto t) {
    for (auto &x : result.edit<decltype(t)>())
      x = static_cast<decltype(t)>(value);
  });
  result.round();
  return result;
}

Tensor Tensor::reshaped(ArrayRef<int64_t> shape) const {
  Tensor result = *this;
  result.tensorType = RankedTensorType::get(shape, elementType());
  assert(result.size() == size() && "another number of elements");
  return result;
}

/// Copies a range of values, repeating a splat's only one.
template <typename T, typename Values>
static void fill(Tensor &tensor, const Values &values) {
  auto out = tensor.edit<T>();
  for (auto [to, from] : llvm::zip_equal(out, values))
    to = static_cast<T>(from);
}

FailureOr<Tensor> Tensor::fromAttribute(Attribute attribute) {
  if (auto value = dyn_cast<FloatAttr>(attribute))
    return splat(RankedTensorType::get({}, value.getType()), value.getValueAsDouble());
  if (auto value = dyn_cast<IntegerAttr>(attribute)) {
    Tensor result(value.getType(), {});
    result.edit<int64_t>()[0] = wrap(value.getType(), value.getValue().getSExtValue());
    return result;
  }
  auto dense = dyn_cast_if_present<DenseElementsAttr>(attribute);
  if (!dense || !dense.getElementType().isIntOrIndexOrFloat())
    return failure();
  Tensor result(RankedTensorType::get(dense.getType().getShape(), dense.getElementType()));
  Type type = result.elementType();
  if (type.isF32()) {
    fill<double>(result, dense.getValues<float>());
  } else if (type.isF64()) {
    fill<double>(result, dense.getValues<double>());
  } else if (result.isFloat()) {
    auto out = result.edit<double>();
    for (auto [i, value] : llvm::enumerate(dense.getValues<llvm::APFloat>())) {
      bool inexact;
      llvm::APFloat wide = value;
      wide.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &inexact);
      out[i] = wide.convertToDouble();
    }
  } else if (type.isInteger(64)) {
    fill<int64_t>(result, dense.getValues<int64_t>());
  } else {
    auto out = result.edit<int64_t>();
    for (auto [i, value] : llvm::enumerate(dense.getValues<llvm::APInt>()))
      out[i] = wrap(type, value.getZExtValue());
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

template <typename To, typename From>
static DenseElementsAttr denseOf(RankedTensorType type, ArrayRef<From> from) {
  SmallVector<To> values;
  values.reserve(from.size());
  for (From x : from)
    values.push_back(static_cast<To>(x));
  return DenseElementsAttr::get(type, ArrayRef<To>(values));
}

/// A narrow float's or integer's value as MLIR keeps it.
static llvm::APFloat toAPFloat(Type type, double value) {
  bool inexact;
  llvm::APFloat narrow(value);
  narrow.convert(cast<FloatType>(type).getFloatSemantics(), llvm::APFloat::rmNearestTiesToEven,
                 &inexact);
  return narrow;
}
static llvm::APInt toAPInt(Type type, int64_t value) {
  unsigned width = type.isIndex() ? IndexType::kInternalStorageBitWidth
                                  : type.getIntOrFloatBitWidth();
  return llvm::APInt(width, static_cast<uint64_t>(value), /*isSigned=*/width > 1);
}

DenseElementsAttr Tensor::toAttribute() const {
  Type element = elementType();
  // A splat takes one element's room and is what patterns look for. Compared
  // by bits: -0.0 is not 0.0, and a NaN is itself.
  auto equal = [&](auto t) {
    auto values = get<decltype(t)>();
    for (auto &x : values)
      if (std::memcmp(&x, &values[0], sizeof x))
        return false;
    return !values.empty();
  };
  RankedTensorType type = tensorType;
  bool isSplat = dispatch(*this, equal);
  auto make = [&](auto t) -> DenseElementsAttr {
    using T = decltype(t);
    ArrayRef<T> values = isSplat ? get<T>().take_front() : get<T>();
    if (element.isF32())
      return denseOf<float>(type, values);
    if (element.isF64())
      return denseOf<double>(type, values);
    if (element.isInteger(64))
      return denseOf<int64_t>(type, values);
    if (element.isInteger(1))
      return denseOf<bool>(type, values);
    if constexpr (std::is_same_v<T, double>) {
      SmallVector<llvm::APFloat> wide;
      for (double x : values)
        wide.push_back(toAPFloat(element, x));
      return DenseElementsAttr::get(type, wide);
    } else {
      SmallVector<llvm::APInt> wide;
      for (int64_t x : values)
        wide.push_back(toAPInt(element, x));
      return DenseElementsAttr::get(type, wide);
    }
  };
  return dispatch(*this, make);
}

TypedAttr Tensor::toScalarAttribute() const {
  assert(size() == 1 && "not a scalar");
  if (isFloat())
    return FloatAttr::get(elementType(), toAPFloat(elementType(), floats()[0]));
  return IntegerAttr::get(elementType(), toAPInt(elementType(), ints()[0]));
}

//===----------------------------------------------------------------------===//
// Bytes
//===----------------------------------------------------------------------===//

static int64_t bytesPerElement(Type type) {
  return type.isIndex() ? 8 : llvm::divideCeil(type.getIntOrFloatBitWidth(), 8);
}

template <typename Packed, typename T>
static void unpack(ArrayRef<char> bytes, MutableArrayRef<T> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    Packed x;
    std::memcpy(&x, bytes.data() + i * sizeof x, sizeof x);
    out[i] = static_cast<T>(x);
  }
}

FailureOr<Tensor> Tensor::fromBytes(RankedTensorType type, ArrayRef<char> bytes) {
  Tensor result(type);
  Type element = type.getElementType();
  int64_t width = bytesPerElement(element);
  if (static_cast<int64_t>(bytes.size()) != width * result.size())
    return failure();
  if (element.isF32()) {
    unpack<float>(bytes, result.edit<double>());
  } else if (element.isF64()) {
    unpack<double>(bytes, result.edit<double>());
  } else if (result.isFloat() && width == 2) {
    auto out = result.edit<double>();
    const auto &semantics = cast<FloatType>(element).getFloatSemantics();
    for (int64_t i = 0; i < result.size(); ++i) {
      uint16_t bits;
      std::memcpy(&bits, bytes.data() + 2 * i, 2);
      llvm::APFloat value(semantics, llvm::APInt(16, bits));
      bool inexact;
      value.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &inexact);
      out[i] = value.convertToDouble();
    }
  } else if (result.isFloat()) {
    return failure();
  } else {
    auto out = result.edit<int64_t>();
    switch (width) {
    case 1: unpack<int8_t>(bytes, out); break;
    case 2: unpack<int16_t>(bytes, out); break;
    case 4: unpack<int32_t>(bytes, out); break;
    default: unpack<int64_t>(bytes, out); break;
    }
    result.round();
  }
  return result;
}

std::vector<char> Tensor::toBytes() const {
  Type element = elementType();
  int64_t width = bytesPerElement(element);
  std::vector<char> bytes(width * size());
  auto put = [&](int64_t i, auto value) {
    std::memcpy(bytes.data() + width * i, &value, width);
  };
  for (int64_t i = 0; i < size(); ++i) {
    if (element.isF32())
      put(i, static_cast<float>(floats()[i]));
    else if (element.isF64())
      put(i, floats()[i]);
    else if (isFloat())
      put(i, toAPFloat(element, floats()[i]).bitcastToAPInt().getZExtValue());
    else
      put(i, ints()[i]);
  }
  return bytes;
}

SmallVector<int64_t> moire::interp::stridesOf(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size(), 1);
  for (int64_t i = static_cast<int64_t>(shape.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}
