//===- Evaluator.h - Executes ops on the CPU, one by one -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The independent referee: plain loops over plain doubles. Core ops run
// directly, composite ops through DecomposableOpInterface. Also the constant
// folder of the conversions.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_INTERP_EVALUATOR_H
#define MOIRE_INTERP_EVALUATOR_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "moire/Interp/Tensor.h"
#include <functional>
#include <map>
#include <optional>

namespace moire::interp {

/// Where ops that touch parameters (the pipe dialect) are executed.
class ParameterAccess {
public:
  virtual ~ParameterAccess() = default;
  virtual mlir::LogicalResult evaluate(mlir::Operation *op, llvm::ArrayRef<RuntimeValue> operands,
                                       llvm::SmallVectorImpl<RuntimeValue> &results) = 0;
};

struct Membership;

struct EvaluatorOptions {
  /// Leaves out the rounding to f32, f16 and bf16: everything is f64.
  bool f64 = false;
  /// Fails without a diagnostic.
  bool silent = false;
  /// The other ranks; null: there are none.
  const Membership *membership = nullptr;
  /// Called after each op of a function with its results.
  std::function<void(mlir::Operation *, llvm::ArrayRef<RuntimeValue>)> trace;
};

class Evaluator {
public:
  explicit Evaluator(EvaluatorOptions options = {}, ParameterAccess *parameters = nullptr)
      : options(std::move(options)), parameters(parameters) {}

  /// Executes one op. Fails with an error at the op where it cannot be
  /// executed (unknown op, index out of range, division by zero).
  mlir::LogicalResult evaluate(mlir::Operation *op, llvm::ArrayRef<RuntimeValue> operands,
                               llvm::SmallVectorImpl<RuntimeValue> &results);

  /// Executes a function of one block.
  mlir::LogicalResult run(mlir::func::FuncOp func, llvm::ArrayRef<RuntimeValue> arguments,
                          llvm::SmallVectorImpl<RuntimeValue> &results);

private:
  mlir::LogicalResult runComposite(mlir::Operation *op, llvm::ArrayRef<RuntimeValue> operands,
                                   llvm::SmallVectorImpl<RuntimeValue> &results);
  mlir::LogicalResult runGeneric(mlir::Operation *op, llvm::ArrayRef<RuntimeValue> operands,
                                 llvm::SmallVectorImpl<RuntimeValue> &results);
  mlir::LogicalResult runBlock(mlir::Block &block, llvm::ArrayRef<RuntimeValue> arguments,
                               llvm::SmallVectorImpl<RuntimeValue> &results);

  EvaluatorOptions options;
  ParameterAccess *parameters;
  /// Whether an op's decomposition is executed, which takes no time besides the op's own.
  bool inComposite = false;
  /// Decompositions by what determines them: the op's name, attributes and
  /// types. (Not by the op itself: another op may get its address.)
  std::map<std::vector<const void *>, mlir::OwningOpRef<mlir::ModuleOp>> decompositions;
};

/// The op's results as attributes (DenseElementsAttr for tensors, FloatAttr and
/// IntegerAttr for scalars) where all its operands are constants; nothing where
/// one is not, where the op touches parameters, or where it cannot be executed.
std::optional<llvm::SmallVector<mlir::Attribute>> foldConstant(mlir::Operation *op);

/// The same with the operands given as attributes, null for an unknown one.
std::optional<llvm::SmallVector<mlir::Attribute>>
foldConstant(mlir::Operation *op, llvm::ArrayRef<mlir::Attribute> operands);

} // namespace moire::interp

#endif // MOIRE_INTERP_EVALUATOR_H
