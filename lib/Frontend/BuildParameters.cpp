//===- BuildParameters.cpp - Initializers become parameters --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TableBuilder.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "moire/Support/Recipes.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace moire;
using namespace moire::frontend;

TableBuilder::TableBuilder(ModuleOp module)
    : module(module), signature(module),
      bytes(module->getAttrOfType<StringAttr>("moire.model_path")
                ? module->getAttrOfType<StringAttr>("moire.model_path").getValue()
                : ""),
      paths(module) {}

void TableBuilder::collect() {
  module.walk<WalkOrder::PreOrder>([&](onnx::InitializerOp op) {
    hasMetadata |= op.getKind() || op.getFoldedFrom();
    if (!isa<FloatType>(op.getType().getElementType()))
      return;
    // A scalar is a parameter only where PyTorch says so.
    bool told = op.getKind() == "PARAMETER" ||
                (op.getFoldedFrom() &&
                 llvm::any_of(op.getFoldedFromAttr().getAsValueRange<StringAttr>(),
                              [](StringRef name) { return name.contains('.'); }));
    if (!told && (op.getType().getRank() == 0 || op.getType().getNumElements() < 2))
      return;
    Weight weight;
    weight.op = op;
    weight.symbol = op.getName().str();
    weight.shape.assign(op.getType().getShape().begin(), op.getType().getShape().end());
    weights.push_back(std::move(weight));
  });
}

//===----------------------------------------------------------------------===//
// Parameter, buffer or constant
//===----------------------------------------------------------------------===//

void TableBuilder::classify(Weight &weight) {
  onnx::InitializerOp op = weight.op;
  if (op.getKind()) {
    const Signature::Entry *entry =
        op.getOriginal() ? signature.findPlaceholder(*op.getOriginal()) : nullptr;
    weight.torchName = weight.symbol = (entry ? entry->target : op.getName()).str();
    weight.trained = *op.getKind() == "PARAMETER";
    weight.reason = weight.trained ? "PyTorch parameter" : "PyTorch " + op.getKind()->lower();
    return;
  }
  if (op.getFoldedFrom()) {
    SmallVector<StringRef> parameters, buffers;
    for (StringRef name : op.getFoldedFromAttr().getAsValueRange<StringAttr>()) {
      const Signature::Entry *entry = signature.findTarget(name);
      // Without the signature a name with a module's path must be one of the two.
      if (entry ? entry->isParameter()
                : signature.empty() && name.contains('.') && !isBufferName(name))
        parameters.push_back(name);
      else if (entry ? entry->isBuffer() : signature.empty() && isBufferName(name))
        buffers.push_back(name);
    }
    if (parameters.size() == 1 && buffers.empty()) {
      weight.trained = true;
      weight.torchName = weight.symbol = parameters[0].str();
      weight.reason = "PyTorch parameter, folded";
    } else if (!parameters.empty()) {
      weight.trained = true;
      weight.reason = ("folded from " + parameters[0] + " and " +
                       (parameters.size() > 1 ? parameters[1] : buffers[0]))
                          .str();
      warn("'" + op.getName() + "' was computed from several tensors of the model (" +
           weight.reason + ") and is trained as it is" + recipe("names"));
    } else {
      weight.reason = buffers.empty() ? "computed from constants" : "PyTorch buffer, folded";
    }
    return;
  }
  if (const Signature::Entry *entry = signature.findTarget(op.getName())) {
    weight.torchName = weight.symbol = entry->target.str();
    weight.trained = entry->isParameter();
    weight.reason = weight.trained ? "PyTorch parameter" : "PyTorch buffer";
    return;
  }
  if (hasMetadata) {
    // The exporter made it without a note, as it does for constants of the
    // program and for what its fusions compute (a folded batch norm's bias).
    weight.trained = !op.getFromNode() && op.getType().getRank() >= 1 &&
                     llvm::any_of(op->getUses(), isWeightOperand);
    weight.reason = weight.trained ? "a layer's weight that the exporter computed"
                                   : "constant of the program";
    return;
  }
  classifyByGraph(weight);
}

void TableBuilder::classifyByGraph(Weight &weight) {
  onnx::InitializerOp op = weight.op;
  if (op.getFromNode())
    weight.reason = "value of a Constant node";
  else if (op->use_empty())
    weight.reason = "not used";
  else if (llvm::all_of(op->getUses(), isStatistic))
    weight.reason = "running statistic of BatchNormalization";
  else if (isBufferName(op.getName()))
    weight.reason = "named like a buffer";
  else if (llvm::none_of(op->getUses(), [&](OpOperand &use) { return paths.reaches(use); }))
    weight.reason = "no gradient: nothing differentiable leads to an output";
  else if (isRotaryFrequencies(op))
    weight.reason = "rotary frequencies: leads to sines and cosines only";
  else if (!llvm::any_of(op->getUses(), isWeightOperand) && isMask(op, bytes))
    weight.reason = "a mask by its values";
  else if (isPositionTable(op, bytes))
    weight.reason = "a table of sines and cosines by its values";
  else {
    weight.trained = true;
    weight.reason = "float initializer on a differentiable path";
    if (!isMadeUp(op.getName()))
      weight.torchName = op.getName().str();
  }
}

//===----------------------------------------------------------------------===//
// What it was made of
//===----------------------------------------------------------------------===//

void TableBuilder::fold(Weight &weight) {
  onnx::InitializerOp op = weight.op;
  if (!weight.trained || op.getKind())
    return;
  if (!op.getFoldedFrom()) {
    if (!hasMetadata && weight.torchName.empty())
      nameByUse(weight);
    return;
  }
  if (weight.torchName.empty())
    return;
  Folding folding = inferFolding(op, signature);
  switch (folding.kind) {
  case Folding::same:
    return;
  case Folding::transpose:
    weight.transform = Transform::transpose_last2;
    weight.reason = "PyTorch parameter, transpose folded";
    break;
  case Folding::reshape:
    weight.transform = Transform::reshape;
    weight.reason = "PyTorch parameter, reshape folded; its own shape is a guess";
    break;
  case Folding::select:
    weight.transform = Transform::slice; // stackSelections gives the index
    return;
  case Folding::expand:
  case Folding::unknown:
    warn("'" + op.getName() + "' was computed from parameter '" + weight.torchName +
         "' in a way that cannot be undone, and is trained as it is" + recipe("names"));
    weight.reason = "computed from PyTorch parameter " + weight.torchName;
    weight.torchName.clear();
    weight.symbol = op.getName().str();
    return;
  }
  weight.shape = folding.shape;
}

/// A legacy export's weight under a made-up name.
void TableBuilder::nameByUse(Weight &weight) {
  onnx::InitializerOp op = weight.op;
  std::string name;
  for (OpOperand &use : op->getUses()) {
    std::string byUse = nameByModule(use);
    auto node = dyn_cast<onnx::NodeOp>(use.getOwner());
    // The exporter's folding writes Linear's weight transposed for MatMul.
    if (node && node.getOpType() == "MatMul" && use.getOperandNumber() == 1 &&
        op.getType().getRank() == 2 && op.getName().starts_with("onnx::MatMul_"))
      weight.transform = Transform::transpose_last2;
    name = name.empty() || name == byUse ? byUse : "?";
  }
  if (weight.transform == Transform::transpose_last2)
    std::swap(weight.shape[0], weight.shape[1]);
  if (name.empty() || name == "?" || name[0] == '.')
    return;
  weight.torchName = weight.symbol = name;
  weight.reason = "named after the module that uses it";
}

/// dynamo, tiny models: expert e's weight as "select_k", k ascending with e.
void TableBuilder::stackSelections() {
  llvm::MapVector<StringRef, SmallVector<Weight *>> groups;
  for (Weight &weight : weights)
    if (weight.trained && weight.transform == Transform::slice)
      groups[weight.torchName].push_back(&weight);
  for (auto &[name, group] : groups) {
    llvm::stable_sort(group, [](Weight *a, Weight *b) {
      return getNameNumber(a->op.getName()) < getNameNumber(b->op.getName());
    });
    for (auto [i, weight] : llvm::enumerate(group)) {
      weight->index = i;
      weight->shape.assign(weight->op.getType().getShape().begin(),
                           weight->op.getType().getShape().end());
      weight->shape.insert(weight->shape.begin(), group.size());
      weight->reason = "PyTorch parameter, selections folded in the order of their numbers";
    }
  }
}

/// TorchScript, a loop over experts: matrices W[e]^T of stacked weights, all in
/// one module, whose tokens come through NonZero. Their stack's name is lost.
void TableBuilder::stackExperts() {
  if (hasMetadata)
    return;
  llvm::StringSet<> loops;
  module.walk([&](onnx::NodeOp node) {
    if (node.getOpType() == "NonZero" && node.getModule())
      loops.insert(*node.getModule());
  });
  llvm::MapVector<StringRef, llvm::MapVector<Type, SmallVector<Weight *>>> groups;
  for (Weight &weight : weights) {
    StringRef module = weight.torchName;
    if (!weight.trained || weight.transform != Transform::transpose_last2 ||
        !module.consume_back(".weight"))
      continue;
    groups[module][weight.op.getType()].push_back(&weight);
  }
  for (auto &[moduleName, byType] : groups) {
    std::string module = moduleName.str(); // the weights' names change below
    bool isLoop = loops.contains(module);
    if (byType.size() == 1 && byType.front().second.size() == 1)
      continue; // a Linear of its own
    for (auto [number, entry] : llvm::enumerate(byType)) {
      SmallVector<Weight *> &group = entry.second;
      for (auto [i, weight] : llvm::enumerate(group)) {
        weight->torchName.clear();
        if (!isLoop || group.size() < 2) {
          weight->symbol = weight->op.getName().str();
          weight->reason =
              "one of several matrices of module " + module + ", which the file does not name";
          continue;
        }
        weight->symbol = module + ".stack_" + std::to_string(number);
        weight->reason = "experts of module " + module +
                         " in the order of the graph; the file does not name them";
        weight->transform = Transform::slice_transpose;
        weight->index = i;
        weight->shape.insert(weight->shape.begin(), group.size());
      }
    }
  }
}

//===----------------------------------------------------------------------===//
// Ties, in files that do not tell
//===----------------------------------------------------------------------===//

void TableBuilder::tie() {
  if (hasMetadata)
    return;
  // A tensor may be another's copy where it lies in the same place (the legacy
  // exporter's Identity), or has its bytes, or its transpose's. A constant
  // tensor (fresh norm weights) is equal to others by chance.
  auto follow = [&](Weight &weight, Weight &first, bool transposed) {
    if (weight.torchName != first.torchName)
      weight.tiedName = weight.torchName;
    weight.torchName = first.torchName;
    weight.symbol = first.symbol;
    weight.shape = first.shape;
    bool isTransposed = (first.transform == Transform::transpose_last2) != transposed;
    weight.transform = first.transform == Transform::slice_transpose || first.transform == Transform::slice
                           ? first.transform
                       : isTransposed ? Transform::transpose_last2
                                      : Transform::same;
    weight.index = first.index;
    weight.reason = "equal to " + first.op.getName().str() + (transposed ? " transposed" : "") +
                    " in every bit: taken for one tied parameter";
  };
  // A name from the model goes before a made-up one.
  SmallVector<Weight *> order;
  for (bool madeUp : {false, true})
    for (Weight &weight : weights)
      if (weight.trained && isMadeUp(weight.op.getName()) == madeUp)
        order.push_back(&weight);
  llvm::DenseMap<std::pair<uint64_t, uint64_t>, SmallVector<Weight *>> buckets;
  for (Weight *weight : order) {
    onnx::InitializerOp op = weight->op;
    ArrayRef<uint8_t> data = bytes.get(op);
    int64_t count = op.getType().getNumElements();
    if (data.empty() || op.getType().getRank() < 2)
      continue;
    // The first and the last element and the size: equal for a transpose.
    uint64_t width = data.size() / count, first = 0, last = 0;
    std::memcpy(&first, data.data(), std::min<uint64_t>(width, 8));
    std::memcpy(&last, data.data() + data.size() - width, std::min<uint64_t>(width, 8));
    auto &bucket = buckets[{first * 31 + last, data.size()}];
    bool constant = !bucket.empty() && bytes.isConstant(op);
    Weight *found = nullptr;
    for (Weight *other : bucket) {
      ShapedType a = op.getType(), b = other->op.getType();
      if (constant)
        break;
      if (a.getShape() == b.getShape() &&
          bytes.compare(op, other->op, false, false) == WeightBytes::Equal::yes) {
        follow(*weight, *(found = other), false);
        break;
      }
      if (a.getRank() == 2 && b.getRank() == 2 && a.getDimSize(0) == b.getDimSize(1) &&
          a.getDimSize(1) == b.getDimSize(0) &&
          bytes.compare(op, other->op, true, false) == WeightBytes::Equal::yes) {
        follow(*weight, *(found = other), true);
        break;
      }
    }
    if (!found)
      bucket.push_back(weight);
  }
}

/// Copies that the metadata calls one parameter must be equal in the file.
void TableBuilder::checkTies() {
  llvm::StringMap<Weight *> firsts;
  for (Weight &weight : weights) {
    if (!weight.trained || weight.torchName.empty() || weight.transform == Transform::slice ||
        weight.transform == Transform::slice_transpose)
      continue;
    auto [entry, isNew] = firsts.try_emplace(weight.torchName, &weight);
    if (isNew)
      continue;
    Weight &first = *entry->second;
    bool transposed = weight.transform != first.transform;
    bool comparable = weight.transform != Transform::reshape && first.transform != Transform::reshape &&
                      (!transposed || weight.op.getType().getRank() == 2);
    bool differs = weight.shape != first.shape ||
                   (comparable && bytes.compare(first.op, weight.op, transposed, true) ==
                                      WeightBytes::Equal::no);
    if (!differs)
      continue;
    warn("'" + weight.op.getName() + "' and '" + first.op.getName() + "' both stand for '" +
         weight.torchName + "', but differ in the file; they are trained apart" + recipe("names"));
    weight.torchName.clear();
    weight.symbol = weight.op.getName().str();
    weight.reason = "differs from " + first.op.getName().str() + ", which has the same PyTorch name";
  }
}

ParameterTable TableBuilder::build() {
  collect();
  for (Weight &weight : weights)
    classify(weight);
  // A file that keeps all weights in Constant nodes (JAX and TensorFlow exports).
  if (!hasMetadata && llvm::none_of(weights, [](Weight &weight) { return weight.trained; })) {
    bool any = false;
    for (Weight &weight : weights)
      if (weight.op.getFromNode() && llvm::any_of(weight.op->getUses(), isWeightOperand)) {
        any = weight.trained = true;
        weight.reason = "a layer's weight in a Constant node";
      }
    if (any)
      warn("the file has no weights but in Constant nodes; those that layers use are trained");
  }
  for (Weight &weight : weights)
    fold(weight);
  stackSelections();
  stackExperts();
  tie();
  checkTies();
  for (Weight &weight : weights)
    if (!weight.torchName.empty())
      present.insert(weight.torchName);
  for (Weight &weight : weights)
    byOp[weight.op] = &weight;
  for (Weight &weight : weights)
    assign(weight);
  sort();
  nameTies();
  findSaved();
  listMerged();
  return std::move(table);
}

ParameterTable moire::frontend::buildParameterTable(ModuleOp module) {
  return TableBuilder(module).build();
}
