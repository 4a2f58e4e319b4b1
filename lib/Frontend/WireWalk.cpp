//===- WireWalk.cpp - Weights' places found on the protobuf wire ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A model may carry gigabytes of weights inside, and protobuf would copy them
// all. So the messages that lead to tensors are walked by hand (tags, lengths
// and nothing else) and everything but the tensors' bytes is copied for
// protobuf to parse.
//
//===----------------------------------------------------------------------===//
#include "WireWalk.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace moire::frontend;

namespace {

enum class Message { model, graph, node, attribute, tensor, sparse, function, metadata, copy, skip };

/// What field `number` of a message holds, as far as the walk cares.
Message getChild(Message parent, uint64_t number) {
  switch (parent) {
  case Message::model:
    return number == 7    ? Message::graph
           : number == 25 ? Message::function
           : number == 6 || number == 20 ? Message::skip
                                         : Message::copy;
  case Message::graph:
    return number == 1    ? Message::node
           : number == 5  ? Message::tensor
           : number == 15 ? Message::sparse
           : number == 10 ? Message::skip
                          : Message::copy;
  case Message::node:
    return number == 5   ? Message::attribute
           : number == 9 ? Message::metadata
           : number == 6 ? Message::skip
                         : Message::copy;
  case Message::attribute:
    return number == 5 || number == 10    ? Message::tensor
           : number == 6 || number == 11  ? Message::graph
           : number == 22 || number == 23 ? Message::sparse
           : number == 13                 ? Message::skip
                                          : Message::copy;
  case Message::sparse:
    return number == 1 || number == 2 ? Message::tensor : Message::copy;
  case Message::function:
    return number == 7    ? Message::node
           : number == 11 ? Message::attribute
           : number == 8  ? Message::skip
                          : Message::copy;
  default:
    return Message::copy;
  }
}

enum WireType { varint = 0, fixed64 = 1, lengthDelimited = 2, fixed32 = 5 };

struct Field {
  uint64_t number;
  unsigned wireType;
  size_t begin;        // of the tag
  size_t valueBegin;   // of the value, behind tag and length
  size_t end;          // behind the value
};

class Walker {
public:
  Walker(ArrayRef<uint8_t> file, SlimModel &model, llvm::function_ref<void(Payload)> passed)
      : file(file), payloads(model.payloads), passed(passed) {}

  /// Appends the slim form of the message in [begin, end) to `out`.
  bool walk(Message message, size_t begin, size_t end, std::string &out, unsigned depth);

  std::string error;
  bool sawVersion = false, sawGraph = false;

private:
  bool readVarint(size_t &position, size_t end, uint64_t &value);
  bool readField(size_t &position, size_t end, Field &field);
  bool walkTensor(size_t begin, size_t end, std::string &out);
  bool walkMetadata(const Field &field, std::string &out);
  bool fail(std::string what) {
    if (error.empty())
      error = std::move(what);
    return false;
  }
  void copy(const Field &field, std::string &out) {
    out.append(reinterpret_cast<const char *>(&file[field.begin]), field.end - field.begin);
  }
  void addPayload(const Field &field, std::string &out);

  ArrayRef<uint8_t> file;
  std::vector<Payload> &payloads;
  llvm::function_ref<void(Payload)> passed;
};

void appendVarint(uint64_t value, std::string &out) {
  for (; value >= 0x80; value >>= 7)
    out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void appendBytes(uint64_t number, StringRef bytes, std::string &out) {
  appendVarint(number << 3 | lengthDelimited, out);
  appendVarint(bytes.size(), out);
  out.append(bytes.data(), bytes.size());
}

bool Walker::readVarint(size_t &position, size_t end, uint64_t &value) {
  value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (position == end)
      return fail(formatv("is cut off or damaged at byte {0}: a number goes past its end", position));
    uint8_t byte = file[position++];
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (!(byte & 0x80))
      return true;
  }
  return fail(formatv("is damaged at byte {0}: a number has more than 10 bytes", position));
}

bool Walker::readField(size_t &position, size_t end, Field &field) {
  uint64_t tag, length;
  field.begin = position;
  if (!readVarint(position, end, tag))
    return false;
  field.number = tag >> 3;
  field.wireType = tag & 7;
  if (field.number == 0)
    return fail(formatv("is damaged at byte {0}: field number 0", field.begin));
  field.valueBegin = position;
  switch (field.wireType) {
  case varint:
    if (!readVarint(position, end, length))
      return false;
    break;
  case fixed64:
  case fixed32:
  case lengthDelimited:
    length = field.wireType == fixed64 ? 8 : 4;
    if (field.wireType == lengthDelimited && !readVarint(position, end, length))
      return false;
    field.valueBegin = position;
    if (length > end - position)
      return fail(formatv("is cut off or damaged: the field at byte {0} has {1} bytes, but {2} are "
                          "left; export or copy it again",
                          field.begin, length, end - position));
    position += length;
    break;
  default:
    return fail(formatv("is damaged at byte {0}: wire type {1}", field.begin, field.wireType));
  }
  field.end = position;
  return true;
}

/// A raw_data of a payload's index in place of the payload.
void Walker::addPayload(const Field &field, std::string &out) {
  char index[8];
  for (unsigned i = 0; i < 8; ++i)
    index[i] = static_cast<char>(static_cast<uint64_t>(payloads.size()) >> (8 * i));
  payloads.push_back({static_cast<int64_t>(field.valueBegin),
                      static_cast<int64_t>(field.end - field.valueBegin)});
  if (passed)
    passed(payloads.back());
  appendBytes(9, StringRef(index, 8), out);
}

bool Walker::walkTensor(size_t begin, size_t end, std::string &out) {
  // 1. Is the tensor's only data one packed run of floats or doubles?
  Field field, packed{};
  unsigned runs = 0, others = 0;
  uint64_t dataType = 0;
  for (size_t position = begin; position < end;) {
    if (!readField(position, end, field))
      return false;
    if (field.number == 2 && field.wireType == varint) {
      size_t at = field.valueBegin;
      readVarint(at, field.end, dataType);
    } else if ((field.number == 4 || field.number == 10) && field.wireType == lengthDelimited) {
      packed = field;
      ++runs;
    } else if (field.number >= 4 && field.number <= 11 && field.number != 8) {
      ++others;
    }
  }
  uint64_t wanted = dataType == 1 || dataType == 14 ? 4 : dataType == 11 || dataType == 15 ? 10 : 0;
  bool asRaw = runs == 1 && others == 0 && packed.number == wanted;

  // 2. Copy all but the payload.
  for (size_t position = begin; position < end;) {
    readField(position, end, field);
    bool isRaw = field.number == 9 && field.wireType == lengthDelimited;
    if (isRaw || (asRaw && field.begin == packed.begin))
      addPayload(field, out);
    else if (field.number != 12 && field.number != 9)
      copy(field, out);
  }
  return true;
}

/// A node's metadata; of a stack trace only the innermost frame.
bool Walker::walkMetadata(const Field &field, std::string &out) {
  StringRef key, value;
  Field part;
  for (size_t position = field.valueBegin; position < field.end;) {
    if (!readField(position, field.end, part))
      return false;
    StringRef text(reinterpret_cast<const char *>(file.data()) + part.valueBegin,
                   part.end - part.valueBegin);
    if (part.wireType == lengthDelimited && part.number <= 2)
      (part.number == 1 ? key : value) = text;
  }
  if (!key.ends_with("stack_trace")) {
    copy(field, out);
    return true;
  }
  size_t frame = value.rfind("File \"");
  std::string entry;
  appendBytes(1, key, entry);
  appendBytes(2, frame == StringRef::npos ? value : value.substr(frame), entry);
  appendBytes(9, entry, out);
  return true;
}

bool Walker::walk(Message message, size_t begin, size_t end, std::string &out, unsigned depth) {
  if (message == Message::tensor)
    return walkTensor(begin, end, out);
  if (depth > 90) // protobuf's own limit is 100
    return fail("nests graphs too deeply");
  Field field;
  std::string inner;
  for (size_t position = begin; position < end;) {
    if (!readField(position, end, field))
      return false;
    if (message == Message::model) {
      sawVersion |= field.number == 1 && field.wireType == varint;
      sawGraph |= field.number == 7 && field.wireType == lengthDelimited;
    }
    Message child = getChild(message, field.number);
    if (child == Message::skip)
      continue;
    if (child == Message::copy || field.wireType != lengthDelimited) {
      copy(field, out);
      continue;
    }
    if (child == Message::metadata) {
      if (!walkMetadata(field, out))
        return false;
      continue;
    }
    inner.clear();
    if (!walk(child, field.valueBegin, field.end, inner, depth + 1))
      return false;
    appendBytes(field.number, inner, out);
  }
  return true;
}

} // namespace

bool moire::frontend::slimModel(ArrayRef<uint8_t> file, SlimModel &model, std::string &error,
                                llvm::function_ref<void(Payload)> passed) {
  if (file.empty()) {
    error = "is empty; an ONNX model was expected";
    return false;
  }
  Walker walker(file, model, passed);
  bool good = walker.walk(Message::model, 0, file.size(), model.bytes, 0);
  // A file that fails before it has told its version is something else.
  if (!walker.sawVersion) {
    error = "is not an ONNX model: its bytes are no protobuf with an IR version; give the .onnx "
            "file that the exporter wrote";
    return false;
  }
  if (!good) {
    error = walker.error;
    return false;
  }
  if (!walker.sawGraph) {
    error = "has no graph; export the model again";
    return false;
  }
  return true;
}

uint64_t moire::frontend::getPayloadIndex(StringRef rawData) {
  uint64_t index = 0;
  for (unsigned i = 0; i < 8 && i < rawData.size(); ++i)
    index |= static_cast<uint64_t>(static_cast<uint8_t>(rawData[i])) << (8 * i);
  return index;
}
