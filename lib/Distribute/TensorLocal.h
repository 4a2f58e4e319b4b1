//===- TensorLocal.h - The values of one rank of the axis tp -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_DISTRIBUTE_TENSORLOCAL_H
#define MOIRE_LIB_DISTRIBUTE_TENSORLOCAL_H

#include "TensorRules.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/DenseMap.h"

namespace moire::distribute {

/// Gives ops local operands and types, with collectives in front of those that take
/// operands in other states than they are in. Ops come in the order of their block.
class TensorLocal {
public:
  TensorLocal(mlir::MLIRContext *context, int64_t ranks);

  /// Notes what a rank holds of a value that is local already; `type` is the whole's.
  void define(mlir::Value value, mlir::RankedTensorType type, const Shard &shard);
  /// Makes `op` local.
  void rewrite(mlir::Operation *op, const Assignment &assignment);
  /// The value in another state, by the collective that this takes.
  mlir::Value convert(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value,
                      const Shard &to);

private:
  struct Whole {
    mlir::RankedTensorType type;
    Shard shard;
  };
  mlir::Value gather(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, const Whole &whole);
  mlir::Value pieces(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, const Shard &to);
  mlir::Value make(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, const Shard &to);
  void adjustIndices(mlir::Operation *op, const Assignment &assignment);
  bool expand(mlir::Operation *op, const Assignment &assignment);

  int64_t ranks;
  mlir::ArrayAttr axes;
  llvm::DenseMap<mlir::Value, Whole> wholes;
  /// The forms of a value that were made.
  llvm::DenseMap<mlir::Value, llvm::SmallVector<std::pair<Shard, mlir::Value>, 1>> made;
};

/// The form over shards of the vocabulary of ops whose table or logits are split: the
/// values for the op's results. Operands are local.
llvm::SmallVector<mlir::Value> expandVocabulary(mlir::OpBuilder &builder, mlir::Operation *op,
                                                mlir::ArrayAttr axes, int64_t ranks);

/// The same for nn.rms_norm and its gradient over a last dim that is split.
llvm::SmallVector<mlir::Value> expandNorm(mlir::OpBuilder &builder, mlir::Operation *op,
                                          mlir::ArrayAttr axes, int64_t ranks);

} // namespace moire::distribute

#endif // MOIRE_LIB_DISTRIBUTE_TENSORLOCAL_H
