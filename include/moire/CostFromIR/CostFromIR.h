//===- CostFromIR.h - What an ONNX model costs, from its IR ----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_COSTFROMIR_COSTFROMIR_H
#define MOIRE_COSTFROMIR_COSTFROMIR_H

#include "moire/CostModel/Model.h"
#include "moire/Pipelines/Pipelines.h"

namespace moire {

/// A model that was compiled to be costed, at one shape of the micro-batch.
struct ImportedCost {
  cost::ModelCost model;
  int64_t tokens = 0;         ///< of one micro-batch; all of `model` is per token
  int64_t forwardFlops = 0;   ///< of one micro-batch, causal attention counted whole
  int64_t parameterBytes = 0; ///< of all parameters in float32, each once
  int64_t keptBytes = 0;      ///< what lives from forward to backward
  int64_t arenaBytes = 0;     ///< what the program's memory plan takes for one micro-batch
};

/// Compiles `options.model` up to its memory plan and costs it. The parts are the model's layers:
/// it is cut where one tensor alone crosses, before each attention. Products and attention are
/// those of the model phase; kept and moved bytes those of the planned program's forward. Which
/// products tp divides by columns and which by rows follows from what they read and where they go.
/// Errors go to the context's diagnostics; nothing is returned then.
std::optional<ImportedCost> importCost(const CompileOptions &options, mlir::MLIRContext &context);

} // namespace moire

#endif // MOIRE_COSTFROMIR_COSTFROMIR_H
