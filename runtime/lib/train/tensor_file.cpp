//===- tensor_file.cpp - ONNX TensorProto ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/tensor_file.h"
#include "train/convert.h"

#include <cstring>
#include <utility>

namespace moire::rt {

std::string shapeText(const std::vector<int64_t> &dims) {
  std::string s = "[";
  for (size_t i = 0; i < dims.size(); ++i)
    s += (i ? ", " : "") + std::to_string(dims[i]);
  return s + "]";
}

namespace {
/// TensorProto.DataType of onnx.proto.
constexpr std::pair<uint64_t, DType> kTypes[] = {
    {1, DType::f32},  {6, DType::i32},  {7, DType::i64},  {9, DType::i1},
    {10, DType::f16}, {11, DType::f64}, {16, DType::bf16}};

bool elementType(uint64_t code, DType &type) {
  for (auto &[number, t] : kTypes)
    if (number == code) {
      type = t;
      return true;
    }
  return false;
}

void append(std::vector<unsigned char> &to, uint64_t value, int64_t bytes) {
  for (int64_t i = 0; i < bytes; ++i)
    to.push_back(static_cast<unsigned char>(value >> (8 * i)));
}

/// A StringStringEntryProto of external_data.
void readExternal(Span entry, TensorView &t, const std::string &what) {
  std::string key, value;
  for (WireReader r(entry, what); r.next();) {
    if (r.type != 2)
      continue;
    if (r.field == 1)
      key = r.bytes.str();
    if (r.field == 2)
      value = r.bytes.str();
  }
  if (key == "location")
    t.file = value;
  try {
    if (key == "offset")
      t.offset = std::stoll(value);
    if (key == "length")
      t.length = std::stoll(value);
  } catch (const std::exception &) {
    throw InputError("external data of '" + what + "' has " + key + " '" + value +
                     "', which is no number");
  }
}

/// A field of what parsePlace() fills in. False: it is another one.
bool readPlace(const WireReader &r, TensorView &t, const std::string &what) {
  switch (r.field) {
  case 1: // dims
    if (r.type == 0) {
      t.dims.push_back(int64_t(r.value));
    } else {
      Span packed = r.bytes;
      for (uint64_t v; WireReader::packed(packed, v, what);)
        t.dims.push_back(int64_t(v));
    }
    return true;
  case 8:
    t.name = r.bytes.str();
    return true;
  case 13:
    readExternal(r.bytes, t, what);
    return true;
  case 14:
    t.external = r.value == 1;
    return true;
  default:
    return false;
  }
}
} // namespace

uint64_t codeOf(DType type) {
  for (auto &[number, t] : kTypes)
    if (t == type)
      return number;
  return 0;
}

TensorView parsePlace(Span message, const std::string &what) {
  TensorView t;
  for (WireReader r(message, what); r.next();)
    readPlace(r, t, what);
  return t;
}

TensorView parseTensor(Span message, const std::string &what) {
  TensorView t;
  uint64_t code = 0;
  std::vector<uint64_t> varints;            // int32_data, int64_data
  std::vector<unsigned char> fixed;         // float_data, double_data unpacked
  Span packedFloats, raw;
  bool hasRaw = false;
  for (WireReader r(message, what); r.next();) {
    if (readPlace(r, t, what))
      continue;
    switch (r.field) {
    case 2:
      code = r.value;
      break;
    case 4:  // float_data
    case 10: // double_data
      if (r.type == 2 && fixed.empty() && !packedFloats.data)
        packedFloats = r.bytes;
      else
        fixed.insert(fixed.end(), r.bytes.data, r.bytes.data + r.bytes.size);
      break;
    case 5: // int32_data
    case 7: // int64_data
      if (r.type == 0)
        varints.push_back(r.value);
      else
        for (uint64_t v; WireReader::packed(r.bytes, v, what);)
          varints.push_back(v);
      break;
    case 9:
      raw = r.bytes;
      hasRaw = true;
      break;
    default: // segments, strings, documentation, metadata
      break;
    }
  }
  if (!elementType(code, t.type))
    throw InputError("'" + what + "' holds elements of ONNX type " +
                     std::to_string(code) +
                     "; use float32, float16, bfloat16, float64, int64, int32 or bool");
  int64_t n = 1;
  for (int64_t d : t.dims) {
    if (d < 0 || (d > 0 && n > (int64_t(1) << 48) / d))
      throw InputError("'" + what + "' has the shape " + shapeText(t.dims) +
                       ", which no tensor can have");
    n *= d;
  }
  if (t.external)
    return t;
  if (hasRaw) {
    t.data = raw;
  } else if (!varints.empty()) {
    // f16, bf16 and bool travel in int32_data, one element a varint.
    for (uint64_t v : varints)
      append(t.owned, v, bytesOf(t.type));
    t.data = {t.owned.data(), int64_t(t.owned.size())};
  } else if (!fixed.empty()) {
    if (packedFloats.data)
      fixed.insert(fixed.begin(), packedFloats.data,
                   packedFloats.data + packedFloats.size);
    t.owned = std::move(fixed);
    t.data = {t.owned.data(), int64_t(t.owned.size())};
  } else {
    t.data = packedFloats;
  }
  const int64_t want = n * bytesOf(t.type);
  if (t.data.size != want)
    throw InputError("'" + what + "' holds " + std::to_string(t.data.size) +
                     " bytes of values, its shape " + shapeText(t.dims) + " of " +
                     nameOf(t.type) + " needs " + std::to_string(want));
  return t;
}

} // namespace moire::rt
