//===- PipeBalance.h - The router's bias ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_PIPE_PIPEBALANCE_H
#define MOIRE_DIALECTS_PIPE_PIPEBALANCE_H

#include "dialects/pipe/Pipe.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

#define GET_OP_CLASSES
#include "dialects/pipe/PipeBalanceOps.h.inc"

namespace moire::pipe {

/// The rates of the parameters that pipe.balance moves, by name.
llvm::StringMap<double> balanceRates(mlir::ModuleOp module);

} // namespace moire::pipe

#endif // MOIRE_DIALECTS_PIPE_PIPEBALANCE_H
