//===- OverlapPairs.cpp - Pass overlap-pairs -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Overlap/Passes.h"
#include "moire/Pipe/PipelineProgram.h"

namespace moire::overlap {
#define GEN_PASS_DEF_OVERLAPPAIRS
#include "lib/Overlap/Passes.h.inc"
} // namespace moire::overlap

using namespace mlir;
using namespace moire;
using namespace moire::scheduling;

namespace {
struct OverlapPairs : overlap::impl::OverlapPairsBase<OverlapPairs> {
  void runOnOperation() override {
    if (!pipe::PipelineProgram::isIn(getOperation()))
      return;
    auto program = pipe::PipelineProgram::read(getOperation());
    if (failed(program))
      return signalPassFailure();
    program->forEachAction([&](const Action &action) {
      if (action.second)
        join(program->functionOf(action.first), program->functionOf(*action.second));
    });
  }

  /// One function that does both, each with its own arguments and results.
  void join(func::FuncOp first, func::FuncOp second) {
    const std::string name = pipe::pairName(first, second);
    if (getOperation().lookupSymbol(name))
      return;
    OpBuilder b(second);
    b.setInsertionPointAfter(second);
    SmallVector<Type> inputs(first.getArgumentTypes()), results(first.getResultTypes());
    llvm::append_range(inputs, second.getArgumentTypes());
    llvm::append_range(results, second.getResultTypes());
    auto pair = b.create<func::FuncOp>(b.getFusedLoc({first.getLoc(), second.getLoc()}), name,
                                       b.getFunctionType(inputs, results));
    pair->setAttr(pipe::kPairAttr, b.getArrayAttr({FlatSymbolRefAttr::get(first.getSymNameAttr()),
                                                   FlatSymbolRefAttr::get(second.getSymNameAttr())}));
    markPorts(pair, first, second);
    Block *block = pair.addEntryBlock();
    b.setInsertionPointToEnd(block);
    SmallVector<Value> returned;
    unsigned argument = 0;
    for (bool isSecond : {false, true}) { // both may be one function
      func::FuncOp part = isSecond ? second : first;
      IRMapping map;
      for (BlockArgument old : part.getArguments())
        map.map(old, block->getArgument(argument++));
      for (Operation &op : part.getBody().front().without_terminator()) {
        Operation *copy = b.clone(op, map);
        // Parameters of stages that share a function are told apart; gradients of two stages, or
        // of two paths, are added up by themselves.
        if (isSecond && isa<pipe::ReadOp, pipe::AccumulateOp>(copy))
          copy->setAttr(pipe::kSecondAttr, b.getUnitAttr());
      }
      for (Value value : part.getBody().front().getTerminator()->getOperands())
        returned.push_back(map.lookup(value));
    }
    b.create<func::ReturnOp>(pair.getLoc(), returned);
    ++pairs;
  }

  /// Arguments and results keep what they are; those of the second function say so.
  static void markPorts(func::FuncOp pair, func::FuncOp first, func::FuncOp second) {
    unsigned argument = 0, result = 0;
    for (bool isSecond : {false, true}) {
      func::FuncOp part = isSecond ? second : first;
      auto copy = [&](DictionaryAttr attributes) {
        NamedAttrList list(attributes);
        if (isSecond)
          list.set(pipe::kSecondAttr, UnitAttr::get(pair.getContext()));
        return list.getDictionary(pair.getContext());
      };
      for (unsigned i = 0; i < part.getNumArguments(); ++i)
        pair.setArgAttrs(argument++, copy(part.getArgAttrDict(i)));
      for (unsigned i = 0; i < part.getNumResults(); ++i)
        pair.setResultAttrs(result++, copy(part.getResultAttrDict(i)));
    }
  }
};
} // namespace
