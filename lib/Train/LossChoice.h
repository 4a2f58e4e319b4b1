//===- LossChoice.h - Which output is the loss, and of what kind ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TRAIN_LOSSCHOICE_H
#define MOIRE_LIB_TRAIN_LOSSCHOICE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <string>
#include <vector>

namespace moire::train {

enum class LossKind { nextToken, token, classes, mse, output };

/// The spelling of --loss and of the module attribute.
llvm::StringRef lossName(LossKind kind);

/// One result of @forward.
struct Output {
  mlir::Value value;
  std::string name;
  mlir::RankedTensorType type() const {
    return mlir::cast<mlir::RankedTensorType>(value.getType());
  }
};

/// A scalar output that is added to the loss.
struct AuxTerm {
  Output output;
  double weight;
};

struct LossChoice {
  LossKind kind;
  Output output; ///< logits, prediction, or the loss itself
  std::vector<AuxTerm> aux;
};

/// The function argument of that ONNX name, or null.
mlir::BlockArgument findInput(mlir::func::FuncOp func, llvm::StringRef name);

/// All ops that `value` is computed from, in program order.
std::vector<mlir::Operation *> backwardSlice(mlir::Value value);

/// Applies --loss and --aux to the outputs of @forward, after reporting an
/// error fails.
mlir::FailureOr<LossChoice> chooseLoss(mlir::func::FuncOp forward, llvm::StringRef loss,
                                       llvm::ArrayRef<std::string> aux);

} // namespace moire::train

#endif // MOIRE_LIB_TRAIN_LOSSCHOICE_H
