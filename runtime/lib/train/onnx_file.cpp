//===- onnx_file.cpp - The initializers of an ONNX file -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/onnx_file.h"
#include "train/convert.h"

namespace moire::rt {

std::string folderOf(const std::string &path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "./" : path.substr(0, slash + 1);
}

bool staysInside(const std::string &relative) {
  if (relative.empty() || relative[0] == '/')
    return false;
  int depth = 0;
  for (size_t at = 0; at < relative.size();) {
    size_t slash = relative.find('/', at);
    if (slash == std::string::npos)
      slash = relative.size();
    const std::string part = relative.substr(at, slash - at);
    if (part == "..")
      --depth;
    else if (part != "." && !part.empty())
      ++depth;
    if (depth < 0)
      return false;
    at = slash + 1;
  }
  return true;
}

OnnxFile::OnnxFile(const std::string &path) : model(path) {
  bool graph = false;
  for (WireReader r({model.data(), model.size()}, path); r.next();) {
    if (r.field != 7 || r.type != 2)
      continue;
    graph = true;
    for (WireReader g(r.bytes, path); g.next();) {
      if (g.field != 5 || g.type != 2)
        continue;
      // Tensors of types that no parameter has (strings) are passed over.
      try {
        TensorView t = parseTensor(g.bytes, path);
        initializers.emplace(t.name, std::move(t));
      } catch (const InputError &) {
      }
    }
  }
  if (!graph)
    throw InputError("'" + path + "' holds no ONNX graph; give the .onnx file");
  for (auto &[name, t] : initializers) {
    if (!t.external) {
      if (!t.owned.empty())
        t.data = {t.owned.data(), int64_t(t.owned.size())};
      continue;
    }
    if (!staysInside(t.file))
      throw InputError("initializer '" + name + "' of '" + path +
                       "' lies in '" + t.file + "', outside the model's folder");
    auto &file = externals[t.file];
    if (!file)
      file = std::make_unique<MappedFile>(folderOf(path) + t.file);
    const int64_t want = t.elements() * bytesOf(t.type);
    if (t.offset < 0 || t.offset > file->size() || want > file->size() - t.offset)
      throw InputError("initializer '" + name + "' needs bytes " +
                       std::to_string(t.offset) + " to " +
                       std::to_string(t.offset + want) + " of '" + file->path() +
                       "', which has " + std::to_string(file->size()));
    t.data = {file->data() + t.offset, want};
  }
}

const TensorView *OnnxFile::find(const std::string &name) const {
  auto it = initializers.find(name);
  return it == initializers.end() ? nullptr : &it->second;
}

// Numbers of onnx.proto.
OnnxMessage childOf(OnnxMessage parent, uint32_t number) {
  switch (parent) {
  case OnnxMessage::model:
    return number == 7    ? OnnxMessage::graph
           : number == 20 ? OnnxMessage::training
           : number == 25 ? OnnxMessage::function
                          : OnnxMessage::none;
  case OnnxMessage::graph:
    return number == 1    ? OnnxMessage::node
           : number == 5  ? OnnxMessage::tensor
           : number == 15 ? OnnxMessage::sparse
                          : OnnxMessage::none;
  case OnnxMessage::node:
    return number == 5 ? OnnxMessage::attribute : OnnxMessage::none;
  case OnnxMessage::attribute:
    return number == 5 || number == 10    ? OnnxMessage::tensor
           : number == 6 || number == 11  ? OnnxMessage::graph
           : number == 22 || number == 23 ? OnnxMessage::sparse
                                          : OnnxMessage::none;
  case OnnxMessage::sparse:
    return number == 1 || number == 2 ? OnnxMessage::tensor : OnnxMessage::none;
  case OnnxMessage::function:
    return number == 7 ? OnnxMessage::node : number == 11 ? OnnxMessage::attribute : OnnxMessage::none;
  case OnnxMessage::training:
    return number == 1 || number == 2 ? OnnxMessage::graph : OnnxMessage::none;
  default:
    return OnnxMessage::none;
  }
}

static void walk(OnnxMessage parent, Span bytes, int depth, const std::string &path, const UseTensor &use) {
  if (depth > 100)
    throw InputError("'" + path + "' nests graphs too deeply");
  for (WireReader r(bytes, path); r.next();) {
    const OnnxMessage child = r.type == 2 ? childOf(parent, r.field) : OnnxMessage::none;
    if (child == OnnxMessage::tensor)
      use(r.bytes);
    else if (child != OnnxMessage::none)
      walk(child, r.bytes, depth + 1, path, use);
  }
}

void eachTensor(const MappedFile &model, const UseTensor &use) {
  walk(OnnxMessage::model, {model.data(), model.size()}, 0, model.path(), use);
}

} // namespace moire::rt
