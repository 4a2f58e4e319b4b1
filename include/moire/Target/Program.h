//===- Program.h - From the exec dialect to a program in C++ -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TARGET_PROGRAM_H
#define MOIRE_TARGET_PROGRAM_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LogicalResult.h"
#include <string>
#include <vector>

namespace moire::target {

enum class TargetKind {
  cpu,
  cuda,
  cudaModel, ///< the CUDA program with its kernels executed on the CPU
};

struct EmitOptions {
  TargetKind target = TargetKind::cpu;
  std::string arch = "sm_90a"; ///< of the GPU, as nvcc names it
  std::string output;  ///< the folder to write
  bool init = false;   ///< the trainer starts from fresh weights
  bool compile = true; ///< also build the trainer
  std::string name;    ///< of the program; empty: the model file's name
  std::string plan;    ///< text of plan.toml; empty: there is none
};

/// What a folder is made of: the module after phase program, and the text of its plan.mlir, empty
/// where there is none.
struct EmitSource {
  mlir::ModuleOp module;
  std::string plan;
};

/// A generated file.
struct SourceFile {
  std::string path; ///< relative to the output folder
  std::string text;
};

/// The C++ of a module in the exec dialect (after phase program): src/kernels.h,
/// src/kernels1.cpp (.cu for CUDA) …, src/program.h, src/program.cpp, src/main.cpp. An op that
/// has no statement is a located error.
mlir::FailureOr<std::vector<SourceFile>> emitSources(mlir::ModuleOp module,
                                                     const EmitOptions &options);

/// The sequence length of a module from phase train on; 0: it has none.
int64_t lengthOf(mlir::ModuleOp module);

/// Writes the output folder: sources, a copy of the runtime, build files, the
/// plan, the parameter table and, unless told otherwise, the trainer; where the
/// CUDA target finds no nvcc, a warning says what to run where there is one. It appears
/// whole or not at all; a folder that Moiré made before is replaced. Returns the
/// exit code: 0, 1 (a module or the folder is wrong), 2 (a compiler
/// failed); errors go to the modules' context as diagnostics.
///
/// Several sources are one model for sequences of several lengths: their parameters must lie alike,
/// and each length must divide the longest and be a multiple of the shortest. Each has its sources
/// in a folder and a namespace of its own, seq128.
int emitProgram(llvm::ArrayRef<EmitSource> sources, const EmitOptions &options);

/// Bytes that the rank of the emitted program which needs most holds: parameters, gradients, the
/// optimizer's state and its arena, as the trainer tells them when it starts.
mlir::FailureOr<int64_t> memoryOfRank(mlir::ModuleOp module, const EmitOptions &options);

/// Registers --exec-to-cpp for moire-translate.
void registerExecToCpp();

} // namespace moire::target

#endif // MOIRE_TARGET_PROGRAM_H
