//===- TensorChoice.h - Which weights the ranks of tp share --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_DISTRIBUTE_TENSORCHOICE_H
#define MOIRE_LIB_DISTRIBUTE_TENSORCHOICE_H

#include "Shard.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"

namespace moire::distribute {

/// The split of each parameter that is split.
using ParameterShards = llvm::DenseMap<mlir::StringAttr, Shard>;

/// Chooses from the structure of the forward part of `step`:
///
/// * A product whose left operand can be had split over its inner dim, because
///   everything up to the products before it works on each piece by itself, takes its
///   weight by rows, and those before theirs by columns (Shoeybi et al., Megatron-LM,
///   2019, section 3). With attention in between, pieces are heads; with a slice of a
///   fused weight's product, its blocks are cut each by itself.
/// * The logits of a cross-entropy, and a table of tokens, are split over the
///   vocabulary (`tokens` rows).
///
/// What does not divide by `ranks` is not chosen, but for heads of attention, which
/// are an error at `step`'s attention op.
mlir::FailureOr<ParameterShards> chooseTensorShards(mlir::func::FuncOp step, int64_t ranks,
                                                    int64_t tokens);

} // namespace moire::distribute

#endif // MOIRE_LIB_DISTRIBUTE_TENSORCHOICE_H
