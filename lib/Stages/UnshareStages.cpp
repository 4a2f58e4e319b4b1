//===- UnshareStages.cpp - Pass unshare-stages ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Pipe/PipelineProgram.h"
#include "moire/Stages/Passes.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringSet.h"

namespace moire::stages {
#define GEN_PASS_DEF_UNSHARESTAGES
#include "lib/Stages/Passes.h.inc"
} // namespace moire::stages

using namespace mlir;
using namespace moire;
using namespace moire::scheduling;

namespace {

/// Puts a stage's own parameters and nodes in the place of those that shared functions name.
class Substitution {
public:
  explicit Substitution(pipe::StageOp stage)
      : parameters(stage->getAttrOfType<DictionaryAttr>(pipe::kParametersAttr)),
        nodes(stage->getAttrOfType<DictionaryAttr>(pipe::kNodesAttr)) {
    names.addReplacement([this](FlatSymbolRefAttr name) -> std::optional<Attribute> {
      if (Attribute own = parameters.get(name.getAttr()))
        return own;
      return std::nullopt;
    });
    places.addReplacement([this](NameLoc place) -> std::optional<Attribute> {
      if (auto own = nodes.getAs<StringAttr>(place.getName()))
        return NameLoc::get(own, place.getChildLoc());
      return std::nullopt;
    });
  }

  void apply(Operation *op) {
    if (parameters)
      names.recursivelyReplaceElementsIn(op);
    if (nodes)
      places.recursivelyReplaceElementsIn(op, /*replaceAttrs=*/false, /*replaceLocs=*/true);
  }

private:
  DictionaryAttr parameters, nodes;
  AttrTypeReplacer names, places;
};

struct UnshareStages : stages::impl::UnshareStagesBase<UnshareStages> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (!pipe::PipelineProgram::isIn(module) ||
        llvm::none_of(module.getOps<pipe::StageOp>(),
                      [](pipe::StageOp op) { return op->hasAttr(pipe::kParametersAttr); }))
      return;
    auto program = pipe::PipelineProgram::read(module);
    if (failed(program))
      return signalPassFailure();
    // 1. Pairs, while stages have the names that these were made of.
    SmallVector<std::pair<func::FuncOp, Action>> pairs;
    llvm::SetVector<func::FuncOp> old;
    program->forEachAction([&](const Action &action) {
      if (func::FuncOp pair = program->pairOf(action)) {
        pairs.push_back({pair, action});
        old.insert(pair);
      }
    });
    for (auto &[pair, action] : pairs)
      copyPair(*program, pair, action);
    for (func::FuncOp pair : old)
      pair.erase();
    for (auto &[pair, name] : made)
      pair.setSymName(name);
    // 2. The functions of stages.
    for (pipe::StageOp stage : program->stages)
      if (stage->hasAttr(pipe::kParametersAttr))
        copyFunctions(stage);
  }

  /// "stage3_backward": what a stage's function of a task is called when it is the stage's own.
  static std::string nameOf(pipe::StageOp stage, TaskKind kind) {
    const StringRef what = kind == TaskKind::Forward         ? "_forward"
                           : kind == TaskKind::Backward      ? "_backward"
                           : kind == TaskKind::BackwardInput ? "_backward_input"
                                                             : "_backward_weight";
    return (stage.getSymName() + what).str();
  }
  /// The same, where the stage has one of its own already.
  static std::string nameOf(const pipe::PipelineProgram &program, const Task &task) {
    pipe::StageOp stage = program.stages[task.stage];
    if (!stage->hasAttr(pipe::kParametersAttr)) {
      func::FuncOp func = program.functionOf(task);
      return func.getSymName().str();
    }
    return nameOf(stage, task.kind);
  }

  /// What the second task does follows from its arguments and parameters; constants, from who
  /// reads them.
  static DenseSet<Operation *> opsOfSecond(func::FuncOp pair) {
    DenseSet<Operation *> ops;
    DenseSet<Value> values;
    for (BlockArgument argument : pair.getArguments())
      if (pair.getArgAttr(argument.getArgNumber(), pipe::kSecondAttr))
        values.insert(argument);
    Block &block = pair.getBody().front();
    for (Operation &op : block.without_terminator()) {
      bool isSecond = op.hasAttr(pipe::kSecondAttr);
      op.walk([&](Operation *inner) {
        isSecond |= llvm::any_of(inner->getOperands(), [&](Value v) { return values.contains(v); });
      });
      if (!isSecond)
        continue;
      ops.insert(&op);
      values.insert(op.result_begin(), op.result_end());
    }
    for (Operation &op : llvm::reverse(block))
      if (op.getNumOperands() == 0 && op.getNumRegions() == 0 &&
          llvm::any_of(op.getUsers(), [&](Operation *user) {
            return ops.contains(block.findAncestorOpInBlock(*user));
          }))
        ops.insert(&op);
    return ops;
  }

  void copyPair(const pipe::PipelineProgram &program, func::FuncOp pair, const Action &action) {
    const std::string one = nameOf(program, action.first),
                      two = nameOf(program, *action.second), name = one + "_and_" + two;
    if (!known.insert(name).second)
      return;
    auto copy = cast<func::FuncOp>(pair->clone());
    OpBuilder b(pair);
    b.insert(copy);
    copy->setAttr(pipe::kPairAttr, b.getArrayAttr({FlatSymbolRefAttr::get(&getContext(), one),
                                                   FlatSymbolRefAttr::get(&getContext(), two)}));
    Substitution ofFirst(program.stages[action.first.stage]),
        ofSecond(program.stages[action.second->stage]);
    const DenseSet<Operation *> second = opsOfSecond(copy);
    for (Operation &op : copy.getBody().front())
      (second.contains(&op) ? ofSecond : ofFirst).apply(&op);
    made.push_back({copy, name});
  }

  void copyFunctions(pipe::StageOp stage) {
    Substitution substitution(stage);
    OpBuilder b(stage);
    auto copy = [&](FlatSymbolRefAttr shared, TaskKind kind) -> FlatSymbolRefAttr {
      if (!shared)
        return shared;
      auto func = cast<func::FuncOp>(
          b.insert(getOperation().lookupSymbol<func::FuncOp>(shared.getAttr())->clone()));
      func.setSymName(nameOf(stage, kind));
      substitution.apply(func);
      return FlatSymbolRefAttr::get(func);
    };
    stage.setForwardAttr(copy(stage.getForwardAttr(), TaskKind::Forward));
    stage.setBackwardAttr(copy(stage.getBackwardAttr(), TaskKind::Backward));
    stage.setBackwardInputAttr(copy(stage.getBackwardInputAttr(), TaskKind::BackwardInput));
    stage.setBackwardWeightAttr(copy(stage.getBackwardWeightAttr(), TaskKind::BackwardWeight));
    stage->removeAttr(pipe::kParametersAttr);
    stage->removeAttr(pipe::kNodesAttr);
  }

  llvm::StringSet<llvm::MallocAllocator> known; ///< names of pairs that are made
  SmallVector<std::pair<func::FuncOp, std::string>> made;
};
} // namespace
