//===- TensorFiles.cpp - Tensors in files --------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Interp/TensorFiles.h"
#include "mlir/IR/Builders.h"
#include "onnx.pb.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace moire::interp;
using llvm::formatv;

//===----------------------------------------------------------------------===//
// TensorProto
//===----------------------------------------------------------------------===//

namespace {
struct ElementKind {
  int32_t onnx;
  const char *safetensors;
  Type type;
};
} // namespace

static SmallVector<ElementKind> elementKinds(MLIRContext *context) {
  Builder b(context);
  using T = ::onnx::TensorProto;
  auto unsignedType = [&](unsigned width) { return b.getIntegerType(width, /*isSigned=*/false); };
  return {{T::FLOAT, "F32", b.getF32Type()},       {T::DOUBLE, "F64", b.getF64Type()},
          {T::FLOAT16, "F16", b.getF16Type()},     {T::BFLOAT16, "BF16", b.getBF16Type()},
          {T::INT64, "I64", b.getI64Type()},       {T::INT32, "I32", b.getI32Type()},
          {T::INT16, "I16", b.getI16Type()},       {T::INT8, "I8", b.getI8Type()},
          {T::BOOL, "BOOL", b.getI1Type()},        {T::UINT8, "U8", unsignedType(8)},
          {T::UINT16, "U16", unsignedType(16)},    {T::UINT32, "U32", unsignedType(32)},
          {T::UINT64, "U64", unsignedType(64)}};
}

/// The elements of the typed field that fits the type, as packed bytes.
template <typename Packed, typename Field>
static std::vector<char> pack(const Field &field) {
  std::vector<char> bytes(field.size() * sizeof(Packed));
  for (int i = 0; i < field.size(); ++i) {
    Packed value = static_cast<Packed>(field.Get(i));
    std::memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
  }
  return bytes;
}

static std::vector<char> elementBytes(const ::onnx::TensorProto &proto) {
  using T = ::onnx::TensorProto;
  if (proto.has_raw_data())
    return {proto.raw_data().begin(), proto.raw_data().end()};
  switch (proto.data_type()) {
  case T::FLOAT: return pack<float>(proto.float_data());
  case T::DOUBLE: return pack<double>(proto.double_data());
  case T::INT64: return pack<int64_t>(proto.int64_data());
  case T::UINT64: return pack<uint64_t>(proto.uint64_data());
  case T::UINT32: return pack<uint32_t>(proto.uint64_data());
  case T::INT32: return pack<int32_t>(proto.int32_data());
  // Narrower types lie in int32_data by their bits.
  case T::INT16: case T::UINT16: case T::FLOAT16: case T::BFLOAT16:
    return pack<uint16_t>(proto.int32_data());
  default: return pack<uint8_t>(proto.int32_data());
  }
}

/// As the model phase has all values: integers but bool in i64, half precision
/// in f32.
static Tensor widened(const Tensor &tensor) {
  Type from = tensor.elementType(), to = from;
  Builder b(from.getContext());
  if (from.isF16() || from.isBF16())
    to = b.getF32Type();
  else if (isa<IntegerType>(from) && !from.isInteger(1))
    to = b.getI64Type();
  if (from == to)
    return tensor;
  Tensor wide(to, tensor.shape());
  dispatch(tensor, [&](auto t) {
    using T = decltype(t);
    llvm::copy(tensor.get<T>(), wide.edit<T>().begin());
  });
  return wide;
}

std::optional<NamedTensor> moire::interp::readTensorProto(StringRef path, MLIRContext *context,
                                                          std::string &error) {
  auto file = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!file) {
    error = formatv("cannot read '{0}': {1}", path, file.getError().message());
    return std::nullopt;
  }
  ::onnx::TensorProto proto;
  if (!proto.ParseFromArray((*file)->getBufferStart(), (*file)->getBufferSize())) {
    error = formatv("'{0}' is not a TensorProto", path);
    return std::nullopt;
  }
  Type element;
  for (const ElementKind &kind : elementKinds(context))
    if (kind.onnx == proto.data_type())
      element = kind.type;
  if (!element) {
    error = formatv("'{0}' holds elements of ONNX type {1}, which are not supported", path,
                    proto.data_type());
    return std::nullopt;
  }
  SmallVector<int64_t> shape(proto.dims().begin(), proto.dims().end());
  std::vector<char> bytes = elementBytes(proto);
  auto tensor = Tensor::fromBytes(RankedTensorType::get(shape, element), bytes);
  if (failed(tensor)) {
    error = formatv("'{0}' has {1} bytes of elements, which do not fill its shape [{2:$[, ]}]",
                    path, bytes.size(), llvm::make_range(shape.begin(), shape.end()));
    return std::nullopt;
  }
  return NamedTensor{proto.name(), widened(*tensor)};
}

/// Writes under another name first: a reader never sees half a file.
static bool writeFile(StringRef path, llvm::function_ref<void(llvm::raw_ostream &)> write,
                      std::string &error) {
  if (auto failure = llvm::writeToOutput(path, [&](llvm::raw_ostream &os) {
        write(os);
        return llvm::Error::success();
      })) {
    error = formatv("cannot write '{0}': {1}", path, llvm::toString(std::move(failure)));
    return false;
  }
  return true;
}

bool moire::interp::writeTensorProto(StringRef path, const NamedTensor &named, std::string &error) {
  ::onnx::TensorProto proto;
  proto.set_name(named.name);
  for (int64_t d : named.tensor.shape())
    proto.add_dims(d);
  for (const ElementKind &kind : elementKinds(named.tensor.type().getContext()))
    if (kind.type == named.tensor.elementType())
      proto.set_data_type(kind.onnx);
  std::vector<char> bytes = named.tensor.toBytes();
  proto.set_raw_data(bytes.data(), bytes.size());
  return writeFile(path, [&](llvm::raw_ostream &os) { os << proto.SerializeAsString(); }, error);
}

//===----------------------------------------------------------------------===//
// Safetensors
//===----------------------------------------------------------------------===//

// 8 bytes with the header's length, the header in JSON, the elements.
bool moire::interp::writeSafetensors(StringRef path, ArrayRef<NamedTensor> tensors,
                                     std::string &error) {
  llvm::json::Object header;
  std::string data;
  for (const NamedTensor &named : tensors) {
    std::vector<char> bytes = named.tensor.toBytes();
    llvm::json::Array shape;
    for (int64_t d : named.tensor.shape())
      shape.push_back(d);
    int64_t begin = data.size();
    data.append(bytes.data(), bytes.size());
    for (const ElementKind &kind : elementKinds(named.tensor.type().getContext()))
      if (kind.type == named.tensor.elementType())
        header[named.name] = llvm::json::Object{
            {"dtype", kind.safetensors},
            {"shape", std::move(shape)},
            {"data_offsets", llvm::json::Array{begin, static_cast<int64_t>(data.size())}}};
  }
  std::string text = formatv("{0}", llvm::json::Value(std::move(header)));
  text.resize(llvm::alignTo(text.size(), 8), ' ');
  uint64_t length = text.size();
  return writeFile(path, [&](llvm::raw_ostream &os) {
    os.write(reinterpret_cast<const char *>(&length), sizeof length);
    os << text << data;
  }, error);
}

//===----------------------------------------------------------------------===//
// Folders
//===----------------------------------------------------------------------===//

const Tensor *DataFolder::find(StringRef name, int position) const {
  for (const auto &[index, input] : inputs)
    if (!input.name.empty() && input.name == name)
      return &input.tensor;
  auto at = inputs.find(position);
  return at != inputs.end() && at->second.name.empty() ? &at->second.tensor : nullptr;
}

std::optional<DataFolder> moire::interp::readDataFolder(StringRef path, MLIRContext *context,
                                                        std::string &error) {
  if (!llvm::sys::fs::is_directory(path)) {
    error = formatv("'{0}' is not a folder of input_N.pb files", path);
    return std::nullopt;
  }
  DataFolder folder;
  folder.path = path.str();
  std::error_code code;
  for (llvm::sys::fs::directory_iterator entry(path, code), end; entry != end && !code;
       entry.increment(code)) {
    StringRef name = llvm::sys::path::filename(entry->path());
    StringRef number = name;
    int index;
    bool isInput = number.consume_front("input_") && number.consume_back(".pb") &&
                   !number.getAsInteger(10, index);
    if (!isInput && name != "labels.pb")
      continue;
    auto tensor = readTensorProto(entry->path(), context, error);
    if (!tensor)
      return std::nullopt;
    if (isInput)
      folder.inputs[index] = *tensor;
    else
      folder.labels = *tensor;
  }
  return folder;
}
