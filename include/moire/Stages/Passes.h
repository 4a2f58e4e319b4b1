//===- Passes.h - From a micro-batch's program to stages of a pipeline ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_STAGES_PASSES_H
#define MOIRE_STAGES_PASSES_H

#include "dialects/dist/Dist.h"
#include "dialects/nn/NN.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "moire/Pipe/PipelineProgram.h"
#include <string>

namespace moire::stages {

#define GEN_PASS_DECL
#include "lib/Stages/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "lib/Stages/Passes.h.inc"

/// What a user asks of the stages phase; moirec's flags of the same names.
struct StagesOptions {
  std::string schedule = "1f1b"; ///< as scheduling::parseKind reads it
  int64_t ranks = 1;             ///< of pp
  int64_t microBatches = 0;      ///< of a rank and step; 0: as the module's pipe.batch_ramp says
  std::string rates;             ///< of overlap::Rates::parse
  bool join = false;             ///< tasks beside each other on a rank, see pipe-schedule
};

/// Phase `stages`: the training step of each rank ~~> stages and the schedule in which
/// the ranks of pp run them. Only for a mesh with pp.
void buildStagesPipeline(mlir::OpPassManager &passes, const StagesOptions &options);

/// A table of the stages, and the step that the simulator predicts, with the times of ops as they
/// are in this phase. rates: of overlap::Rates::parse.
void explainStages(const pipe::PipelineProgram &program, llvm::StringRef rates,
                   llvm::raw_ostream &os);

/// A module of what was compiled, for moire-plan: the schedule, and stages with their costs as they
/// are in this phase, pairs included: plan.mlir of the output folder. Its attributes are
/// `moire.model`, `moire.mesh`, and `moire.begins`, of each stage the first ONNX node. Times are
/// in seconds, memory in bytes.
std::string planText(const pipe::PipelineProgram &program, llvm::StringRef rates);

} // namespace moire::stages

#endif // MOIRE_STAGES_PASSES_H
