//===- RunPasses.h - Passes that leave behind how they failed ---*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SUPPORT_RUNPASSES_H
#define MOIRE_SUPPORT_RUNPASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"

namespace moire {

/// The exit code of a tool that failed by a fault of its own.
constexpr int kCompilerFailed = 2;

/// Runs `passes`. A pass that refuses what it was given fails with a sentence in the context's
/// diagnostics, and so does this function. All else is the compiler's own fault: a signal, IR that
/// does not verify, a failure without a sentence, a `verify-` pass that finds something. What
/// the passes were given is then written with the passes' names to moire-crash-XXXXXX.mlir in
/// the current folder (`moire-opt FILE --run-reproducer` runs it again), a sentence on stderr
/// says so, and the process ends with kCompilerFailed, since after a signal nothing in
/// memory can be trusted. `reproducer`: the file to write instead, and that for a refusal, too.
/// One PassManager at a time in a process.
mlir::LogicalResult runPasses(mlir::PassManager &passes, mlir::ModuleOp module,
                              llvm::StringRef reproducer = {});

} // namespace moire

#endif // MOIRE_SUPPORT_RUNPASSES_H
