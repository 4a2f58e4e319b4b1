//===- Training.h - The interpreter's training loop ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_INTERP_TRAINING_H
#define MOIRE_INTERP_TRAINING_H

#include "moire/Interp/ParameterStore.h"

namespace moire::interp {

/// The arguments of a function of the model's inputs (@forward) from a folder;
/// inputs that it lacks are filled in: attention_mask with 1, position_ids with
/// 0, 1, 2…, token_type_ids with 0. An error names the input.
mlir::FailureOr<llvm::SmallVector<RuntimeValue>> makeArguments(mlir::func::FuncOp func,
                                                               const DataFolder &data);

struct TrainingOptions {
  HyperParameters hyper;
  int64_t steps = 1;
  int64_t accumulate = 1;
  bool f64 = false;
};

struct StepReport {
  int64_t step; ///< 1 is the first
  double loss;  ///< before this step's update
  double gradientNorm; ///< before clipping
};

/// A module after the phase `train`: @micro_step and @optimizer_step, trained on
/// one fixed batch, `accumulate` micro-batches of it in each step.
class Training {
public:
  Training(mlir::ModuleOp module, ParameterStore &parameters, Evaluator &evaluator,
           const TrainingOptions &options)
      : module(module), parameters(parameters), evaluator(evaluator), options(options) {}

  /// Cuts the folder into micro-batches, prepares the labels as the module's
  /// moire.labels says and counts them as moire.count says.
  mlir::LogicalResult prepare(const DataFolder &data);

  /// All micro-batches' forward and backward, then (with `update`) the optimizer.
  mlir::FailureOr<StepReport> runStep(bool update = true);

private:
  mlir::FailureOr<Tensor> prepareLabels(const Tensor &labels);
  int64_t countLabels(const Tensor &labels);

  mlir::ModuleOp module;
  ParameterStore &parameters;
  Evaluator &evaluator;
  TrainingOptions options;
  mlir::func::FuncOp microStep;
  std::vector<llvm::SmallVector<RuntimeValue>> microBatches;
  int64_t step = 0;
};

} // namespace moire::interp

#endif // MOIRE_INTERP_TRAINING_H
