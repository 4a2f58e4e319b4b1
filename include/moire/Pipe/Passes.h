//===- Passes.h - Schedules of pipelines ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PIPE_PASSES_H
#define MOIRE_PIPE_PASSES_H

#include "dialects/pipe/Pipe.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace moire::pipe {

#define GEN_PASS_DECL
#include "lib/Pipe/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "lib/Pipe/Passes.h.inc"

} // namespace moire::pipe

#endif // MOIRE_PIPE_PASSES_H
