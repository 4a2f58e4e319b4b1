//===- Folds.h - Additions that library kernels take along ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A bias after a matmul, the residual sum before a normalization, the residual
// path's cotangent after a normalization's gradient, sums of products, the sum
// of a parameter's cotangents and the gradient of the loss need no statement of their own: the
// runtime's kernels do them in the pass that they make anyway. Pass `fuse`
// leaves such additions alone; pass `program` folds them.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_PROGRAM_FOLDS_H
#define MOIRE_LIB_PROGRAM_FOLDS_H

#include "dialects/nn/NN.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"

namespace moire::program {

struct Folds {
  explicit Folds(mlir::func::FuncOp func);

  /// matmul + broadcast(bias), by the addition, or by the rounding to bf16 of its
  /// sum alone.
  struct Bias {
    nn::MatmulOp matmul;
    mlir::Value bias;
  };
  llvm::DenseMap<mlir::Operation *, Bias> bias;
  /// The addition whose sum a normalization reads first, by the normalization.
  llvm::DenseMap<mlir::Operation *, mlir::arith::AddFOp> residual;
  /// norm_grad.d_input + other, by the gradient op.
  struct GradResidual {
    mlir::arith::AddFOp add;
    mlir::Value other;
  };
  llvm::DenseMap<mlir::Operation *, GradResidual> gradResidual;
  /// other + matmul, by the addition: the product is added to the other summand.
  struct ProductSum {
    nn::MatmulOp matmul;
    mlir::Value other;
  };
  llvm::DenseMap<mlir::Operation *, ProductSum> productSum;
  /// rows + per_expert(values), by the addition; by a product that takes the values along also
  /// by the rounding to bf16 of its sum alone.
  struct ExpertBias {
    mlir::Value rows;
    nn::PerExpertOp perExpert;
    nn::GroupedMatmulOp product; ///< which makes the rows, or null
  };
  llvm::DenseMap<mlir::Operation *, ExpertBias> expertBias;
  /// cross_entropy and its gradient in one pass, by the forward op.
  struct Loss {
    nn::CrossEntropyGradOp grad;
    mlir::Value cotangent; ///< one value for all rows: tensor<f32>
  };
  llvm::DenseMap<mlir::Operation *, Loss> loss;
  /// Additions of a parameter's cotangents: each is accumulated by itself.
  llvm::DenseSet<mlir::Operation *> gradientSums;

  /// Where a folded op's work is done; an op that is not folded: itself.
  mlir::Operation *anchor(mlir::Operation *op) const {
    auto it = anchors.find(op);
    return it == anchors.end() ? op : it->second;
  }
  /// Folded additions, which must stay single ops.
  bool keeps(mlir::Operation *op) const { return kept.contains(op); }

private:
  llvm::DenseMap<mlir::Operation *, mlir::Operation *> anchors;
  llvm::DenseSet<mlir::Operation *> kept;
  llvm::DenseMap<mlir::Operation *, int64_t> order;

  void fold(mlir::Operation *op, mlir::Operation *into);
  /// The addition, or the rounding to bf16 of its sum alone where a product of bf16 makes it.
  mlir::Operation *storedBy(mlir::arith::AddFOp add, mlir::Value operand);
  bool matchBias(mlir::arith::AddFOp add);
  bool matchExpertBias(mlir::arith::AddFOp add);
  bool matchResidual(mlir::arith::AddFOp add);
  bool matchGradResidual(mlir::arith::AddFOp add);
  bool matchProductSum(mlir::arith::AddFOp add);
  void matchLoss(nn::CrossEntropyOp op);
  bool definedBefore(mlir::Value value, mlir::Operation *op) const;
};

/// A result that its producer can add to what is there (a matrix product, a sum
/// over rows, a scatter-add into zeros, a norm's parameter gradient).
bool canAccumulate(mlir::Value value);

} // namespace moire::program

#endif // MOIRE_LIB_PROGRAM_FOLDS_H
