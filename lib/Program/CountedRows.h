//===- CountedRows.h - Rows of experts of which not all are there --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_PROGRAM_COUNTEDROWS_H
#define MOIRE_LIB_PROGRAM_COUNTEDROWS_H

#include "dialects/nn/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"

namespace moire::program {

/// Where rows come from other ranks, or experts have a capacity, a tensor has
/// room for more rows than there are: those past the last expert's offset in its
/// routing hold anything, and nothing reads them that mixes rows. So what is
/// computed row by row need not be computed there.
class CountedRows {
public:
  explicit CountedRows(mlir::func::FuncOp func);

  /// The routing whose rows the value's first dim is; null where all of it counts.
  mlir::Value routingOf(mlir::Value value) const { return routings.lookup(value); }

private:
  void visit(mlir::Operation *op);
  void note(mlir::Value value, mlir::Value routing);

  llvm::DenseMap<mlir::Value, mlir::Value> routings;
  llvm::DenseSet<mlir::Value> partial; ///< routings that need not fill their rows
};

} // namespace moire::program

#endif // MOIRE_LIB_PROGRAM_COUNTEDROWS_H
