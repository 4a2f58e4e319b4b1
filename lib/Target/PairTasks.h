//===- PairTasks.h - Which task of a pair a statement is of --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TARGET_PAIRTASKS_H
#define MOIRE_LIB_TARGET_PAIRTASKS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseSet.h"

namespace moire::target {

/// Of a function of two tasks, in exec: the statements of the second one, also those within
/// others. The first `inputs` arguments are the first task's.
llvm::DenseSet<mlir::Operation *> statementsOfSecond(mlir::func::FuncOp pair, size_t inputs);

} // namespace moire::target

#endif // MOIRE_LIB_TARGET_PAIRTASKS_H
