//===- Tensors.cpp - TensorProtos become places and values ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Tensors.h"
#include "Metadata.h"
#include "Types.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace mlir;
using namespace moire::frontend;

static std::string print(Type type) {
  std::string text;
  raw_string_ostream(text) << type;
  return text;
}

bool TensorImporter::getShape(const google::protobuf::RepeatedField<int64_t> &dims,
                              int32_t dataType, ImportedTensor &result, std::string &error) {
  int64_t count = 1;
  for (int64_t dim : dims) {
    if (dim < 0) {
      error = formatv("has a dimension of {0}, which is no size", dim);
      return false;
    }
    if (MulOverflow(count, dim, count)) {
      error = "has more elements than 64 bits can count";
      return false;
    }
  }
  result.type = RankedTensorType::get(ArrayRef<int64_t>(dims.data(), dims.size()),
                                      convertElementType(dataType, context));
  return true;
}

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

/// The place in another file that external_data names, checked against the file.
bool TensorImporter::findExternal(const pb::TensorProto &tensor, int64_t bytes,
                                  ImportedTensor &result, const MappedFile *&source,
                                  std::string &error) {
  StringRef location = findProperty(tensor.external_data(), "location");
  int64_t offset = 0, length = -1;
  for (auto [key, number] : {std::pair{"offset", &offset}, {"length", &length}}) {
    StringRef text = findProperty(tensor.external_data(), key);
    if (!text.empty() && (text.getAsInteger(10, *number) || *number < 0)) {
      error = formatv("gives {0} '{1}' in its external data, which is no size", key, text);
      return false;
    }
  }
  const ExternalFiles::File &file = files.get(location);
  if (!file.mapped && file.missing && options.allowMissingWeights) {
    result.external = onnx::ExternalAttr::get(context, StringAttr::get(context), 0, bytes);
    return true;
  }
  if (!file.mapped) {
    error = formatv("lies in '{0}', which {1}", location, file.error);
    return false;
  }
  int64_t size = file.mapped->bytes().size();
  int64_t end;
  if (AddOverflow(offset, length < 0 ? bytes : length, end) || end > size) {
    error = formatv("lies at bytes {0} to {1} of '{2}', which has {3}; copy the file again", offset,
                    end, location, size);
    return false;
  }
  if (length >= 0 && length != bytes) {
    error = formatv("has {0} bytes in '{1}', but {2} needs {3}; export the model again", length,
                    location, print(result.type), bytes);
    return false;
  }
  result.external =
      onnx::ExternalAttr::get(context, StringAttr::get(context, location), offset, bytes);
  source = file.mapped.get();
  return true;
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

/// Appends the low `bits` / 8 bytes of each entry of a typed field.
template <typename Field>
static void appendAll(const Field &field, unsigned bytes, std::vector<uint8_t> &data) {
  for (auto entry : field) {
    uint64_t bits = 0;
    std::memcpy(&bits, &entry, sizeof(entry));
    for (unsigned i = 0; i < bytes; ++i)
      data.push_back(static_cast<uint8_t>(bits >> (8 * i)));
  }
}

/// The elements of a tensor that keeps them in a typed field, as raw_data would.
static std::vector<uint8_t> gatherTyped(const ::onnx::TensorProto &tensor, Type element) {
  std::vector<uint8_t> data;
  unsigned bits = element.isIntOrFloat() ? element.getIntOrFloatBitWidth() : 0;
  if (tensor.float_data_size())
    appendAll(tensor.float_data(), 4, data);
  else if (tensor.double_data_size())
    appendAll(tensor.double_data(), 8, data);
  else if (tensor.int64_data_size())
    appendAll(tensor.int64_data(), 8, data);
  else if (tensor.uint64_data_size())
    appendAll(tensor.uint64_data(), bits == 32 ? 4 : 8, data);
  else if (tensor.int32_data_size())
    appendAll(tensor.int32_data(), bits <= 8 ? 1 : bits / 8, data);
  return data;
}

/// Raw bytes as MLIR holds them: bools are bits, 2 and 4 bit integers bytes.
static DenseElementsAttr makeValue(RankedTensorType type, ArrayRef<uint8_t> data) {
  Type element = type.getElementType();
  int64_t count = type.getNumElements();
  if (element.isInteger(1)) {
    SmallVector<bool> bools;
    bools.reserve(count);
    for (uint8_t byte : data)
      bools.push_back(byte != 0);
    return DenseElementsAttr::get(type, ArrayRef<bool>(bools));
  }
  if (isa<IntegerType>(element) && element.getIntOrFloatBitWidth() < 8) {
    unsigned bits = element.getIntOrFloatBitWidth();
    SmallVector<APInt> values;
    values.reserve(count);
    for (int64_t i = 0; i < count; ++i)
      values.push_back(APInt(bits, (data[i * bits / 8] >> (i * bits % 8)) & ((1 << bits) - 1)));
    return DenseElementsAttr::get(type, values);
  }
  return DenseElementsAttr::getFromRawBuffer(
      type, ArrayRef<char>(reinterpret_cast<const char *>(data.data()), data.size()));
}

std::optional<ImportedTensor> TensorImporter::import(const pb::TensorProto &tensor,
                                                     std::string &error, bool wantValue) {
  // 1. The type.
  ImportedTensor result;
  if (!getShape(tensor.dims(), tensor.data_type(), result, error))
    return std::nullopt;
  std::optional<int64_t> bytes = moire::onnx::getPayloadSize(result.type);
  if (!bytes) {
    if (isa<moire::onnx::OpaqueType>(result.type.getElementType()))
      return result;
    error = formatv("is larger than a file can be: {0}", print(result.type));
    return std::nullopt;
  }

  // 2. The place.
  const MappedFile *source = nullptr; // has result.external
  std::vector<uint8_t> data;
  if (tensor.data_location() == pb::TensorProto::EXTERNAL) {
    if (!findExternal(tensor, *bytes, result, source, error))
      return std::nullopt;
  } else {
    int64_t size;
    if (tensor.has_raw_data()) {
      Payload payload = model.getPayload(tensor);
      result.external =
          moire::onnx::ExternalAttr::get(context, fileName, payload.offset, payload.length);
      source = &model.mapped();
      size = payload.length;
    } else {
      data = gatherTyped(tensor, result.type.getElementType());
      size = data.size();
    }
    if (size == 0 && *bytes > 0 && options.allowMissingWeights) {
      result.external = moire::onnx::ExternalAttr::get(context, StringAttr::get(context), 0, *bytes);
      return result;
    }
    if (size != *bytes) {
      error = formatv("has {0} bytes, but {1} needs {2}; export the model again", size,
                      print(result.type), *bytes);
      return std::nullopt;
    }
  }

  // 3. The value, where it may be wanted before the program runs.
  if (source) {
    bool isInteger = isa<IntegerType>(result.type.getElementType());
    if (!wantValue || *bytes > (isInteger ? options.integerLimit : options.valueLimit))
      return result;
    data = source->read(result.external.getOffset(), *bytes);
  } else if (result.external) {
    return result; // its file is missing
  }
  if (static_cast<int64_t>(data.size()) == *bytes)
    result.value = makeValue(result.type, data);
  return result;
}

std::optional<ImportedTensor> TensorImporter::import(const pb::SparseTensorProto &tensor,
                                                     std::string &error) {
  std::optional<ImportedTensor> values = import(tensor.values(), error);
  if (!values)
    return std::nullopt;
  std::optional<ImportedTensor> indices = import(tensor.indices(), error);
  ImportedTensor result;
  if (!indices || !getShape(tensor.dims(), tensor.values().data_type(), result, error))
    return std::nullopt;
  std::optional<int64_t> bytes = moire::onnx::getPayloadSize(result.type);
  Type element = result.type.getElementType();
  if (!values->value || !indices->value || !bytes || *bytes > options.integerLimit ||
      !element.isIntOrFloat() || element.getIntOrFloatBitWidth() < 8 ||
      !indices->type.getElementType().isInteger(64)) {
    error = formatv("is sparse and cannot be made dense here: {0}", print(result.type));
    return std::nullopt;
  }
  // Each index is linear or a coordinate.
  int64_t width = element.getIntOrFloatBitWidth() / 8;
  int64_t count = values->type.getNumElements(), rank = result.type.getRank();
  bool linear = indices->type.getRank() == 1;
  auto index = indices->value.getValues<int64_t>();
  if (static_cast<int64_t>(index.size()) != count * (linear ? 1 : rank)) {
    error = formatv("is sparse with {0} values, but {1} indices", count, index.size());
    return std::nullopt;
  }
  std::vector<char> data(*bytes);
  ArrayRef<char> raw = values->value.getRawData();
  for (int64_t i = 0; i < count; ++i) {
    int64_t at = 0;
    bool inside = true;
    for (int64_t d = 0; d < (linear ? 1 : rank); ++d) {
      int64_t size = linear ? result.type.getNumElements() : result.type.getDimSize(d);
      int64_t coordinate = index[linear ? i : i * rank + d];
      inside &= coordinate >= 0 && coordinate < size;
      at = at * size + coordinate;
    }
    if (!inside) {
      error = formatv("is sparse with an index outside of {0}", print(result.type));
      return std::nullopt;
    }
    std::memcpy(&data[at * width], &raw[values->value.isSplat() ? 0 : i * width], width);
  }
  result.value = DenseElementsAttr::getFromRawBuffer(result.type, data);
  return result;
}
