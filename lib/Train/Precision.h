//===- Precision.h - What is computed and stored in which type -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Mixed precision as data. A policy names the type of an op's operands; the rules
// say which operands those are and how the results are stored. Whatever has no
// rule computes and stores float32: statistics of norms, softmax, routers,
// reductions, the residual stream, gradients and their sums. This is PyTorch's
// autocast, but for products that are only added to a float32 tensor, which are
// not rounded before.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TRAIN_PRECISION_H
#define MOIRE_LIB_TRAIN_PRECISION_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include <optional>
#include <string>

namespace moire::train {

/// The type in which ops that have a rule take their operands.
struct PrecisionPolicy {
  llvm::StringRef name; ///< of --precision
  mlir::Type (*compute)(mlir::MLIRContext *);
};
llvm::ArrayRef<PrecisionPolicy> precisionPolicies();
/// Null where no policy has this name.
const PrecisionPolicy *findPrecisionPolicy(llvm::StringRef name);

/// How an op stores what it computes from narrow operands.
enum class Stored {
  rounded, ///< a float32 sum, rounded once all is added that a kernel adds with it
  own,     ///< its first result is narrow; others (log-sum-exp) are float32
  wide     ///< float32
};

struct PrecisionRule {
  llvm::StringRef op;
  llvm::ArrayRef<unsigned> operands; ///< taken in the policy's type
  Stored stored;
};
/// Null for an op that computes in float32 under every policy.
const PrecisionRule *findPrecisionRule(mlir::Operation *op);

} // namespace moire::train

#endif // MOIRE_LIB_TRAIN_PRECISION_H
