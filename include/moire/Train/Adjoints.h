//===- Adjoints.h - Derivatives of the upstream ops ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TRAIN_ADJOINTS_H
#define MOIRE_TRAIN_ADJOINTS_H

#include "mlir/IR/DialectRegistry.h"

namespace moire::train {

/// Attaches nn::DifferentiableOpInterface to the arith and math ops on float
/// tensors. Conventions at kinks are PyTorch's: relu'(0) = 0, a clamp passes
/// the cotangent at its bounds, two operands that tie share it, |x|' = 0 at 0.
void registerDifferentiableExternalModels(mlir::DialectRegistry &registry);

} // namespace moire::train

#endif // MOIRE_TRAIN_ADJOINTS_H
