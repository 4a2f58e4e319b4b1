//===- ImportNodes.cpp - Initializers, nodes and functions become ops ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Importer.h"
#include "Types.h"

using namespace mlir;
using namespace moire;
using namespace moire::frontend;

// A function that calls functions that call functions may multiply; no real
// graph is near this (Qwen3-30B as a loop over experts has 0.3 million).
static constexpr int64_t maxNodes = 20'000'000;
static constexpr unsigned maxCallDepth = 64;

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

LogicalResult Importer::define(StringRef name, Value value, Scope &scope) {
  if (name.empty())
    return fail("has a graph input, initializer or constant without a name");
  if (!scope.values.try_emplace(name, value).second)
    return fail("'" + Twine(name) + "' is defined twice; the graph must be in single-assignment form");
  return success();
}

FailureOr<Value> Importer::lookUp(StringRef name, Scope &scope, StringRef user) {
  for (Scope *s = &scope; s; s = s->parent)
    if (auto found = s->values.find(name); found != s->values.end())
      return found->second;
  return fail(Twine(user) + " reads '" + name +
              "', which no input, initializer or earlier node defines");
}

Value Importer::getAbsent(Location location) {
  return builder.create<onnx::AbsentOp>(location, builder.getNoneType());
}

Location Importer::getLocation(const pb::NodeProto &node, const Body &body) {
  std::string name = getNodeLabel(node);
  if (!body.location.empty())
    name = body.location + "/" + name;
  return NameLoc::get(builder.getStringAttr(name));
}

//===----------------------------------------------------------------------===//
// Initializers
//===----------------------------------------------------------------------===//

LogicalResult Importer::addInitializer(const ImportedTensor &tensor, StringRef name, Scope &scope,
                                       Location location, bool fromNode) {
  OperationState state(location, onnx::InitializerOp::getOperationName());
  state.addTypes(tensor.type);
  if (!tensor.value && !tensor.external) {
    // Strings and the like: a node that the model phase refuses if it is used.
    state = OperationState(location, onnx::NodeOp::getOperationName());
    state.addTypes(tensor.type);
    state.addAttribute("op_type", builder.getStringAttr("Constant"));
    return define(name, builder.create(state)->getResult(0), scope);
  }
  state.addAttribute("name", builder.getStringAttr(name));
  if (tensor.external)
    state.addAttribute("external", tensor.external);
  if (fromNode)
    state.addAttribute("from_node", builder.getUnitAttr());
  if (tensor.value)
    state.addAttribute("value", tensor.value);
  if (auto info = valueInfos.find(name); info != valueInfos.end()) {
    const auto &properties = info->second->metadata_props();
    StringRef kind = findProperty(properties, "pkg.torch.export.graph_signature.InputSpec.kind");
    if (!kind.empty())
      state.addAttribute("kind", builder.getStringAttr(kind));
    if (StringRef original = findProperty(properties, "pkg.torch.onnx.original_node_name");
        !original.empty())
      state.addAttribute("original", builder.getStringAttr(original));
    std::vector<std::string> folded =
        parsePythonList(findProperty(properties, "pkg.onnxscript.optimizer.folded_from"));
    SmallVector<StringRef> names(folded.begin(), folded.end());
    if (!names.empty())
      state.addAttribute("folded_from", builder.getStrArrayAttr(names));
  }
  return define(name, builder.create(state)->getResult(0), scope);
}

bool Importer::isParameter(StringRef name) {
  auto info = valueInfos.find(name);
  if (info == valueInfos.end())
    return false;
  const auto &properties = info->second->metadata_props();
  return findProperty(properties, "pkg.torch.export.graph_signature.InputSpec.kind") ==
             "PARAMETER" ||
         llvm::any_of(
             parsePythonList(findProperty(properties, "pkg.onnxscript.optimizer.folded_from")),
             [&](const std::string &from) { return parameters.contains(from); });
}

LogicalResult Importer::importInitializer(const pb::TensorProto &tensor, StringRef name,
                                          Scope &scope) {
  std::string error;
  std::optional<ImportedTensor> imported = tensors.import(tensor, error, !isParameter(name));
  if (!imported)
    return fail("tensor '" + Twine(name) + "' " + error);
  return addInitializer(*imported, name, scope, NameLoc::get(builder.getStringAttr(name)));
}

int Importer::importAsInitializer(const pb::NodeProto &node, Scope &scope, Body &body) {
  if (node.output_size() != 1 || getDomainKey(node.domain()) != "ai.onnx")
    return 0;
  Location location = getLocation(node, body);

  // The TorchScript exporter writes merged equal weights as copies of one.
  if (node.op_type() == "Identity" && node.input_size() == 1) {
    Scope *s = &scope;
    while (s && !s->values.count(node.input(0)))
      s = s->parent;
    auto source = s ? s->values[node.input(0)].getDefiningOp<onnx::InitializerOp>()
                    : onnx::InitializerOp();
    if (!source)
      return 0;
    ImportedTensor copy{cast<RankedTensorType>(source.getType()), source.getExternalAttr(),
                        dyn_cast_or_null<DenseElementsAttr>(source.getValueAttr())};
    return succeeded(addInitializer(copy, node.output(0), scope, location, source.getFromNode()))
               ? 1
               : -1;
  }

  if (node.op_type() != "Constant" || node.attribute_size() != 1)
    return 0;
  const pb::AttributeProto *attribute = resolve(node.attribute(0), body);
  if (!attribute)
    return 0;
  StringRef kind = node.attribute(0).name();
  std::string error;
  std::optional<ImportedTensor> tensor;
  if (kind == "value" && attribute->has_t()) {
    tensor = tensors.import(attribute->t(), error);
  } else if (kind == "sparse_value" && attribute->has_sparse_tensor()) {
    tensor = tensors.import(attribute->sparse_tensor(), error);
  } else {
    // value_float, value_floats, value_int, value_ints.
    bool isList = kind.ends_with("s");
    auto make = [&](auto values, Type element) {
      SmallVector<int64_t, 1> shape;
      if (isList)
        shape.push_back(values.size());
      auto type = RankedTensorType::get(shape, element);
      tensor = ImportedTensor{type, {}, DenseElementsAttr::get(type, values)};
    };
    if (kind == "value_int")
      make(ArrayRef<int64_t>{attribute->i()}, builder.getI64Type());
    else if (kind == "value_ints")
      make(ArrayRef<int64_t>(attribute->ints().data(), attribute->ints_size()),
           builder.getI64Type());
    else if (kind == "value_float")
      make(ArrayRef<float>{attribute->f()}, builder.getF32Type());
    else if (kind == "value_floats")
      make(ArrayRef<float>(attribute->floats().data(), attribute->floats_size()),
           builder.getF32Type());
    else
      return 0;
  }
  if (!tensor)
    return (void)fail("tensor '" + Twine(node.output(0)) + "' " + error), -1;
  return succeeded(addInitializer(*tensor, node.output(0), scope, location, true)) ? 1 : -1;
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

/// An attribute itself, or the caller's that it refers to; null where the call
/// leaves it out.
const pb::AttributeProto *Importer::resolve(const pb::AttributeProto &attribute, Body &body) {
  if (attribute.ref_attr_name().empty())
    return &attribute;
  return body.arguments.lookup(attribute.ref_attr_name());
}

LogicalResult Importer::importAttribute(const pb::AttributeProto &attribute, StringRef name,
                                        StringRef nodeName, Attribute &result) {
  using A = pb::AttributeProto;
  // Files before IR 2 leave the type out; the filled field tells it.
  A::AttributeType type = attribute.type();
  if (type == A::UNDEFINED)
    type = attribute.has_f()               ? A::FLOAT
           : attribute.has_i()             ? A::INT
           : attribute.has_s()             ? A::STRING
           : attribute.has_t()             ? A::TENSOR
           : attribute.has_g()             ? A::GRAPH
           : attribute.floats_size()       ? A::FLOATS
           : attribute.ints_size()         ? A::INTS
           : attribute.strings_size()      ? A::STRINGS
                                           : A::UNDEFINED;
  switch (type) {
  case A::FLOAT:
    result = builder.getF32FloatAttr(attribute.f());
    return success();
  case A::INT:
    result = builder.getI64IntegerAttr(attribute.i());
    return success();
  case A::STRING:
    result = builder.getStringAttr(attribute.s());
    return success();
  case A::FLOATS:
    result = builder.getDenseF32ArrayAttr({attribute.floats().data(),
                                           static_cast<size_t>(attribute.floats_size())});
    return success();
  case A::INTS:
    result = builder.getDenseI64ArrayAttr({attribute.ints().data(),
                                           static_cast<size_t>(attribute.ints_size())});
    return success();
  case A::STRINGS: {
    SmallVector<StringRef> strings(attribute.strings().begin(), attribute.strings().end());
    result = builder.getStrArrayAttr(strings);
    return success();
  }
  case A::TYPE_PROTO:
    result = TypeAttr::get(convertType(attribute.tp(), context));
    return success();
  case A::TENSOR:
  case A::SPARSE_TENSOR: {
    std::string error;
    std::optional<ImportedTensor> tensor = type == A::TENSOR
                                               ? tensors.import(attribute.t(), error)
                                               : tensors.import(attribute.sparse_tensor(), error);
    if (!tensor)
      return fail("attribute '" + Twine(name) + "' of node '" + nodeName + "' " + error);
    if (tensor->value)
      result = tensor->value;
    else if (tensor->external)
      result = tensor->external;
    else
      result = TypeAttr::get(tensor->type);
    return success();
  }
  default:
    // Lists of tensors and of types: no op that trains has one. Kept by name,
    // so that the model phase can name what it refuses.
    result = builder.getUnitAttr();
    return success();
  }
}

void Importer::addHints(const pb::NodeProto &node, const Body &body, NamedAttrList &attributes) {
  NodeHints hints = getNodeHints(node);
  if (!body.module.empty())
    hints.module = body.module + (hints.module.empty() ? "" : "." + hints.module);
  for (auto [name, text] : {std::pair{"module", &hints.module},
                            {"module_class", &hints.moduleClass},
                            {"fx_node", &hints.fxNode},
                            {"source_line", &hints.sourceLine}})
    if (!text->empty())
      attributes.set(name, builder.getStringAttr(*text));
}

LogicalResult Importer::importSubgraph(const pb::GraphProto &graph, Region &region, Scope &scope,
                                       Body &body) {
  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&region);
  Scope inner;
  inner.parent = &scope;
  llvm::StringSet<> initialized;
  for (const pb::TensorProto &tensor : graph.initializer())
    initialized.insert(tensor.name());
  for (const pb::ValueInfoProto &input : graph.input()) {
    if (initialized.contains(input.name()))
      continue;
    Value argument = block->addArgument(convertType(input.type(), context), builder.getUnknownLoc());
    if (failed(define(input.name(), argument, inner)))
      return failure();
  }
  if (failed(importGraphBody(graph, inner, body)))
    return failure();
  SmallVector<Value> outputs;
  for (const pb::ValueInfoProto &output : graph.output()) {
    FailureOr<Value> value = lookUp(output.name(), inner, "subgraph '" + graph.name() + "'");
    if (failed(value))
      return failure();
    outputs.push_back(*value);
  }
  builder.create<onnx::YieldOp>(builder.getUnknownLoc(), outputs);
  return success();
}

LogicalResult Importer::importNode(const pb::NodeProto &node, Scope &scope, Body &body) {
  StringRef domain = getDomainKey(node.domain());
  std::string name = node.name().empty() && node.output_size() ? node.output(0) : node.name();
  if (node.op_type().empty())
    return fail("node '" + Twine(name) + "' has no op type");
  if (++nodeCount > maxNodes)
    return fail("unfolds to more than " + Twine(maxNodes) + " nodes");
  if (!functions.empty())
    if (const pb::FunctionProto *function = functions.lookup(
            domain.str() + "::" + node.op_type() + "::" + node.overload()))
      return importCall(node, *function, scope, body);
  if (int done = importAsInitializer(node, scope, body))
    return success(done > 0);

  // 1. Name, domain and version.
  Location location = getLocation(node, body);
  OperationState state(location, onnx::NodeOp::getOperationName());
  state.addAttribute("op_type", builder.getStringAttr(node.op_type()));
  if (domain != "ai.onnx")
    state.addAttribute("domain", builder.getStringAttr(domain));
  auto version = body.opsets.find(domain);
  if (version == body.opsets.end() && domain == "ai.onnx")
    return fail("node '" + Twine(name) + "' is of ai.onnx, but the file names no opset for it");
  if (version != body.opsets.end() && mainBody.opsets.lookup(domain) != version->second)
    state.addAttribute("opset", builder.getI64IntegerAttr(version->second));

  // 2. Operands.
  for (const std::string &input : node.input()) {
    FailureOr<Value> value = input.empty() ? FailureOr<Value>(getAbsent(location))
                                           : lookUp(input, scope, "node '" + name + "'");
    if (failed(value))
      return failure();
    state.addOperands(*value);
  }

  // 3. Attributes; graphs are regions.
  NamedAttrList attributes;
  SmallVector<StringRef> graphNames;
  SmallVector<const pb::GraphProto *> graphs;
  for (const pb::AttributeProto &given : node.attribute()) {
    const pb::AttributeProto *attribute = resolve(given, body);
    if (!attribute)
      continue;
    if (given.name().empty())
      return fail("node '" + Twine(name) + "' has an attribute without a name");
    if (attribute->has_g() || attribute->graphs_size()) {
      if (attribute->has_g()) {
        graphNames.push_back(given.name());
        graphs.push_back(&attribute->g());
      }
      for (const pb::GraphProto &graph : attribute->graphs()) {
        graphNames.push_back(given.name());
        graphs.push_back(&graph);
      }
      continue;
    }
    Attribute value;
    if (failed(importAttribute(*attribute, given.name(), name, value)))
      return failure();
    attributes.set(given.name(), value);
  }
  if (!attributes.empty())
    state.addAttribute("onnx_attributes", attributes.getDictionary(context));
  if (!graphNames.empty())
    state.addAttribute("graph_names", builder.getStrArrayAttr(graphNames));
  NamedAttrList hints;
  addHints(node, body, hints);
  state.addAttributes(hints);

  // 4. Results.
  for (const std::string &output : node.output()) {
    const pb::TypeProto *type = scope.types.lookup(output);
    state.addTypes(output.empty() ? Type(builder.getNoneType())
                   : type         ? convertType(*type, context)
                                  : Type(onnx::OpaqueType::get(context, "?")));
  }
  for (size_t i = 0; i < graphs.size(); ++i)
    state.addRegion();
  Operation *op = builder.create(state);
  for (auto [graph, region] : llvm::zip(graphs, op->getRegions()))
    if (failed(importSubgraph(*graph, region, scope, body)))
      return failure();
  for (auto [output, result] : llvm::zip(node.output(), op->getResults()))
    if (!output.empty() && failed(define(output, result, scope)))
      return failure();
  return success();
}

/// Inlines a call: the body's names are its own, its attributes come from the
/// call or from the function's defaults.
LogicalResult Importer::importCall(const pb::NodeProto &node, const pb::FunctionProto &function,
                                   Scope &scope, Body &body) {
  if (body.depth == maxCallDepth)
    return fail("function '" + Twine(function.name()) + "' is nested more than " +
                Twine(maxCallDepth) + " calls deep; functions must not be recursive");
  Scope inner;
  Body innerBody;
  innerBody.depth = body.depth + 1;
  Location location = getLocation(node, body);
  innerBody.location = cast<NameLoc>(location).getName().str();
  innerBody.module = body.module + (body.module.empty() ? "" : ".") + function.name();
  for (const pb::OperatorSetIdProto &opset : function.opset_import())
    innerBody.opsets[getDomainKey(opset.domain())] = opset.version();
  for (const pb::AttributeProto &attribute : function.attribute_proto())
    innerBody.arguments[attribute.name()] = &attribute;
  for (const pb::AttributeProto &attribute : node.attribute())
    if (const pb::AttributeProto *value = resolve(attribute, body))
      innerBody.arguments[attribute.name()] = value;
  for (const pb::ValueInfoProto &value : function.value_info())
    inner.types[value.name()] = &value.type();

  if (node.input_size() > function.input_size() || node.output_size() > function.output_size())
    return fail("node '" + Twine(node.name()) + "' calls '" + function.name() + "' with " +
                Twine(node.input_size()) + " inputs and " + Twine(node.output_size()) +
                " outputs, but it has " + Twine(function.input_size()) + " and " +
                Twine(function.output_size()));
  for (int i = 0; i < function.input_size(); ++i) {
    bool given = i < node.input_size() && !node.input(i).empty();
    FailureOr<Value> value = given ? lookUp(node.input(i), scope, "node '" + node.name() + "'")
                                   : FailureOr<Value>(getAbsent(location));
    if (failed(value) || failed(define(function.input(i), *value, inner)))
      return failure();
  }
  for (const pb::NodeProto &child : function.node())
    if (failed(importNode(child, inner, innerBody)))
      return failure();
  for (int i = 0; i < node.output_size(); ++i) {
    if (node.output(i).empty())
      continue;
    FailureOr<Value> value =
        lookUp(function.output(i), inner, "function '" + function.name() + "'");
    if (failed(value) || failed(define(node.output(i), *value, scope)))
      return failure();
  }
  return success();
}

LogicalResult Importer::importGraphBody(const pb::GraphProto &graph, Scope &scope, Body &body) {
  for (const pb::ValueInfoProto &value : graph.value_info())
    scope.types[value.name()] = &value.type();
  for (const pb::ValueInfoProto &value : graph.output())
    if (value.has_type())
      scope.types[value.name()] = &value.type();
  for (const pb::TensorProto &tensor : graph.initializer())
    if (failed(importInitializer(tensor, tensor.name(), scope)))
      return failure();
  for (const pb::SparseTensorProto &tensor : graph.sparse_initializer()) {
    std::string error;
    StringRef name = tensor.values().name();
    std::optional<ImportedTensor> imported = tensors.import(tensor, error);
    if (!imported)
      return fail("tensor '" + Twine(name) + "' " + error);
    if (failed(addInitializer(*imported, name, scope, NameLoc::get(builder.getStringAttr(name)))))
      return failure();
  }
  for (const pb::NodeProto &node : graph.node())
    if (failed(importNode(node, scope, body)))
      return failure();
  return success();
}
