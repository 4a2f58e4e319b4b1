//===- Passes.h - Raising: from the exporters' ops to whole concepts -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RAISE_PASSES_H
#define MOIRE_RAISE_PASSES_H

#include "dialects/nn/NN.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace moire::raise {

#define GEN_PASS_DECL
#include "lib/Raise/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "lib/Raise/Passes.h.inc"

/// nn -> nn on static shapes: the passes of this folder in their order, with
/// the clean-ups between them.
void buildRaisePipeline(mlir::OpPassManager &pm);
/// Makes the pipeline known to moire-opt as `--raise`.
void registerRaisePipeline();

} // namespace moire::raise

#endif // MOIRE_RAISE_PASSES_H
