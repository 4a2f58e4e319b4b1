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

SmallVector<unsigned> PublishOp::getPublished() {
  SmallVector<unsigned> results;
  auto func = (*this)->getParentOfType<func::FuncOp>();
  for (unsigned i = 0; func && i < func.getNumResults(); ++i)
    if ((func.getResultAttr(i, "pipe.output") || func.getResultAttr(i, "pipe.input_cotangent")) &&
        bool(func.getResultAttr(i, "pipe.second")) == (*this)->hasAttr("pipe.second"))
      results.push_back(i);
  return results;
}

LogicalResult PublishOp::verify() {
  auto func = dyn_cast<func::FuncOp>((*this)->getParentOp());
  if (!func)
    return emitOpError("must stand in a function of a stage");
  const SmallVector<unsigned> results = getPublished();
  if (results.empty())
    return emitOpError("has nothing to let go: no result of @")
           << func.getSymName() << " has pipe.output or pipe.input_cotangent"
           << ((*this)->hasAttr("pipe.second") ? " and pipe.second" : "");
  Operation *end = (*this)->getBlock()->getTerminator();
  for (unsigned i : results)
    if (Operation *def = end->getOperand(i).getDefiningOp(); def && !def->isBeforeInBlock(*this))
      return emitOpError("stands before result ") << i << " is made; it must come after";
  for (auto other : (*this)->getBlock()->getOps<PublishOp>())
    if (other != *this && other->hasAttr("pipe.second") == (*this)->hasAttr("pipe.second") &&
        other->isBeforeInBlock(*this))
      return emitOpError("is the second one of its task; there may be one");
  return success();
}
