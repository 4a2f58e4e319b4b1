//===- onnx_edit.cpp - Changing a few places of an ONNX file --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/onnx_edit.h"
#include "train/onnx_file.h"

#include <algorithm>

namespace moire::rt {

namespace {
std::string varint(uint64_t value) {
  std::string s;
  for (; value >= 128; value >>= 7)
    s += char(value | 128);
  return s + char(value);
}

/// Calls use(reader) for each field of the main graph.
template <typename Use> void eachGraphField(const MappedFile &model, Use &&use) {
  for (WireReader m({model.data(), model.size()}, model.path()); m.next();)
    if (m.field == 7 && m.type == 2)
      for (WireReader g(m.bytes, model.path()); g.next();)
        if (g.type == 2)
          use(g);
}

/// The nodes of graphs inside a node that name the value.
int64_t nestedUses(Span message, OnnxMessage kind, const std::string &path, const std::string &value) {
  int64_t uses = 0;
  for (WireReader r(message, path); r.next();) {
    const OnnxMessage child = r.type == 2 ? childOf(kind, r.field) : OnnxMessage::none;
    if (kind == OnnxMessage::node && r.field == 1)
      uses += r.bytes.str() == value;
    else if (child == OnnxMessage::attribute || child == OnnxMessage::graph || child == OnnxMessage::node)
      uses += nestedUses(r.bytes, child, path, value);
  }
  return uses;
}

/// By how much the message grows, with its messages' lengths, which go to `lengths`.
int64_t growthOf(const MappedFile &model, OnnxMessage kind, Span message, const std::vector<Edit> &edits,
                 std::vector<Edit> &lengths) {
  auto inside = [&](const unsigned char *begin, int64_t size) {
    const int64_t from = begin - model.data();
    auto less = [](const Edit &e, int64_t at) { return e.begin < at; };
    return std::pair(std::lower_bound(edits.begin(), edits.end(), from, less),
                     std::lower_bound(edits.begin(), edits.end(), from + size, less));
  };
  int64_t growth = 0;
  auto [first, last] = inside(message.data, message.size);
  for (auto e = first; e != last; ++e)
    growth += e->growth();
  if (first == last)
    return 0;
  for (WireReader r(message, model.path()); r.next();) {
    const OnnxMessage child = r.type == 2 ? childOf(kind, r.field) : OnnxMessage::none;
    if (child == OnnxMessage::none)
      continue;
    auto [begin, end] = inside(r.bytes.data, r.bytes.size);
    if (begin == end)
      continue;
    int64_t direct = 0;
    for (auto e = begin; e != end; ++e)
      direct += e->growth();
    const int64_t all = growthOf(model, child, r.bytes, edits, lengths);
    lengths.push_back({r.begin - model.data(), r.bytes.data - model.data(),
                       varint(r.field << 3 | 2) + varint(uint64_t(r.bytes.size + all))});
    growth += all - direct + lengths.back().growth();
  }
  return growth;
}
} // namespace

std::string encodeField(uint32_t number, const std::string &bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + bytes;
}
std::string encodeField(uint32_t number, uint64_t value) {
  return varint(number << 3) + varint(value);
}

ValueUses findUses(const MappedFile &model, const std::string &value) {
  ValueUses uses;
  eachGraphField(model, [&](const WireReader &g) {
    if (g.field != 1)
      return;
    const size_t first = uses.inputs.size();
    std::string type;
    int64_t index = 0;
    for (WireReader n(g.bytes, model.path()); n.next();) {
      if (n.field == 4 && n.type == 2)
        type = n.bytes.str();
      if (n.field == 5 && n.type == 2)
        uses.nested += nestedUses(n.bytes, OnnxMessage::attribute, model.path(), value);
      if (n.field != 1 || n.type != 2)
        continue;
      if (n.bytes.str() == value)
        uses.inputs.push_back({"", index, n.begin - model.data(),
                               n.bytes.data + n.bytes.size - model.data()});
      ++index;
    }
    for (size_t i = first; i < uses.inputs.size(); ++i)
      uses.inputs[i].node = type;
  });
  return uses;
}

std::map<std::string, InitializerField> findInitializers(const MappedFile &model) {
  std::map<std::string, InitializerField> found;
  eachGraphField(model, [&](const WireReader &g) {
    if (g.field != 5)
      return;
    TensorView place = parsePlace(g.bytes, model.path());
    const std::string name = place.name;
    found.emplace(name, InitializerField{g.begin - model.data(), std::move(place)});
  });
  return found;
}

std::set<std::string> namesOfValues(const MappedFile &model) {
  std::set<std::string> names;
  eachGraphField(model, [&](const WireReader &g) {
    const bool isNode = g.field == 1, isValue = g.field >= 11 && g.field <= 13;
    if (g.field == 5)
      names.insert(parsePlace(g.bytes, model.path()).name);
    if (isNode || isValue)
      for (WireReader n(g.bytes, model.path()); n.next();)
        if (n.type == 2 && (n.field == 1 || (isNode && n.field == 2)))
          names.insert(n.bytes.str());
  });
  return names;
}

void fixLengths(const MappedFile &model, std::vector<Edit> &edits) {
  auto before = [](const Edit &a, const Edit &b) { return a.begin < b.begin; };
  std::stable_sort(edits.begin(), edits.end(), before);
  std::vector<Edit> lengths;
  growthOf(model, OnnxMessage::model, {model.data(), model.size()}, edits, lengths);
  edits.insert(edits.end(), lengths.begin(), lengths.end());
  std::stable_sort(edits.begin(), edits.end(), before);
}

int64_t moved(const std::vector<Edit> &edits, int64_t offset) {
  int64_t to = offset;
  for (const Edit &e : edits)
    if (e.begin <= offset)
      to += e.growth();
  return to;
}

} // namespace moire::rt
