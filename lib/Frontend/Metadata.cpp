//===- Metadata.cpp - What PyTorch's exporters say about nodes and values -===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Metadata.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;
using namespace moire::frontend;

StringRef moire::frontend::findProperty(const Properties &properties, StringRef key) {
  for (const auto &property : properties)
    if (property.key() == key)
      return property.value();
  return {};
}

std::vector<std::string> moire::frontend::parsePythonList(StringRef text) {
  std::vector<std::string> strings;
  if (!text.consume_front("["))
    return strings;
  while (!(text = text.ltrim(" ,")).empty() && text[0] != ']') {
    char quote = text[0];
    if (quote != '\'' && quote != '"')
      return {};
    std::string value;
    size_t i = 1;
    for (; i < text.size() && text[i] != quote; ++i) {
      if (text[i] == '\\' && i + 1 < text.size())
        ++i;
      value.push_back(text[i]);
    }
    if (i >= text.size())
      return {};
    strings.push_back(std::move(value));
    text = text.substr(i + 1);
  }
  return strings;
}

/// The TorchScript exporter's node name holds the module's path: a module in a
/// container repeats the container's name.
///     /m/l1/d/d.0/Conv  ~~>  m.l1.d.0        /m/layers.0/mlp/MatMul_1  ~~>  m.layers.0.mlp
static std::string getModuleOfScopedName(StringRef name) {
  if (!name.consume_front("/"))
    return {};
  SmallVector<StringRef> parts;
  name.split(parts, '/');
  std::string path;
  StringRef last;
  for (StringRef part : ArrayRef(parts).drop_back()) {
    StringRef rest = part;
    if (!last.empty() && rest.consume_front(last) && rest.starts_with("."))
      path += rest;
    else
      path += (path.empty() ? "" : ".") + part.str();
    last = part;
  }
  return path;
}

/// "%y : [num_users=1] = call_function[target=torch.ops.aten.mul.Tensor](args = (%a, %b),
/// kwargs = {})"  ~~>  "%y = aten.mul.Tensor(%a, %b)"
static std::string shortenFxNode(StringRef text) {
  auto [result, rest] = text.split(" :");
  StringRef target = rest.split("[target=").second;
  auto [callee, call] = target.split("](args = (");
  callee.consume_front("torch.ops.");
  size_t end = call.rfind("), kwargs = ");
  if (callee.empty() || call.empty() || end == StringRef::npos)
    return text.str();
  StringRef keywords = call.substr(end).split("{").second;
  keywords = keywords.substr(0, keywords.rfind('}'));
  std::string shortened = (result + " = " + callee + "(" + call.substr(0, end).rtrim(",")).str();
  if (!keywords.empty())
    shortened += ("; " + keywords).str();
  return shortened + ")";
}

/// "File "x/y.py", line 3, in f\n    code"  ~~>  "x/y.py:3: code"
static std::string shortenFrame(StringRef text) {
  if (!text.consume_front("File \""))
    return {};
  auto [file, rest] = text.split("\", line ");
  auto [head, code] = rest.split('\n');
  StringRef line = head.take_while(isDigit);
  code = code.split('\n').first.trim();
  return (file + ":" + line + (code.empty() ? "" : ": ") + code).str();
}

NodeHints moire::frontend::getNodeHints(const pb::NodeProto &node) {
  NodeHints hints;
  for (const auto &property : node.metadata_props()) {
    StringRef key = property.key();
    if (key == "pkg.torch.onnx.name_scopes") {
      std::vector<std::string> scopes = parsePythonList(property.value());
      if (scopes.size() >= 2)
        hints.module = scopes[scopes.size() - 2];
    } else if (key == "pkg.torch.onnx.class_hierarchy") {
      std::vector<std::string> classes = parsePythonList(property.value());
      if (classes.size() >= 2)
        hints.moduleClass = classes[classes.size() - 2];
      // The class alone, without its Python package.
      hints.moduleClass.erase(0, hints.moduleClass.rfind('.') + 1);
    } else if (key == "pkg.torch.onnx.fx_node") {
      hints.fxNode = shortenFxNode(property.value());
    } else if (key == "pkg.torch.onnx.stack_trace") {
      hints.sourceLine = shortenFrame(property.value());
    }
  }
  if (hints.module.empty())
    hints.module = getModuleOfScopedName(node.name());
  // What no module of the model made.
  if (StringRef(hints.module).starts_with("_empty_nn_module_stack")) {
    hints.module.clear();
    hints.moduleClass.clear();
  } else if (StringRef(hints.moduleClass).starts_with("_empty_nn_module_stack")) {
    hints.moduleClass.clear();
  }
  return hints;
}

std::string moire::frontend::getNodeLabel(const pb::NodeProto &node) {
  std::string name = node.name();
  if (name.empty()) // the module and the first output tell more than the op type
    name = findProperty(node.metadata_props(), "namespace").str();
  if (name.empty())
    name = node.op_type() + (node.output_size() ? "(" + node.output(0) + ")" : "");
  return name;
}

mlir::ArrayAttr moire::frontend::parseSignature(StringRef text, mlir::MLIRContext *context) {
  mlir::Builder b(context);
  SmallVector<mlir::Attribute> entries;
  text = text.split("# outputs").first;
  while (!text.empty()) {
    StringRef line;
    std::tie(line, text) = text.split('\n');
    auto [name, rest] = line.trim().split(": ");
    auto [kind, options] = rest.split(' ');
    if (kind == "BUFFER" && options.contains("persistent=False"))
      kind = "UNSAVED_BUFFER";
    if (kind.empty() || name.empty() || name.starts_with("#"))
      continue;
    StringRef target = options.split("target='").second.split('\'').first;
    entries.push_back(b.getStrArrayAttr({name, kind, target}));
  }
  return entries.empty() ? mlir::ArrayAttr() : b.getArrayAttr(entries);
}
