//===- NNPasses.h - Passes that stay inside the nn dialect ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_NN_NNPASSES_H
#define MOIRE_DIALECTS_NN_NNPASSES_H

#include "mlir/Pass/Pass.h"

namespace moire::nn {
#define GEN_PASS_DECL
#include "dialects/nn/NNPasses.h.inc"
#define GEN_PASS_REGISTRATION
#include "dialects/nn/NNPasses.h.inc"
} // namespace moire::nn

#endif // MOIRE_DIALECTS_NN_NNPASSES_H
