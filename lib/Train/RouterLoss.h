//===- RouterLoss.h - Losses that keep routers balanced ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TRAIN_ROUTERLOSS_H
#define MOIRE_LIB_TRAIN_ROUTERLOSS_H

#include "dialects/nn/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace moire::train {

/// A choice of experts by scores: an nn.router, or an nn.top_k whose weights are looked
/// up among scores, such as DeepSeek-V3's choice among groups of experts.
struct Router {
  mlir::Value logits; ///< [T, E]
  mlir::Value ids;    ///< [T, K]
  mlir::Value bias;   ///< [E], added to the scores for the choice; null: none
  nn::Scoring scoring;

  int64_t experts() const { return mlir::cast<mlir::RankedTensorType>(logits.getType()).getDimSize(1); }
  int64_t k() const { return mlir::cast<mlir::RankedTensorType>(ids.getType()).getDimSize(1); }
};

/// The routers of a function, in order. Fails with a sentence that names `flag`
/// where there is none, or where pairs are routed by ids that no router gives.
mlir::FailureOr<llvm::SmallVector<Router>> findRouters(mlir::func::FuncOp func,
                                                             llvm::StringRef flag);

/// What `auxWeight` and `zWeight` (0: absent) add to the mean loss of one
/// micro-batch of T tokens, over all routers, as this rank's share: the ranks' sum
/// is the whole. A scalar of type f32, or f64 where logits are.
///
///     aux: E Σ_e f_e P_e   f_e = pairs of expert e / (T k), no derivative;
///                          P_e = mean over tokens of e's share of the scores
///     z:   mean over tokens of logsumexp(logits)²
///
/// f: Fedus et al., Switch Transformers, 2021, for k choices as in DeepSeek-AI,
/// DeepSeek-V3, 2024, whose scores are sigmoids divided by their sum. z: Zoph et
/// al., ST-MoE, 2022.
mlir::Value buildRouterLosses(mlir::OpBuilder &builder, llvm::ArrayRef<Router> routers,
                              double auxWeight, double zWeight);

} // namespace moire::train

#endif // MOIRE_LIB_TRAIN_ROUTERLOSS_H
