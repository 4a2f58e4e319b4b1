//===- Gradients.cpp - Verifiers of sums of gradients --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/pipe/Gradients.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace moire::pipe;

#define GET_OP_CLASSES
#include "dialects/pipe/GradientOps.cpp.inc"

Operation *StartReduceOp::getStarted(int64_t *number) {
  auto module = (*this)->getParentOfType<ModuleOp>();
  auto reduce = module ? module.lookupSymbol<func::FuncOp>("reduce_gradients") : func::FuncOp();
  if (!reduce || reduce.getBody().empty())
    return nullptr;
  int64_t index = 0;
  for (auto sum : reduce.getOps<ReduceGradsOp>()) {
    if (sum.getParameters() == getParameters()) {
      if (number)
        *number = index;
      return sum;
    }
    ++index;
  }
  return nullptr;
}

LogicalResult StartReduceOp::verifySymbolUses(SymbolTableCollection &) {
  if (!getStarted())
    return emitOpError("names parameters of which @reduce_gradients has no pipe.reduce_grads");
  return success();
}

LogicalResult SumCopiesOp::verifySymbolUses(SymbolTableCollection &tables) {
  for (auto name : getParameters().getAsRange<FlatSymbolRefAttr>()) {
    auto parameter = tables.lookupNearestSymbolFrom<ParameterOp>(*this, name);
    if (!parameter)
      return emitOpError("names @") << name.getValue() << ", which is no pipe.parameter";
    if (parameter.getFrozen())
      return emitOpError("names @") << name.getValue() << ", which is frozen";
  }
  return success();
}
