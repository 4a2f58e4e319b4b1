//===- ParameterStore.h - The parameters of a running model --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_INTERP_PARAMETERSTORE_H
#define MOIRE_INTERP_PARAMETERSTORE_H

#include "dialects/pipe/Pipe.h"
#include "moire/Interp/Evaluator.h"
#include "moire/Interp/Ranks.h"
#include "moire/Interp/TensorFiles.h"
#include "moire/Pipe/PipelineProgram.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"

namespace moire::interp {

/// The optimizers' run-time values; the defaults are PyTorch's.
struct HyperParameters {
  double rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  /// Nothing: 0.01 for AdamW, 0 for SGD.
  std::optional<double> decay;
  bool decayMatricesOnly = false;
  double momentum = 0;
  /// Largest norm of all gradients together; 0: no clipping.
  double clip = 0;
};

/// Values, gradients and moments of the module's parameters; executes the pipe
/// dialect's ops on them. What another rank owns (zero) is NaN, so that nobody reads it.
class ParameterStore : public ParameterAccess {
public:
  struct Parameter {
    pipe::ParameterOp op;
    Tensor value;                   ///< of the op's held type
    std::optional<Tensor> gradient; ///< of its gradient type; nothing before the first accumulate
    std::optional<Tensor> first;    ///< AdamW's first moment, SGD's momentum; its shard or piece
    std::optional<Tensor> second;   ///< AdamW's second moment
    /// Of a pipeline: what each of its copies has accumulated, by its number.
    std::map<int, Tensor> copies = {};
  };

  explicit ParameterStore(bool f64) : f64(f64) {}

  /// What one rank holds of `whole`. program: the stages that it holds, null where there are none.
  ParameterStore(const ParameterStore &whole, const Membership &membership,
                 const pipe::PipelineProgram *program = nullptr);

  /// Reads every parameter of the module from its sources, whose files lie in
  /// `folder`. With `init`, fills them by their init attributes instead.
  mlir::LogicalResult load(mlir::ModuleOp module, llvm::StringRef folder);
  mlir::LogicalResult init(mlir::ModuleOp module, uint64_t seed);

  mlir::LogicalResult evaluate(mlir::Operation *op, llvm::ArrayRef<RuntimeValue> operands,
                               llvm::SmallVectorImpl<RuntimeValue> &results) override;

  void zeroGradients();
  /// Before a @micro_step: whether it is the step's last, in which sums of gradients
  /// may begin (pipe.start_reduce).
  void beginMicroBatch(bool last) { inLastMicroBatch = last; }
  /// Before a task of a pipeline: which copy of each parameter accumulates.
  /// second: of what bears pipe.second.
  void beginTask(int copy, int second = -1) {
    current = copy;
    currentSecond = second;
  }
  /// After the last micro-batch. What has one copy is whole; pipe.sum_copies adds up the others.
  void finishTasks();
  /// Before an @optimizer_step: steps count from 1; `norm` is that of all gradients
  /// together.
  void beginUpdate(const HyperParameters &hyper, int64_t step, double norm);

  const llvm::MapVector<mlir::StringAttr, Parameter> &getParameters() const { return parameters; }

private:
  void addTo(Tensor &sum, const Tensor &addend) const;
  /// Of a pipe.sum_copies, the time.
  mlir::LogicalResult passCopies(mlir::Operation *op);
  mlir::LogicalResult sumCopies(mlir::Operation *op, mlir::StringAttr name);
  /// The copy that `op` accumulates in; -1: there is one.
  int copyOf(mlir::Operation *op) const;
  /// What the parameter that `op` names is in the stage that runs.
  mlir::StringAttr nameFor(mlir::Operation *op, mlir::StringAttr name) const;
  /// The elements of its shard that this rank owns: [begin, end).
  std::pair<int64_t, int64_t> ownedOf(pipe::ParameterOp op) const;
  /// pipe.reduce_grads and pipe.gather; `starts` as in Clock::transfer.
  mlir::LogicalResult move(mlir::Operation *op, mlir::Operation *starts);
  void update(Parameter &parameter, pipe::UpdateOp op);

  bool f64;
  const Membership *membership = nullptr; ///< null: there is one rank
  llvm::MapVector<mlir::StringAttr, Parameter> parameters;
  /// Sums of gradients that this step's last micro-batch has begun.
  llvm::DenseSet<mlir::Operation *> started;
  bool inLastMicroBatch = false;
  const pipe::PipelineProgram *program = nullptr;
  int currentSecond = -1;
  int current = -1; ///< the copy that accumulates; -1: there is one
  HyperParameters hyper;
  int64_t step = 0;
  double gradientScale = 1; ///< of clipping
};

} // namespace moire::interp

#endif // MOIRE_INTERP_PARAMETERSTORE_H
