//===- AttentionMask.h - What a mask hides, taken apart ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_RAISE_ATTENTIONMASK_H
#define MOIRE_LIB_RAISE_ATTENTIONMASK_H

#include "moire/Raise/Symbolic.h"

namespace moire::raise {

/// Collects what was done to scores [B, H, Sq, Skv] before their softmax, and
/// gives it as nn.attention's causal flag and mask.
class AttentionMask {
public:
  /// `guarded`: rows in which everything is hidden give 0, whatever hides.
  AttentionMask(Symbols &symbols, mlir::Type element, llvm::ArrayRef<int64_t> scores,
                bool guarded)
      : symbols(symbols), element(element), scores(scores), guarded(guarded) {}

  /// `factor` * `id` was added to the scores.
  void add(Symbols::Id id, double factor);
  /// Scores were replaced by `fill` where `id` is false.
  void require(Symbols::Id id, double fill);

  /// Whether nn.attention can say it; then `causal` and `mask` (null: none)
  /// are set. Ops are built only on success.
  bool build(mlir::OpBuilder &builder, mlir::Location loc, bool &causal, mlir::Value &mask);

private:
  using Id = Symbols::Id;
  /// Hides where `id` is false, by the number `fill`.
  struct Condition {
    Id id;
    double fill;
  };
  struct Addend {
    Id id;
    double factor;
  };
  void split(Id id, double factor, llvm::SmallVectorImpl<Condition> &conditions,
             llvm::SmallVectorImpl<Addend> &rest);
  void conjuncts(Id id, llvm::SmallVectorImpl<Id> &out);
  bool isCausal(Id id) const;
  bool seesItself(Id id) const;
  llvm::SmallVector<int64_t> shapeFor(llvm::ArrayRef<Id> ids) const;
  Id combine(llvm::StringRef name, mlir::Type type, llvm::ArrayRef<Id> ids);

  Symbols &symbols;
  mlir::Type element;
  llvm::SmallVector<int64_t> scores;
  bool guarded;
  llvm::SmallVector<Addend> added;
  llvm::SmallVector<Condition> required;
};

} // namespace moire::raise

#endif // MOIRE_LIB_RAISE_ATTENTIONMASK_H
