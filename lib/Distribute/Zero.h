//===- Zero.h - State, gradients and parameters in pieces ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_DISTRIBUTE_ZERO_H
#define MOIRE_LIB_DISTRIBUTE_ZERO_H

#include "moire/Distribute/Passes.h"

namespace moire::distribute {

/// Every read of a parameter of which a rank holds a piece (zero 3) becomes a read of
/// the piece and the gathers that its uses need: one before the first of uses that are
/// near each other. Uses are near if what is gathered between them is smaller than the
/// parameter.
void gatherReads(mlir::func::FuncOp microStep);

} // namespace moire::distribute

#endif // MOIRE_LIB_DISTRIBUTE_ZERO_H
