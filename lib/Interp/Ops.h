//===- Ops.h - The interpreter's groups of ops ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_INTERP_OPS_H
#define MOIRE_LIB_INTERP_OPS_H

#include "moire/Interp/Evaluator.h"

namespace moire::interp {

/// One op with its operands' values.
struct Call {
  mlir::Operation *op;
  llvm::ArrayRef<RuntimeValue> operands;
  llvm::SmallVectorImpl<RuntimeValue> &results;
  const EvaluatorOptions &options;

  const Tensor &in(unsigned i) const { return operands[i].tensor(); }
  /// The result's type as a tensor's: a scalar has rank 0.
  mlir::RankedTensorType resultType(unsigned i = 0) const {
    return asTensor(op->getResult(i).getType());
  }
  static mlir::RankedTensorType asTensor(mlir::Type type) {
    if (auto tensor = mlir::dyn_cast<mlir::RankedTensorType>(type))
      return tensor;
    return mlir::RankedTensorType::get({}, type);
  }
  /// Appends a result, rounded to its element type.
  void yield(Tensor tensor) {
    if (!options.f64 || !tensor.isFloat())
      tensor.round();
    results.push_back(std::move(tensor));
  }
  mlir::LogicalResult error(const llvm::Twine &message) const {
    if (!options.silent)
      op->emitOpError() << message;
    return mlir::failure();
  }
};

/// Each executes the ops of its group; nothing where the op is of another.
std::optional<mlir::LogicalResult> evaluateElementwise(Call &call);
std::optional<mlir::LogicalResult> evaluateMovement(Call &call);
std::optional<mlir::LogicalResult> evaluateContraction(Call &call);
std::optional<mlir::LogicalResult> evaluateExperts(Call &call);
std::optional<mlir::LogicalResult> evaluateBalance(Call &call);
std::optional<mlir::LogicalResult> evaluateCollective(Call &call);
std::optional<mlir::LogicalResult> evaluateUpstream(Call &call);

} // namespace moire::interp

#endif // MOIRE_LIB_INTERP_OPS_H
