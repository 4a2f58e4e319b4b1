//===- NNRows.h - Ops that treat each entry of the first dim alike -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_NN_NNROWS_H
#define MOIRE_DIALECTS_NN_NNROWS_H

#include "dialects/nn/NN.h"

namespace moire::nn {

/// The first size of a tensor; -1 for another type and for rank 0.
int64_t firstSize(mlir::Value value);

/// Whether entry i of each result's first dim depends on the entries i of the
/// operands' first dim alone.
bool treatsRowsAlike(mlir::Operation *op);

} // namespace moire::nn

#endif // MOIRE_DIALECTS_NN_NNROWS_H
