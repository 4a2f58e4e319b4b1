//===- Training.h - The interpreter's training loop ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_INTERP_TRAINING_H
#define MOIRE_INTERP_TRAINING_H

#include "moire/Interp/ParameterStore.h"
#include "llvm/ADT/StringMap.h"

namespace moire::interp {

/// The arguments of a function of the model's inputs (@forward) from a folder;
/// inputs that it lacks are filled in: attention_mask with 1, position_ids with
/// 0, 1, 2…, token_type_ids with 0. An error names the input.
mlir::FailureOr<llvm::SmallVector<RuntimeValue>> makeArguments(mlir::func::FuncOp func,
                                                               const DataFolder &data);
struct TrainingOptions {
  HyperParameters hyper;
  /// Micro-batches of a rank and step; of a pipeline or a batch ramp: rounds of those.
  int64_t accumulate = 1;
  bool f64 = false;
  std::optional<Costs> costs; ///< with them, virtual time is counted
  bool timeline = false;      ///< with costs: notes what each rank does
};

struct StepReport {
  int64_t step;        ///< 1 is the first
  double loss;         ///< before this step's update
  double gradientNorm; ///< before clipping
  /// Virtual time by rank, where it is counted. What is no op takes none: counting labels, the
  /// norm.
  std::vector<RankTimes> times = {};
  std::vector<std::vector<Span>> timeline = {}; ///< by rank, where it is noted
  /// Of a pipeline, by rank: the most micro-batches that were in flight at once, each counted in
  /// each of the rank's stages, from its forward to the end of its backward.
  std::vector<int64_t> inFlight = {};

  /// The rank that takes longest; of several the one that computes longest.
  int64_t slowest() const;
};

/// Trains on the ranks of the module's mesh, each in a thread; on one without a mesh.
///
/// Micro-batch a of the rank with coordinates (dp, ep) is number
/// a * DP * EP + dp * EP + ep of the step's, so that a plan and one rank that
/// accumulates see the same data. A module in stages runs its schedule: the ranks of
/// pp see the same micro-batches. With a batch ramp a step takes the first ones of the
/// folder, which has as many as the largest step.
class Training {
public:
  /// `parameters` holds the whole ones; each rank takes its shards. program: of a module in
  /// stages.
  Training(mlir::ModuleOp module, const ParameterStore &parameters, EvaluatorOptions evaluation,
           const TrainingOptions &options, std::optional<pipe::PipelineProgram> program = {});
  ~Training();

  /// Cuts the folder into the micro-batches of the largest step, prepares the labels as the
  /// module's moire.labels says and counts them as moire.count says.
  mlir::LogicalResult prepare(const DataFolder &data);

  /// All micro-batches' forward and backward, the sum of gradients over ranks, and
  /// the optimizer. Afterwards ranks that hold the same shard of a parameter must
  /// hold the same bits: it is an error where they do not.
  mlir::FailureOr<StepReport> runStep();

  /// Whole gradients under PyTorch's names, without the prefix that the module names.
  std::vector<NamedTensor> namedGradients() const;

private:
  struct Rank;

  /// What the scale is of a step with so many micro-batches of a rank.
  void setScale(int64_t microBatches);
  mlir::FailureOr<Tensor> prepareLabels(const Tensor &labels);
  int64_t countLabels(const Tensor &labels);
  /// The gradient of a holder's shard, put together from the pieces that its ranks own.
  std::optional<Tensor> shardGradient(mlir::StringAttr name, int64_t holder) const;
  /// The first rank that holds a parameter.
  int64_t homeOf(pipe::ParameterOp parameter) const;
  double gradientNorm() const;
  mlir::LogicalResult runMicroBatches(Rank &rank, int64_t count);
  mlir::LogicalResult runSchedule(Rank &rank, int64_t count);
  mlir::LogicalResult runOnAllRanks(llvm::StringRef function);
  mlir::LogicalResult checkReplicas();

  mlir::ModuleOp module;
  TrainingOptions options;
  Meetings meetings;
  /// Parameters that accumulate loads of experts instead of gradients.
  llvm::StringMap<double> balanced;
  int64_t shards; ///< ranks with different tokens
  std::optional<pipe::PipelineProgram> program;
  std::vector<pipe::ParameterOp> parameters;    ///< all, in the module's order
  std::vector<std::unique_ptr<Rank>> ranks;
  mlir::func::FuncOp microStep; ///< or the first stage's forward: its arguments are a micro-batch's
  scheduling::Ramp ramp;        ///< one entry where the module has none
  /// By micro-batch of the largest step, over all shards: labels that count.
  std::vector<int64_t> counted;
  std::optional<unsigned> scale; ///< the argument of that role
  int64_t step = 0;
};

} // namespace moire::interp

#endif // MOIRE_INTERP_TRAINING_H
