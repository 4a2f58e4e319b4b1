//===- AssignParameters.cpp - Each use gets a parameter ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TableBuilder.h"

using namespace mlir;
using namespace moire;
using namespace moire::frontend;

unsigned TableBuilder::getParameter(Weight &weight, StringRef symbol, StringRef torchName, bool frozen,
                               StringRef reason) {
  auto [entry, isNew] = bySymbol.try_emplace(symbol, table.parameters.size());
  if (isNew) {
    Parameter parameter;
    parameter.symbol = symbol.str();
    parameter.torchName = torchName.str();
    parameter.shape = weight.shape;
    parameter.elementType = weight.op.getType().getElementType();
    parameter.frozen = frozen;
    parameter.reason = reason.str();
    table.parameters.push_back(std::move(parameter));
  }
  Parameter &parameter = table.parameters[entry->second];
  if (parameter.tiedName.empty())
    parameter.tiedName = weight.tiedName;
  if (llvm::none_of(parameter.sources, [&](const ParameterSource &source) {
        return source.initializer == weight.op.getName();
      })) {
    ParameterSource source;
    source.initializer = weight.op.getName().str();
    if (onnx::ExternalAttr place = weight.op.getExternalAttr()) {
      source.file = place.getFile().str();
      source.offset = place.getOffset();
      source.bytes = place.getLength();
    }
    source.elementType = weight.op.getType().getElementType();
    source.shape.assign(weight.op.getType().getShape().begin(), weight.op.getType().getShape().end());
    source.transform = weight.transform;
    source.index = weight.index;
    parameter.sources.push_back(std::move(source));
  }
  return entry->second;
}

/// The placeholders of a node's ATen call that no initializer has the name of;
/// nothing where `weight` is in the call under its own name.
SmallVector<const Signature::Entry *> TableBuilder::findLost(onnx::NodeOp node,
                                                             const Weight &weight,
                                                             bool isStatistic) {
  SmallVector<const Signature::Entry *> lost;
  FxCall call(*node.getFxNode());
  for (StringRef name : call.names) {
    const Signature::Entry *entry = signature.findPlaceholder(name);
    if (!entry)
      continue;
    if (entry->target == weight.torchName && !isStatistic)
      return {};
    if (!present.contains(entry->target) && (!isStatistic || entry->isBuffer()))
      lost.push_back(entry);
  }
  // addmm(bias, x, weight) becomes Gemm(x, weight, bias).
  if (call.target.starts_with("aten.addmm") && lost.size() > 1)
    std::rotate(lost.begin(), lost.begin() + 1, lost.end());
  return lost;
}

/// The tensor that a use of a merged initializer really stands for, from the
/// arguments of the ATen call behind the node, or from the node's module. Null:
/// the use is of the initializer's own name.
const Signature::Entry *TableBuilder::findMerged(Weight &weight, OpOperand &use) {
  auto node = dyn_cast<onnx::NodeOp>(use.getOwner());
  if (!node || weight.torchName.empty())
    return nullptr;
  StringRef last = StringRef(weight.torchName).rsplit('.').second;
  if (!node.getFxNode()) {
    const Signature::Entry *entry =
        node.getModule() ? signature.findTarget((*node.getModule() + "." + last).str()) : nullptr;
    return entry && !present.contains(entry->target) ? entry : nullptr;
  }
  bool statistic = isStatistic(use);
  SmallVector<const Signature::Entry *> lost = findLost(node, weight, statistic);
  if (lost.size() < 2)
    return lost.empty() ? nullptr : lost[0];

  // Several are lost in this call: those of the same last name ("bias") go first,
  // then the order of the node's operands tells.
  SmallVector<const Signature::Entry *> alike;
  llvm::copy_if(lost, std::back_inserter(alike), [&](const Signature::Entry *entry) {
    return entry->target.rsplit('.').second == last;
  });
  if (alike.size() == 1 && !statistic)
    return alike[0];
  unsigned rank = 0;
  for (OpOperand &other : node->getOpOperands().take_front(use.getOperandNumber()))
    if (Weight *before = byOp.lookup(other.get().getDefiningOp()))
      rank += isStatistic(other) == statistic && !findLost(node, *before, statistic).empty();
  return lost[std::min<unsigned>(rank, lost.size() - 1)];
}

/// A bias that is only added to scores before a choice among them: a value of the model's state,
/// which a trainer may move (--router-bias-rate).
static bool isSelectionBias(moire::onnx::InitializerOp op) {
  ShapedType type = op.getType();
  return type.hasStaticShape() && type.getRank() >= 1 && type.getNumElements() > 1 &&
         type.getNumElements() == type.getShape().back() && isa<FloatType>(type.getElementType()) &&
         llvm::all_of(op->getUsers(), [](Operation *user) {
           auto node = dyn_cast<moire::onnx::NodeOp>(user);
           return node && node.getOpType() == "Add";
         });
}

void TableBuilder::assign(Weight &weight) {
  moire::onnx::InitializerOp op = weight.op;
  bool anyReaches = llvm::any_of(op->getUses(), [&](OpOperand &use) { return paths.reaches(use); });
  bool frozen = !weight.trained || !anyReaches;
  std::string reason = weight.reason;
  if (weight.trained && op->use_empty())
    reason = "not used";
  else if (weight.trained && !anyReaches)
    reason = "no gradient: nothing differentiable leads to an output";

  // A frozen value that the IR holds stays there, where it cannot be one that moves.
  const bool fixed = frozen && op.getValue() && (anyReaches || !isSelectionBias(op));
  if (op->use_empty() || fixed) {
    unsigned parameter = getParameter(weight, weight.symbol, weight.torchName, true, reason);
    if (table.parameters[parameter].sources.size() == 1)
      table.parameters[parameter].constant = true;
    return;
  }
  // In the order of the graph: MLIR lists uses backwards.
  SmallVector<OpOperand *> uses(llvm::make_pointer_range(op->getUses()));
  for (OpOperand *use : llvm::reverse(uses)) {
    unsigned parameter;
    if (const Signature::Entry *merged = findMerged(weight, *use)) {
      parameter = getParameter(weight, merged->target, merged->target,
                               frozen || !merged->isParameter(),
                               merged->isParameter()
                                   ? "PyTorch parameter, merged with " + weight.torchName +
                                         " because they were equal"
                                   : "PyTorch buffer, merged with " + weight.torchName);
    } else {
      parameter = getParameter(weight, weight.symbol, weight.torchName, frozen, reason);
    }
    table.uses[use] = {parameter, weight.transform, weight.index};
  }
}

/// Into PyTorch's order, which all exports of one model share, where the file
/// tells it; what it does not name goes last.
void TableBuilder::sort() {
  std::vector<std::pair<unsigned, unsigned>> order; // key, old index
  for (auto [i, parameter] : llvm::enumerate(table.parameters)) {
    const Signature::Entry *entry = signature.findTarget(parameter.torchName);
    order.push_back({entry ? entry->order : ~0u, static_cast<unsigned>(i)});
  }
  llvm::sort(order);
  std::vector<Parameter> sorted;
  std::vector<unsigned> moved(order.size());
  for (auto [key, old] : order) {
    moved[old] = sorted.size();
    sorted.push_back(std::move(table.parameters[old]));
  }
  table.parameters = std::move(sorted);
  for (auto &use : table.uses)
    use.second.parameter = moved[use.second.parameter];
}

/// torch.export calls a tied tensor by the last module that holds it, PyTorch's
/// named_parameters() by the first. Modules run in the order in which they hold
/// their parameters, so the first node that uses the tensor tells the name.
void TableBuilder::nameTies() {
  std::vector<SmallVector<StringRef>> modules(table.parameters.size());
  module.walk<WalkOrder::PreOrder>([&](onnx::NodeOp node) {
    for (OpOperand &operand : node->getOpOperands())
      if (const ParameterUse *use = table.lookup(operand))
        if (!llvm::is_contained(modules[use->parameter], node.getModule().value_or("")))
          modules[use->parameter].push_back(node.getModule().value_or(""));
  });
  for (auto [parameter, users] : llvm::zip_equal(table.parameters, modules)) {
    auto [holder, leaf] = StringRef(parameter.torchName).rsplit('.');
    if (users.size() < 2 || users[0].empty() || users[0] == holder ||
        !llvm::is_contained(users, holder))
      continue;
    std::string name = (users[0] + "." + leaf).str();
    if (llvm::any_of(table.parameters, [&](const Parameter &other) {
          return other.symbol == name || other.torchName == name;
        }))
      continue;
    parameter.tiedName = parameter.torchName;
    parameter.symbol = parameter.torchName = name;
  }
}

void TableBuilder::findSaved() {
  llvm::StringSet<> fromNodes;
  for (Weight &weight : weights)
    if (weight.op.getFromNode())
      fromNodes.insert(weight.symbol);
  for (Parameter &parameter : table.parameters) {
    // nameTies() put the file's own name aside.
    const Signature::Entry *entry = signature.findTarget(parameter.torchName);
    if (!entry)
      entry = signature.findTarget(parameter.tiedName);
    const bool isNamed = signature.empty() && !isMadeUp(parameter.symbol) &&
                         !fromNodes.contains(parameter.symbol);
    parameter.saved = entry ? entry->isSaved() : !parameter.frozen || isNamed;
  }
}

void TableBuilder::listMerged() {
  for (Weight &weight : weights) {
    moire::onnx::InitializerOp op = weight.op;
    SmallVector<OpOperand *> uses(llvm::make_pointer_range(op->getUses()));
    const bool isFlat = llvm::all_of(
        uses, [&](OpOperand *use) { return use->getOwner()->getBlock() == op->getBlock(); });
    llvm::SmallDenseSet<unsigned> parameters;
    for (OpOperand *use : uses)
      if (const ParameterUse *found = table.lookup(*use))
        parameters.insert(found->parameter);
    if (parameters.size() < 2 || !isFlat)
      continue;
    llvm::sort(uses, [](OpOperand *a, OpOperand *b) {
      return a->getOwner() == b->getOwner() ? a->getOperandNumber() < b->getOperandNumber()
                                            : a->getOwner()->isBeforeInBlock(b->getOwner());
    });
    MergedInitializer merged{op.getName().str(), {}};
    for (OpOperand *use : uses) {
      auto node = dyn_cast<moire::onnx::NodeOp>(use->getOwner());
      const ParameterUse *found = table.lookup(*use);
      merged.uses.push_back({found ? table.parameters[found->parameter].symbol : "",
                             node ? node.getOpType().str() : "", use->getOperandNumber()});
    }
    table.merged.push_back(std::move(merged));
  }
}
