//===- HostStatements.h - Micro-steps that compute on the host ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RUNTIME_HOSTSTATEMENTS_H
#define MOIRE_RUNTIME_HOSTSTATEMENTS_H

#include "moire/rt/context.h"

#ifdef MOIRE_CUDA_MODEL
#include "cuda/model/model.h"
#endif

namespace moire::rt::test {

/// What the compiler emits gives a GPU kernels only; a micro-step by hand also reads and writes
/// memory itself. Where it is captured as a graph, `body` is noted as one kernel, with the state of
/// its micro-batch as a kernel has it in its arguments.
inline void hostStatements(Context &ctx, void (*body)(Context &)) {
#ifdef MOIRE_CUDA_MODEL
  if (model::captured) {
    std::vector<const void *> inputs(ctx.inputs, ctx.inputs + ctx.program->numInputs);
    model::captured->push_back([&ctx, body, inputs, state = TaskState(ctx)]() mutable {
      const TaskState now = ctx;
      static_cast<TaskState &>(ctx) = state;
      ctx.inputs = inputs.data();
      body(ctx);
      static_cast<TaskState &>(ctx) = now;
    });
    return;
  }
#endif
  body(ctx);
}

} // namespace moire::rt::test

#endif // MOIRE_RUNTIME_HOSTSTATEMENTS_H
