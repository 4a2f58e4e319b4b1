//===- NNBalance.h - How full experts are --------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_NN_NNBALANCE_H
#define MOIRE_DIALECTS_NN_NNBALANCE_H

#include "dialects/nn/NN.h"

#define GET_OP_CLASSES
#include "dialects/nn/NNBalanceOps.h.inc"

namespace moire::nn {

/// ceil(factor * pairs / experts), where a product that is whole but for its
/// rounding counts as whole. At most `pairs`.
int64_t capacityOf(double factor, int64_t pairs, int64_t experts);

} // namespace moire::nn

#endif // MOIRE_DIALECTS_NN_NNBALANCE_H
