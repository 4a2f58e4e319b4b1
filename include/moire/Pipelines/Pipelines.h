//===- Pipelines.h - The phases of a compilation, in order ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PIPELINES_PIPELINES_H
#define MOIRE_PIPELINES_PIPELINES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Support/LogicalResult.h"
#include "llvm/ADT/StringRef.h"
#include <string>
#include <vector>

namespace moire {

/// The phases in the order in which they run; --stop-after takes their names.
enum class Phase { import, model, train, distribute, stages, kernels, overlap, program };

llvm::StringRef phaseName(Phase phase);

/// What a user asks of a compilation; the fields are moirec's flags.
struct CompileOptions {
  std::string model;                           ///< the ONNX file
  std::vector<std::string> bind;               ///< "batch=2": sizes of symbolic dims
  std::string loss = "auto";                   ///< auto, next-token, token, class, mse, output:NAME
  std::vector<std::string> aux;                ///< "NAME=WEIGHT": scalar outputs that count
  double auxLoss = 0, zLoss = 0;               ///< weights of the routers' losses
  double capacityFactor = 0;                   ///< slots of all experts / pairs; 0: no limit
  std::string dropOrder = "gshard";            ///< gshard, switch
  double routerBiasRate = 0;                   ///< how far routers' biases move in a step
  std::string optimizer = "adamw";             ///< sgd, adamw
  std::string precision = "f32";               ///< f32, bf16
  std::vector<std::string> precisionOverrides; ///< "REGEX=POLICY" for ops by name
  std::string freeze;                          ///< parameters whose names match are not trained
  std::vector<std::string> groups;             ///< "NAME=REGEX,…": what rests together
  std::string mesh;                            ///< "pp=2,dp=2,ep=4,tp=2"; empty: one rank
  std::string schedule = "1f1b";               ///< of pp: scheduling::parseKind
  int64_t microBatches = 0;                    ///< of pp: a rank's of a step; 0: four for each of pp
  std::string batchRamp;                       ///< of scheduling::parseRamp; empty: none
  std::string stages;                          ///< of pp: where to cut; empty: as the file says
  mlir::Attribute stageEnds; ///< of kStageEndsAttr, where `stages` cuts nowhere; null: none
  std::string placement;                       ///< ONNX file to write with it; empty: none
  std::string configuration; ///< of the file: tensors must be divided as it says; empty: none
  double expertSlots = 0;                      ///< rows that a rank has room for / its pairs; 0: all
  int64_t zero = 0; ///< what dp and ep ranks divide: 1 state, 2 gradients, 3 parameters too
  bool overlap = true;                         ///< collectives run beside computation
  std::string overlapRates;                    ///< of overlap::Rates::parse
  int64_t logitsLimit = 256;                   ///< MiB of logits that are stored at once
  bool richProducts = false;        ///< the target's take GELU and residuals along, and gather rows
  bool init = false;                ///< fresh weights; the weight file may be missing
  Phase stopAfter = Phase::program; ///< the last phase to run
  bool explainOverlap = false;      ///< print timetables of a pipeline's pairs after overlap
  bool explain = false;             ///< print the collectives after distribute
  std::string dumpPhases;           ///< folder for the IR after each phase; empty: none
  std::string crashReproducer;      ///< of runPasses
};

/// Reads the model and runs the phases up to `options.stopAfter`. Errors go to
/// the context's diagnostics, one sentence each; the result is then null. `plan` becomes what
/// stages::planText says after phase overlap, where the mesh has pp.
mlir::OwningOpRef<mlir::ModuleOp> runPhases(const CompileOptions &options,
                                            mlir::MLIRContext &context,
                                            std::string *plan = nullptr);

} // namespace moire

#endif // MOIRE_PIPELINES_PIPELINES_H
