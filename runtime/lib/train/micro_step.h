//===- micro_step.h - A micro-step without graphs ---------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RT_TRAIN_MICRO_STEP_H
#define MOIRE_RT_TRAIN_MICRO_STEP_H

#include "moire/rt/gradients.h"
#include "moire/rt/optimizer.h"

namespace moire::rt {

/// Starts the program's micro-step number ctx.microBatch and, after the last one of a step, the sums
/// over all ranks and the update. runMicroStep() is this, on a GPU by a graph where there is one.
inline void startMicroStep(Context &ctx, bool last) {
  if (ctx.first() && ctx.program->prepare)
    ctx.program->prepare(ctx);
  ctx.last = last;
  ctx.program->microStep(ctx);
  if (last && ctx.comm) {
    node(ctx, "sums of gradients");
    reduceStep(ctx);
  }
  if (last) {
    node(ctx, "update");
    endStep(ctx);
  }
}

} // namespace moire::rt

#endif // MOIRE_RT_TRAIN_MICRO_STEP_H
