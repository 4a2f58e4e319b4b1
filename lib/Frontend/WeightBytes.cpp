//===- WeightBytes.cpp - Looking at stored weights, where that tells more -===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "WeightBytes.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/Support/Path.h"
#include <cstring>

using namespace llvm;
using namespace mlir;
using namespace moire;
using namespace moire::frontend;

WeightBytes::WeightBytes(StringRef modelPath)
    : modelPath(modelPath), modelName(sys::path::filename(modelPath)),
      files(sys::path::parent_path(modelPath).str()) {}

/// The file that holds all of an initializer's bytes, or null.
const MappedFile *WeightBytes::find(onnx::InitializerOp op) {
  onnx::ExternalAttr place = op.getExternalAttr();
  StringRef name = place ? place.getFile().getValue() : StringRef();
  if (name.empty())
    return nullptr;
  const MappedFile *file;
  if (name == modelName) {
    // Not through `files`: the model itself may be a link to anywhere.
    std::string error;
    if (!model)
      model = MappedFile::open(modelPath, error);
    file = model.get();
  } else {
    file = files.get(name).mapped.get();
  }
  if (!file || place.getOffset() > static_cast<int64_t>(file->bytes().size()) ||
      place.getLength() > static_cast<int64_t>(file->bytes().size()) - place.getOffset())
    return nullptr;
  return file;
}

ArrayRef<uint8_t> WeightBytes::get(onnx::InitializerOp op) {
  const MappedFile *file = find(op);
  if (!file)
    return {};
  return file->bytes().slice(op.getExternal()->getOffset(), op.getExternal()->getLength());
}

bool WeightBytes::visitFloats(onnx::InitializerOp op, llvm::function_ref<bool(double)> visit) {
  auto element = dyn_cast<FloatType>(op.getType().getElementType());
  if (!element)
    return false;
  auto widen = [](APFloat value) {
    bool lost;
    value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
    return value.convertToDouble();
  };
  if (auto elements = dyn_cast_or_null<DenseFPElementsAttr>(op.getValueAttr()))
    return llvm::all_of(elements.getValues<APFloat>(),
                        [&](const APFloat &value) { return visit(widen(value)); });
  ArrayRef<uint8_t> bytes = get(op);
  if (bytes.empty())
    return false;
  unsigned width = element.getWidth() / 8;
  for (size_t i = 0; i + width <= bytes.size(); i += width) {
    uint64_t bits = 0;
    std::memcpy(&bits, &bytes[i], width);
    double value;
    if (element.isF32()) {
      float single;
      std::memcpy(&single, &bits, sizeof(single));
      value = single;
    } else {
      value = widen(APFloat(element.getFloatSemantics(), APInt(element.getWidth(), bits)));
    }
    if (!visit(value))
      return false;
  }
  return true;
}

bool WeightBytes::isConstant(onnx::InitializerOp op) {
  if (auto elements = dyn_cast_or_null<DenseElementsAttr>(op.getValueAttr()))
    return elements.isSplat();
  ArrayRef<uint8_t> bytes = get(op);
  size_t count = op.getType().getNumElements();
  if (bytes.empty() || count == 0)
    return false;
  // Periodic with the period of one element.
  size_t width = bytes.size() / count;
  return std::memcmp(bytes.data(), bytes.data() + width, bytes.size() - width) == 0;
}

WeightBytes::Equal WeightBytes::compare(onnx::InitializerOp a, onnx::InitializerOp b,
                                        bool transposed, bool quick) {
  const MappedFile *fileA = find(a), *fileB = find(b);
  if (!fileA || !fileB)
    return Equal::unknown;
  ArrayRef<uint8_t> x = get(a), y = get(b);
  if (x.size() != y.size() || a.getType().getElementType() != b.getType().getElementType())
    return Equal::no;
  int64_t count = a.getType().getNumElements();
  if (count == 0)
    return Equal::yes;
  int64_t width = x.size() / count;
  int64_t rows = transposed ? a.getType().getDimSize(0) : 1, columns = count / rows;

  // Always some elements first, read alone: most unequal tensors end here.
  for (int64_t i = 0; i < 256; ++i) {
    auto at = static_cast<int64_t>(static_cast<uint64_t>(i) * 2654435761u %
                                   static_cast<uint64_t>(count));
    int64_t other = at % columns * rows + at / columns;
    if (fileA->read(a.getExternal()->getOffset() + at * width, width) !=
        fileB->read(b.getExternal()->getOffset() + other * width, width))
      return Equal::no;
  }
  if (quick)
    return Equal::yes;
  bool equal = true;
  constexpr int64_t tile = 32; // both matrices' tiles stay in the cache
  if (!transposed)
    equal = std::memcmp(x.data(), y.data(), x.size()) == 0;
  else
    for (int64_t r0 = 0; r0 < rows && equal; r0 += tile)
      for (int64_t c0 = 0; c0 < columns && equal; c0 += tile)
        for (int64_t r = r0; r < std::min(r0 + tile, rows); ++r)
          for (int64_t c = c0; c < std::min(c0 + tile, columns); ++c)
            equal &= !std::memcmp(&x[(r * columns + c) * width], &y[(c * rows + r) * width], width);
  fileA->release(a.getExternal()->getOffset(), x.size());
  fileB->release(b.getExternal()->getOffset(), y.size());
  return equal ? Equal::yes : Equal::no;
}
