//===- StageRunner.h - A rank's part of a pipeline's schedule --*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_INTERP_STAGERUNNER_H
#define MOIRE_LIB_INTERP_STAGERUNNER_H

#include "moire/Interp/ParameterStore.h"
#include "moire/Pipe/PipelineProgram.h"
#include <optional>

namespace moire::interp {

/// Does what the schedule says for one rank of pp, action after action. Messages wait for
/// nobody: that ranks do not wait in a circle is for the schedule's verifier to prove.
class StageRunner {
public:
  using Arguments = llvm::SmallVector<RuntimeValue>;

  StageRunner(const pipe::PipelineProgram &program, const Membership &membership,
              Evaluator &evaluator, ParameterStore &parameters)
      : program(program), membership(membership), evaluator(evaluator), parameters(parameters) {}

  /// Runs a schedule of the program once over its micro-batches. `losses` gets those that this rank
  /// computes.
  mlir::LogicalResult run(const pipe::PipelineProgram::Round &round,
                          llvm::ArrayRef<Arguments> microBatches,
                          llvm::MutableArrayRef<std::optional<double>> losses);

  /// The most micro-batches whose stages had kept something at one time in the last run.
  int64_t mostInFlight() const { return most; }

private:
  mlir::LogicalResult take(const scheduling::Task &task, llvm::ArrayRef<Arguments> microBatches,
                           Arguments &arguments);
  /// second: of two in one function.
  void give(const scheduling::Task &task, bool second, llvm::ArrayRef<RuntimeValue> results,
            llvm::MutableArrayRef<std::optional<double>> losses);
  /// The rank that has a stage of a path and this rank's other coordinates.
  int64_t rankOf(int path, int stage) const;

  const pipe::PipelineProgram &program;
  const Membership &membership;
  Evaluator &evaluator;
  ParameterStore &parameters;
  const pipe::PipelineProgram::Round *round = nullptr; ///< that runs
  /// What a micro-batch has left in a stage, by (path, stage, micro-batch).
  using Place = std::tuple<int, int, int>;
  std::map<Place, std::map<pipe::Port, RuntimeValue>> kept;
  int64_t most = 0;
};

} // namespace moire::interp

#endif // MOIRE_LIB_INTERP_STAGERUNNER_H
