//===- Gradients.h - The pipe dialect: sums beside reduce_grads --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_DIALECTS_PIPE_GRADIENTS_H
#define MOIRE_DIALECTS_PIPE_GRADIENTS_H

#include "dialects/pipe/Pipe.h"

#define GET_OP_CLASSES
#include "dialects/pipe/GradientOps.h.inc"

#endif // MOIRE_DIALECTS_PIPE_GRADIENTS_H
