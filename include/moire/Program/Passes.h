//===- Passes.h - Kernels and the program --------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PROGRAM_PASSES_H
#define MOIRE_PROGRAM_PASSES_H

#include "dialects/exec/Exec.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

namespace moire::program {

/// Of a pipe.stage: bytes of one of its slots.
inline constexpr llvm::StringLiteral kSlotBytesAttr = "exec.slot_bytes";

#define GEN_PASS_DECL
#include "lib/Program/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "lib/Program/Passes.h.inc"

/// Phase `kernels`: elementwise clusters become linalg.generic.
void buildKernelsPipeline(mlir::OpPassManager &pm);
/// Phase `program`: buffers, the arena, statements. logitsLimit: bytes of logits
/// that are stored at once; epilogues: the target's products can do more than add
/// a bias (fuse-epilogues).
void buildProgramPipeline(mlir::OpPassManager &pm, int64_t logitsLimit = 256ll << 20,
                          bool epilogues = false);

} // namespace moire::program

#endif // MOIRE_PROGRAM_PASSES_H
