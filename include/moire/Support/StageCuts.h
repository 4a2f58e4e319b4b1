//===- StageCuts.h - Where a user or a file wants a model cut ---*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SUPPORT_STAGECUTS_H
#define MOIRE_SUPPORT_STAGECUTS_H

#include "llvm/ADT/StringRef.h"

namespace moire {

/// Module attribute of what the import found, a dictionary:
///     moire.stage_cuts = {said = "--stages 8,8",
///                         cuts = [{after = "model.layers.7", nodes = ["node_add_3", "call/"]}]}
/// `said` is for sentences. Each cut lies behind the op that makes the largest tensor which leaves
/// the ops of `nodes`, names of ONNX nodes; one that ends in a slash stands for all names that
/// begin so. Pass cut-stages takes it; without it the cost model decides.
inline constexpr llvm::StringLiteral kStageCutsAttr = "moire.stage_cuts";

/// Module attribute that pass cut-stages leaves, of each cut the last ONNX nodes that are wholly before
/// it and the first that are wholly behind it:
///     moire.stage_ends = [{before = ["node_add_2", "node_add_3"], behind = ["node_mul"]}]
/// Where it is there before, and no moire.stage_cuts, the pass cuts between these nodes: so the
/// programs of other sequence lengths, whose ops need not be the same, are cut as the first one was.
inline constexpr llvm::StringLiteral kStageEndsAttr = "moire.stage_ends";

} // namespace moire

#endif // MOIRE_SUPPORT_STAGECUTS_H
