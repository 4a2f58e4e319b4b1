//===- WritePlacement.cpp - A compiled placement in an ONNX file ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The file is edited on the wire: protobuf would copy weights, and lose fields that
// onnx.proto does not know.
//
//===----------------------------------------------------------------------===//
#include "Annotator.h"
#include "ModelFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace moire::frontend;
using llvm::StringRef;

namespace {

//===----------------------------------------------------------------------===//
// The wire
//===----------------------------------------------------------------------===//

/// A field of a message whose form was checked when the model was parsed.
struct Field {
  uint64_t number = 0, value = 0;
  size_t begin = 0, valueBegin = 0, end = 0;
};

uint64_t readVarint(StringRef bytes, size_t &at) {
  uint64_t value = 0;
  for (unsigned shift = 0; at < bytes.size() && shift < 64; shift += 7) {
    const uint8_t byte = bytes[at++];
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (!(byte & 0x80))
      break;
  }
  return value;
}

/// Calls `visit` with each field of a message.
void walkFields(StringRef bytes, llvm::function_ref<void(const Field &)> visit) {
  for (size_t at = 0; at < bytes.size();) {
    Field field;
    field.begin = at;
    const uint64_t tag = readVarint(bytes, at);
    field.number = tag >> 3;
    field.valueBegin = at;
    switch (tag & 7) {
    case 0:
      field.value = readVarint(bytes, at);
      break;
    case 1:
      at += 8;
      break;
    case 2: {
      const uint64_t length = readVarint(bytes, at);
      field.valueBegin = at;
      at += length;
      break;
    }
    default:
      at += 4;
    }
    field.end = at = std::min(at, bytes.size());
    visit(field);
  }
}

void appendVarint(std::string &out, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void appendMessage(std::string &out, uint64_t number, StringRef bytes) {
  appendVarint(out, number << 3 | 2);
  appendVarint(out, bytes.size());
  out += bytes;
}

/// The text of a message's string field.
StringRef stringIn(StringRef message, uint64_t number) {
  StringRef text;
  walkFields(message, [&](const Field &field) {
    if (field.number == number)
      text = message.slice(field.valueBegin, field.end);
  });
  return text;
}

constexpr uint64_t kIrVersion = 1, kGraph = 7, kConfiguration = 26; // of ModelProto
constexpr uint64_t kNode = 1;                                       // of GraphProto
constexpr uint64_t kDeviceConfigurations = 10;                      // of NodeProto
constexpr uint64_t kName = 1, kConfigurationId = 1;                 // of configurations

/// A message as pieces of the old file and new bytes between them.
class Pieces {
public:
  void keep(StringRef bytes) {
    if (!bytes.empty())
      parts.push_back(bytes);
    size += bytes.size();
  }
  void add(std::string bytes) {
    if (bytes.empty())
      return;
    made.push_back(std::make_unique<std::string>(std::move(bytes)));
    keep(*made.back());
  }
  void add(Pieces &&other) {
    for (StringRef part : other.parts)
      parts.push_back(part);
    std::move(other.made.begin(), other.made.end(), std::back_inserter(made));
    size += other.size;
  }
  /// Another message inside this one.
  void addMessage(uint64_t number, Pieces &&message) {
    std::string head;
    appendVarint(head, number << 3 | 2);
    appendVarint(head, message.size);
    add(std::move(head));
    add(std::move(message));
  }
  void write(llvm::raw_ostream &os) const {
    for (StringRef part : parts)
      os << part;
  }

private:
  std::vector<StringRef> parts;
  std::vector<std::unique_ptr<std::string>> made;
  size_t size = 0;
};

Pieces editNode(StringRef node, const pb::NodeDeviceConfigurationProto *placed,
                StringRef configuration) {
  Pieces pieces;
  size_t from = 0;
  walkFields(node, [&](const Field &field) {
    if (field.number != kDeviceConfigurations ||
        stringIn(node.slice(field.valueBegin, field.end), kConfigurationId) != configuration)
      return;
    pieces.keep(node.slice(from, field.begin));
    from = field.end;
  });
  pieces.keep(node.drop_front(from));
  if (placed) {
    std::string bytes;
    appendMessage(bytes, kDeviceConfigurations, placed->SerializeAsString());
    pieces.add(std::move(bytes));
  }
  return pieces;
}

Pieces editModel(StringRef file, const Annotator &annotator, StringRef configuration) {
  Pieces pieces;
  walkFields(file, [&](const Field &field) {
    const StringRef whole = file.slice(field.begin, field.end);
    const StringRef value = file.slice(field.valueBegin, field.end);
    if (field.number == kIrVersion) {
      std::string bytes;
      appendVarint(bytes, kIrVersion << 3);
      appendVarint(bytes, std::max<uint64_t>(field.value, 11));
      pieces.add(std::move(bytes));
    } else if (field.number == kGraph) {
      Pieces graph;
      int node = 0;
      walkFields(value, [&](const Field &inner) {
        if (inner.number != kNode)
          return graph.keep(value.slice(inner.begin, inner.end));
        const auto placed = annotator.of(node++);
        graph.addMessage(kNode, editNode(value.slice(inner.valueBegin, inner.end),
                                         placed ? &*placed : nullptr, configuration));
      });
      pieces.addMessage(kGraph, std::move(graph));
    } else if (field.number != kConfiguration || stringIn(value, kName) != configuration) {
      pieces.keep(whole);
    }
  });
  std::string bytes;
  appendMessage(bytes, kConfiguration, annotator.configuration().SerializeAsString());
  pieces.add(std::move(bytes));
  return pieces;
}

bool hasExternalData(const pb::ModelProto &model) {
  return llvm::any_of(model.graph().initializer(), [](const pb::TensorProto &tensor) {
    return tensor.data_location() == pb::TensorProto::EXTERNAL;
  });
}

} // namespace

std::string moire::frontend::writePlacement(const std::string &path, const std::string &output,
                                            const Placement &placement) {
  std::string error;
  std::unique_ptr<ModelFile> file = ModelFile::open(path, error);
  if (!file)
    return "'" + path + "' " + error;
  bool same = false;
  if (!llvm::sys::fs::equivalent(path, output, same) && same)
    return "--write-placement '" + output +
           "' is the model itself, whose weights the program reads; give another name";
  auto folderOf = [](StringRef name) {
    const StringRef parent = llvm::sys::path::parent_path(name);
    return parent.empty() ? std::string(".") : parent.str();
  };
  same = false;
  if (hasExternalData(file->proto()) &&
      (llvm::sys::fs::equivalent(folderOf(path), folderOf(output), same) || !same))
    return "--write-placement '" + output + "' is in another folder than '" + path +
           "', beside which its weights lie; write it there, or copy the model first";
  const Annotator annotator(file->proto(), placement);
  if (!annotator.error.empty())
    return annotator.error;

  const llvm::ArrayRef<uint8_t> bytes = file->mapped().bytes();
  const Pieces pieces =
      editModel(StringRef(reinterpret_cast<const char *>(bytes.data()), bytes.size()), annotator,
                placement.configuration);
  // A sibling first, so that the file is there as a whole or not at all.
  auto temporary = llvm::sys::fs::TempFile::create(
      output + ".partial-%%%%%%", llvm::sys::fs::all_read | llvm::sys::fs::all_write);
  if (!temporary)
    return "cannot write --write-placement '" + output +
           "': " + llvm::toString(temporary.takeError());
  std::error_code failed;
  {
    llvm::raw_fd_ostream os(temporary->FD, /*shouldClose=*/false);
    pieces.write(os);
    os.flush();
    failed = os.error();
    os.clear_error();
  }
  if (failed) {
    llvm::consumeError(temporary->discard());
    return "cannot write --write-placement '" + output + "': " + failed.message();
  }
  if (llvm::Error renamed = temporary->keep(output))
    return "cannot write --write-placement '" + output + "': " + llvm::toString(std::move(renamed));
  return {};
}
