//===- PipeBalance.cpp - The router's bias --------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/pipe/PipeBalance.h"

using namespace mlir;
using namespace moire;
using namespace moire::pipe;

#define GET_OP_CLASSES
#include "dialects/pipe/PipeBalanceOps.cpp.inc"

void PipeDialect::addBalanceOps() {
  addOperations<
#define GET_OP_LIST
#include "dialects/pipe/PipeBalanceOps.cpp.inc"
      >();
}

LogicalResult BalanceOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto parameter = tables.lookupNearestSymbolFrom<ParameterOp>(*this, getParameterAttr());
  if (!parameter)
    return emitOpError("names ") << getParameterAttr() << ", which is not a pipe.parameter";
  if (parameter.getFrozen())
    return emitOpError("parameter @") << getParameter() << " is frozen";
  if (!(getRate().convertToDouble() > 0))
    return emitOpError("rate ") << getRate().convertToDouble() << " must be more than 0";
  return success();
}

llvm::StringMap<double> pipe::balanceRates(ModuleOp module) {
  llvm::StringMap<double> rates;
  module.walk([&](BalanceOp op) { rates[op.getParameter()] = op.getRate().convertToDouble(); });
  return rates;
}
