//===- safetensors.cpp - Reading and writing safetensors ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/safetensors.h"
#include "train/convert.h"
#include "train/onnx_file.h"

#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

namespace moire::rt {

using nlohmann::json;

namespace {
bool endsWith(const std::string &s, const std::string &end) {
  return s.size() >= end.size() && s.compare(s.size() - end.size(), end.size(), end) == 0;
}
/// Tensors of types that no parameter has are left out.
bool elementType(const std::string &name, DType &type) {
  static const std::pair<const char *, DType> kTypes[] = {
      {"F32", DType::f32},   {"F16", DType::f16}, {"BF16", DType::bf16},
      {"F64", DType::f64},   {"I64", DType::i64}, {"I32", DType::i32},
      {"BOOL", DType::i1}};
  for (auto &[text, t] : kTypes)
    if (name == text) {
      type = t;
      return true;
    }
  return false;
}
} // namespace

void Safetensors::addFile(const std::string &path) {
  files.push_back(std::make_unique<MappedFile>(path));
  const MappedFile &f = *files.back();
  auto bad = [&](const std::string &why) {
    return InputError("'" + path + "' is not a valid safetensors file: " + why);
  };
  uint64_t length = 0;
  if (f.size() < 8)
    throw bad("it has " + std::to_string(f.size()) + " bytes");
  std::memcpy(&length, f.data(), 8);
  if (length > uint64_t(f.size() - 8))
    throw bad("its header of " + std::to_string(length) +
              " bytes is longer than the file");
  const int64_t dataStart = 8 + int64_t(length);
  try {
    const json header = json::parse(f.data() + 8, f.data() + dataStart);
    for (auto &[name, entry] : header.items()) {
      if (name == "__metadata__")
        continue;
      TensorView t;
      t.name = name;
      if (!elementType(entry.at("dtype").get<std::string>(), t.type))
        continue;
      t.dims = entry.at("shape").get<std::vector<int64_t>>();
      const int64_t begin = entry.at("data_offsets").at(0).get<int64_t>();
      const int64_t end = entry.at("data_offsets").at(1).get<int64_t>();
      if (begin < 0 || end < begin || end > f.size() - dataStart)
        throw bad("tensor '" + name + "' ends at byte " + std::to_string(end) +
                  " of " + std::to_string(f.size() - dataStart));
      if (end - begin != t.elements() * bytesOf(t.type))
        throw bad("tensor '" + name + "' of shape " + shapeText(t.dims) + " has " +
                  std::to_string(end - begin) + " bytes");
      t.data = {f.data() + dataStart + begin, end - begin};
      all[name] = std::move(t);
    }
  } catch (const json::exception &e) {
    throw bad(std::string("its header is wrong (") + e.what() + ")");
  }
}

Safetensors::Safetensors(const std::string &path) {
  if (!endsWith(path, ".json")) {
    addFile(path);
    return;
  }
  MappedFile index(path);
  std::map<std::string, int> shards;
  try {
    const json j = json::parse(index.data(), index.data() + index.size());
    for (auto &[name, file] : j.at("weight_map").items())
      shards[file.get<std::string>()] = 1;
  } catch (const json::exception &e) {
    throw InputError("'" + path + "' is not an index of safetensors shards (" +
                     e.what() + ")");
  }
  for (auto &[file, one] : shards) {
    if (!staysInside(file))
      throw InputError("'" + path + "' names the shard '" + file +
                       "' outside its folder");
    addFile(folderOf(path) + file);
  }
}

SafetensorsLayout::SafetensorsLayout(
    const std::vector<std::pair<std::string, std::vector<int64_t>>> &tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  int64_t at = 0;
  for (auto &[name, shape] : tensors) {
    int64_t n = 4;
    for (int64_t d : shape)
      n *= d;
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {at, at + n}}};
    places.push_back(at);
    at += n;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' '); // the data start aligned
  const uint64_t length = text.size();
  head.assign(reinterpret_cast<const char *>(&length), sizeof length);
  head += text;
  for (int64_t &place : places)
    place += int64_t(head.size());
  bytes = at + int64_t(head.size());
}

void writeSafetensors(const std::string &path,
                      const std::vector<NamedTensor> &tensors) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> shapes;
  for (const NamedTensor &t : tensors)
    shapes.emplace_back(t.name, t.shape);
  const SafetensorsLayout layout(shapes);
  const std::string temporary = path + ".tmp";
  FILE *f = std::fopen(temporary.c_str(), "wb");
  bool ok =
      f && std::fwrite(layout.head.data(), 1, layout.head.size(), f) == layout.head.size();
  for (size_t i = 0; ok && i < tensors.size(); ++i) {
    const int64_t end = i + 1 < tensors.size() ? layout.places[i + 1] : layout.bytes;
    const size_t bytes = size_t(end - layout.places[i]);
    ok = std::fwrite(tensors[i].data, 1, bytes, f) == bytes;
  }
  if (f && std::fclose(f) != 0)
    ok = false;
  if (!ok || std::rename(temporary.c_str(), path.c_str()) != 0) {
    std::string why = std::strerror(errno);
    std::remove(temporary.c_str());
    throw RunError("cannot write '" + path + "': " + why);
  }
}

} // namespace moire::rt
