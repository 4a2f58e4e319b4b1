//===- ShareStages.cpp - Pass share-stages -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Two functions are walked side by side. Where they name parameters, what the one names
// stands for what the other names, everywhere in all functions of the stage.
//
//===----------------------------------------------------------------------===//
#include "moire/Pipe/PipelineProgram.h"
#include "moire/Stages/Passes.h"
#include "moire/Support/NodeNames.h"
#include "llvm/ADT/MapVector.h"

namespace moire::stages {
#define GEN_PASS_DEF_SHARESTAGES
#include "lib/Stages/Passes.h.inc"
} // namespace moire::stages

using namespace mlir;
using namespace moire;

namespace {

/// Whether a stage's functions are another's, and what is what.
class Likeness {
public:
  explicit Likeness(SymbolTable &symbols) : symbols(symbols) {}

  bool holds(func::FuncOp a, func::FuncOp b);

  /// [name in the functions of a] → of b.
  llvm::MapVector<StringAttr, StringAttr> parameters, nodes;

private:
  bool match(Attribute a, Attribute b);
  bool match(FlatSymbolRefAttr a, FlatSymbolRefAttr b);
  bool match(Operation &a, Operation &b);
  bool match(Region &a, Region &b);
  void noteNodes(Location a, Location b);

  SymbolTable &symbols;
  llvm::DenseMap<StringAttr, StringAttr> back; ///< of parameters
  IRMapping values;
};

bool Likeness::match(FlatSymbolRefAttr a, FlatSymbolRefAttr b) {
  auto from = symbols.lookup<pipe::ParameterOp>(a.getAttr());
  auto into = symbols.lookup<pipe::ParameterOp>(b.getAttr());
  if (!from || !into)
    return a == b;
  // What a function that reads or accumulates it may know of it.
  if (from.getType() != into.getType() || from.getShardingAttr() != into.getShardingAttr() ||
      from.getZeroAttr() != into.getZeroAttr() || from.getZeroAxesAttr() != into.getZeroAxesAttr() ||
      from.getFrozen() != into.getFrozen() || from.getGroupAttr() != into.getGroupAttr())
    return false;
  auto [forth, isNew] = parameters.insert({a.getAttr(), b.getAttr()});
  auto [other, isNewBack] = back.try_emplace(b.getAttr(), a.getAttr());
  return forth->second == b.getAttr() && other->second == a.getAttr();
}

bool Likeness::match(Attribute a, Attribute b) {
  if (auto symbol = dyn_cast<FlatSymbolRefAttr>(a))
    return isa<FlatSymbolRefAttr>(b) && match(symbol, cast<FlatSymbolRefAttr>(b));
  if (auto list = dyn_cast<ArrayAttr>(a)) {
    auto other = dyn_cast<ArrayAttr>(b);
    return other && list.size() == other.size() &&
           llvm::all_of(llvm::zip(list, other), [&](auto pair) {
             return match(std::get<0>(pair), std::get<1>(pair));
           });
  }
  return a == b;
}

void Likeness::noteNodes(Location a, Location b) {
  const SmallVector<StringAttr> from = nodesOf(a), into = nodesOf(b);
  if (from.size() == into.size())
    for (auto [name, other] : llvm::zip(from, into))
      nodes.insert({name, other});
}

bool Likeness::match(Operation &a, Operation &b) {
  if (a.getName() != b.getName() || a.getNumOperands() != b.getNumOperands() ||
      a.getResultTypes() != b.getResultTypes() || a.getNumRegions() != b.getNumRegions() ||
      a.getNumSuccessors() != 0 || b.getNumSuccessors() != 0)
    return false;
  for (auto [x, y] : llvm::zip(a.getOperands(), b.getOperands()))
    if (values.lookupOrNull(x) != y)
      return false;
  const DictionaryAttr ours = a.getAttrDictionary(), theirs = b.getAttrDictionary();
  if (ours.size() != theirs.size())
    return false;
  for (auto [x, y] : llvm::zip(ours, theirs)) // both are sorted by name
    if (x.getName() != y.getName() || !match(x.getValue(), y.getValue()))
      return false;
  noteNodes(a.getLoc(), b.getLoc());
  for (auto [x, y] : llvm::zip(a.getRegions(), b.getRegions()))
    if (!match(x, y))
      return false;
  values.map(a.getResults(), b.getResults());
  return true;
}

bool Likeness::match(Region &a, Region &b) {
  if (a.getBlocks().size() != b.getBlocks().size())
    return false;
  for (auto [x, y] : llvm::zip(a, b)) {
    if (x.getArgumentTypes() != y.getArgumentTypes() ||
        x.getOperations().size() != y.getOperations().size())
      return false;
    values.map(x.getArguments(), y.getArguments());
    for (auto [op, other] : llvm::zip(x, y))
      if (!match(op, other))
        return false;
  }
  return true;
}

bool Likeness::holds(func::FuncOp a, func::FuncOp b) {
  return a.getFunctionType() == b.getFunctionType() && a.getArgAttrsAttr() == b.getArgAttrsAttr() &&
         a.getResAttrsAttr() == b.getResAttrsAttr() && match(a.getBody(), b.getBody());
}

struct ShareStages : stages::impl::ShareStagesBase<ShareStages> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    SmallVector<pipe::StageOp> originals;
    for (auto stage : module.getOps<pipe::StageOp>())
      if (llvm::none_of(originals, [&](pipe::StageOp other) { return share(stage, other, symbols); }))
        originals.push_back(stage);
  }

  static SmallVector<FlatSymbolRefAttr> functionsOf(pipe::StageOp stage) {
    return {stage.getForwardAttr(), stage.getBackwardAttr(), stage.getBackwardInputAttr(),
            stage.getBackwardWeightAttr()};
  }

  /// Gives `stage` the functions of `original` where they are alike.
  bool share(pipe::StageOp stage, pipe::StageOp original, SymbolTable &symbols) {
    Likeness likeness(symbols);
    SmallVector<func::FuncOp> gone;
    for (auto [name, other] : llvm::zip(functionsOf(stage), functionsOf(original))) {
      if (!name || !other) {
        if (name != other)
          return false;
        continue;
      }
      auto func = symbols.lookup<func::FuncOp>(name.getAttr());
      auto like = symbols.lookup<func::FuncOp>(other.getAttr());
      if (!func || !like || func == like || !likeness.holds(like, func))
        return false;
      gone.push_back(func);
    }
    if (gone.empty())
      return false;
    OpBuilder b(stage);
    SmallVector<NamedAttribute> parameters, nodes;
    for (auto [name, own] : likeness.parameters)
      parameters.push_back(b.getNamedAttr(name, FlatSymbolRefAttr::get(own)));
    for (auto [name, own] : likeness.nodes)
      if (!name.empty() && name != own)
        nodes.push_back(b.getNamedAttr(name, own));
    stage->setAttr(pipe::kParametersAttr, b.getDictionaryAttr(parameters));
    stage->setAttr(pipe::kNodesAttr, b.getDictionaryAttr(nodes));
    stage.setForwardAttr(original.getForwardAttr());
    stage.setBackwardAttr(original.getBackwardAttr());
    stage.setBackwardInputAttr(original.getBackwardInputAttr());
    stage.setBackwardWeightAttr(original.getBackwardWeightAttr());
    for (func::FuncOp func : gone)
      symbols.erase(func);
    ++shared;
    return true;
  }
};
} // namespace
