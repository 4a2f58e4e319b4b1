//===- Matchers.h - What the raising passes share ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_RAISE_MATCHERS_H
#define MOIRE_LIB_RAISE_MATCHERS_H

#include "dialects/nn/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "moire/Raise/Symbolic.h"

namespace moire::raise {

inline mlir::RankedTensorType tensorType(mlir::Value v) {
  return mlir::cast<mlir::RankedTensorType>(v.getType());
}
inline llvm::ArrayRef<int64_t> shapeOf(mlir::Value v) { return tensorType(v).getShape(); }

/// The value of a float or integer constant that is the same everywhere.
std::optional<double> splatOf(mlir::Value v);

/// Whether a derivative with respect to `v` could matter: it is computed from a
/// parameter that is trained.
bool dependsOnTrained(mlir::Value v);

/// The view of what a reduction over the last dim took, for a view of its
/// result: the same positions with the reduced dim behind them.
std::optional<View> reducedView(const View &result, nn::ReduceOp reduce);

/// Removes ops without effects whose results nobody reads.
void eraseDead(mlir::func::FuncOp func);

/// All ops of the function's body, the last first, as they are now.
llvm::SmallVector<mlir::Operation *> reversedOps(mlir::func::FuncOp func);

} // namespace moire::raise

#endif // MOIRE_LIB_RAISE_MATCHERS_H
