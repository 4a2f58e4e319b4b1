//===- TensorRules.h - One rule per op for splits over the axis tp -------===//
//
// A rule says in which states an op takes its operands and gives its results.
// Read forwards (`assign`) it propagates what operands have; read backwards
// (`wants`) it says what operands must have for a result to be split.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_DISTRIBUTE_TENSORRULES_H
#define MOIRE_LIB_DISTRIBUTE_TENSORRULES_H

#include "Shard.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace moire::distribute {

/// In which states an op takes its operands and gives its results.
struct Assignment {
  llvm::SmallVector<Shard> operands, results;
};

struct TensorRules {
  int64_t ranks;
  /// The state in which a value's only reader would best have it: that of the
  /// parameter whose gradient it is. Replicated where nothing is known.
  llvm::function_ref<Shard(mlir::Value)> wanted;

  /// The op's states, given those of its operands. Operands in other states than the
  /// assignment's are converted by collectives. An op without a rule takes and gives
  /// replicated values.
  Assignment assign(mlir::Operation *op, llvm::ArrayRef<Shard> given) const;
};

using Wishes = llvm::SmallVector<std::pair<mlir::Value, Shard>>;

/// What the operands of `result`'s op must be for `result` to be split as `shard`;
/// operands that may stay replicated are not listed. False where the op cannot give it
/// without a collective.
bool wants(mlir::OpResult result, const Shard &shard, int64_t ranks, Wishes &wishes);

//===----------------------------------------------------------------------===//
// Families of ops. Each leaves what is not of it alone and returns false; the
// assignment it gets says replicated everywhere.
//===----------------------------------------------------------------------===//

using Given = llvm::ArrayRef<Shard>;

bool assignElementwise(const TensorRules &rules, mlir::Operation *op, Given given, Assignment &out);
bool assignMovement(const TensorRules &rules, mlir::Operation *op, Given given, Assignment &out);
bool assignProducts(const TensorRules &rules, mlir::Operation *op, Given given, Assignment &out);
bool assignLayers(const TensorRules &rules, mlir::Operation *op, Given given, Assignment &out);
bool assignExperts(const TensorRules &rules, mlir::Operation *op, Given given, Assignment &out);
bool assignVocabulary(const TensorRules &rules, mlir::Operation *op, Given given, Assignment &out);

/// As `wants`; nothing where the op is not of the family.
std::optional<bool> movementWants(mlir::OpResult result, const Shard &shard, int64_t ranks,
                                  Wishes &wishes);
std::optional<bool> productWants(mlir::OpResult result, const Shard &shard, Wishes &wishes);
std::optional<bool> layerWants(mlir::OpResult result, const Shard &shard, Wishes &wishes);
std::optional<bool> expertWants(mlir::OpResult result, const Shard &shard, Wishes &wishes);
std::optional<bool> vocabularyWants(mlir::OpResult result, const Shard &shard, Wishes &wishes);

/// Whether the op works element by element on tensors of its result's shape.
bool isElementwise(mlir::Operation *op);

/// The first split among the given states, or null.
inline const Shard *firstSplit(Given given) {
  for (const Shard &shard : given)
    if (shard.isSplit())
      return &shard;
  return nullptr;
}

/// Sizes of a tensor that is of one.
inline llvm::ArrayRef<int64_t> sizes(mlir::Value value) {
  return mlir::cast<mlir::RankedTensorType>(value.getType()).getShape();
}

} // namespace moire::distribute

#endif // MOIRE_LIB_DISTRIBUTE_TENSORRULES_H
