//===- Parameters.cpp - The parameter table: questions and printing ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Frontend/Parameters.h"
#include "dialects/pipe/UpdateGroups.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Regex.h"
#include <numeric>

using namespace llvm;
using namespace mlir;
using namespace moire::frontend;

const ParameterUse *ParameterTable::lookup(OpOperand &operand) const {
  auto found = uses.find(&operand);
  return found == uses.end() ? nullptr : &found->second;
}

int64_t ParameterTable::freeze(StringRef pattern, std::string &error) {
  Regex regex(pattern);
  if (!regex.isValid(error))
    return -1;
  int64_t count = 0;
  for (Parameter &parameter : parameters) {
    if (parameter.frozen || !(regex.match(parameter.symbol) || regex.match(parameter.torchName)))
      continue;
    parameter.frozen = true;
    parameter.reason = ("matches --freeze " + pattern).str();
    ++count;
  }
  return count;
}

std::string ParameterTable::group(StringRef text) {
  moire::pipe::UpdateGroups groups;
  if (std::string error = groups.parse(text); !error.empty())
    return error;
  for (Parameter &parameter : parameters)
    if (!parameter.frozen)
      parameter.group =
          groups.match(parameter.torchName.empty() ? parameter.symbol : parameter.torchName);
  return groups.unmatched();
}

std::string ParameterTable::getSharedPrefix() const {
  std::optional<StringRef> prefix;
  unsigned named = 0;
  for (const Parameter &parameter : parameters)
    for (StringRef name : {StringRef(parameter.torchName), StringRef(parameter.tiedName)}) {
      if (name.empty())
        continue;
      StringRef first = name.substr(0, name.contains('.') ? name.find('.') + 1 : 0);
      if (prefix && *prefix != first)
        return {};
      prefix = first;
      ++named;
    }
  return named > 1 ? prefix->str() : std::string();
}

/// "model.onnx.data:4096 val_101 (transpose_last2)"
static std::string describe(const ParameterSource &source) {
  std::string text = source.initializer;
  if (source.transform != Transform::same) {
    text += (" (" + moire::pipe::stringifyTransform(source.transform)).str();
    if (source.transform == Transform::slice || source.transform == Transform::slice_transpose)
      text += " " + std::to_string(source.index);
    text += ")";
  }
  return text;
}

void ParameterTable::print(raw_ostream &os) const {
  // 1. Cells. Slices are many and alike: the first and the last stand for them.
  std::vector<std::array<std::string, 5>> rows = {{"name", "shape", "trained", "from", "why"}};
  for (const Parameter &parameter : parameters) {
    std::string shape;
    raw_string_ostream stream(shape);
    interleave(parameter.shape, stream, "x");
    stream << (parameter.shape.empty() ? "" : "x") << parameter.elementType;
    const std::string trained = parameter.frozen          ? "no"
                                : parameter.group.empty() ? "yes"
                                                          : "in group " + parameter.group;
    rows.push_back({parameter.symbol, shape, trained, describe(parameter.sources[0]),
                    parameter.reason});
    ArrayRef<ParameterSource> more = ArrayRef(parameter.sources).drop_front();
    if (more.size() > 2) {
      rows.push_back({"", "", "", "… " + std::to_string(more.size() - 1) + " more", ""});
      more = more.take_back();
    }
    for (const ParameterSource &source : more)
      rows.push_back({"", "", "", describe(source), ""});
  }

  // 2. Columns as wide as their widest cell.
  size_t widths[5] = {};
  auto width = [](StringRef cell) { // code points
    return static_cast<size_t>(llvm::count_if(cell, [](char c) { return (c & 0xc0) != 0x80; }));
  };
  for (const auto &row : rows)
    for (unsigned i = 0; i < 5; ++i)
      widths[i] = std::max(widths[i], width(row[i]));
  for (const auto &row : rows) {
    std::string line;
    for (unsigned i = 0; i < 5; ++i)
      line += row[i] + std::string(widths[i] - width(row[i]) + 2, ' ');
    os << StringRef(line).rtrim() << "\n";
  }

  // 3. The sum.
  int64_t trained = 0, elements = 0;
  for (const Parameter &parameter : parameters)
    if (!parameter.frozen) {
      ++trained;
      elements += std::accumulate(parameter.shape.begin(), parameter.shape.end(), int64_t(1),
                                  std::multiplies<int64_t>());
    }
  os << trained << " parameters with " << elements << " elements are trained, "
     << parameters.size() - trained << " tensors are not\n";
  for (const std::string &warning : warnings)
    os << "warning: " << warning << "\n";
}
