//===- Gradients.cpp - Verifier of sums of gradients that begin early ----===//
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
