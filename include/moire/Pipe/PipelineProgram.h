//===- PipelineProgram.h - Stages, their functions and their schedule -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_PIPE_PIPELINEPROGRAM_H
#define MOIRE_PIPE_PIPELINEPROGRAM_H

#include "dialects/pipe/PipeSchedule.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/MapVector.h"

namespace moire::pipe {

/// What an argument or result of a stage's function is; see pass cut-stages.
inline constexpr llvm::StringLiteral kInputAttr = "pipe.input", kOutputAttr = "pipe.output",
                                     kInputCotangentAttr = "pipe.input_cotangent",
                                     kOutputCotangentAttr = "pipe.output_cotangent",
                                     kResidualAttr = "pipe.residual", kLossAttr = "pipe.loss";

/// Of a function that does two tasks at once: the symbols of their functions. Its arguments and
/// results are theirs, one after the other's; those of the second one have kSecondAttr, and so has
/// what in the body is done for the second one alone.
inline constexpr llvm::StringLiteral kPairAttr = "pipe.pair", kSecondAttr = "pipe.second";
/// Its name.
std::string pairName(mlir::func::FuncOp first, mlir::func::FuncOp second);

/// Of a stage whose functions are another one's: [parameter in them] → the stage's own, and
/// [ONNX node in their locations] → the stage's own; see pass share-stages.
inline constexpr llvm::StringLiteral kParametersAttr = "pipe.parameters", kNodesAttr = "pipe.nodes";

/// One of these attributes: `role` is one of the names above, empty for an argument of the
/// micro-batch.
struct Port {
  llvm::StringRef role;
  int64_t number = 0;
  bool second = false; ///< of the second task of a pair
  bool operator==(const Port &other) const {
    return role == other.role && number == other.number && second == other.second;
  }
  bool operator<(const Port &other) const {
    return std::tie(role, number, second) < std::tie(other.role, other.number, other.second);
  }
};
Port argumentPort(mlir::func::FuncOp func, unsigned i);
Port resultPort(mlir::func::FuncOp func, unsigned i);

/// A program in stages, read from its module.
class PipelineProgram {
public:
  /// Fails with a located error where stages do not fit together: what one sends is not what
  /// the next takes, or a function takes what none before it gives.
  static mlir::FailureOr<PipelineProgram> read(mlir::ModuleOp module);
  /// Whether the module is such a program.
  static bool isIn(mlir::ModuleOp module);

  /// A schedule, which is done once over its micro-batches.
  struct Round {
    ScheduleOp op;
    scheduling::Problem problem;
    scheduling::Schedule schedule;
    int64_t microBatches() const { return problem.totalMicroBatches(); }
    /// Number of a path's micro-batch among all of the round.
    int64_t microBatch(int path, int number) const;
  };
  /// One, or one for each number of micro-batches that the batch ramp has. All place the stages on
  /// the same ranks.
  llvm::SmallVector<Round, 1> rounds;
  scheduling::Ramp ramp;             ///< empty where all steps do the one round
  llvm::SmallVector<StageOp> stages; ///< by index

  int numStages() const { return static_cast<int>(stages.size()); }
  int numRanks() const { return rounds[0].problem.ranks; }
  /// [path][stage] → rank.
  const std::vector<std::vector<int>> &rankOf() const { return rounds[0].problem.rankOf; }
  /// The round of so many micro-batches: its index, which there must be.
  int64_t roundOf(int64_t microBatches) const;
  /// What the ranks do in all rounds.
  void forEachAction(llvm::function_ref<void(const scheduling::Action &)> look) const;

  mlir::func::FuncOp functionOf(const scheduling::Task &task) const;
  /// The parameter that `name` is in the functions of a stage, which may be another one's.
  mlir::StringAttr parameterOf(int64_t stage, mlir::StringAttr name) const;
  /// The same of an ONNX node in their locations.
  mlir::StringAttr nodeOf(int64_t stage, mlir::StringAttr name) const;
  /// The first stage that has the functions of this one.
  int64_t originalOf(int64_t stage) const;
  /// Those of a stage that a schedule runs: forward, backward, backward_input, backward_weight.
  llvm::SmallVector<mlir::func::FuncOp> functionsOf(StageOp stage) const;
  /// The function that does both tasks of an action at once; null where there is none.
  mlir::func::FuncOp pairOf(const scheduling::Action &action) const;
  /// A function of two tasks that a schedule runs, and the stages of these.
  struct Pair {
    mlir::func::FuncOp func;
    int first, second;
  };
  /// In the order in which the ranks of the rounds name them first.
  llvm::SmallVector<Pair> pairs() const;
  /// The first stage's forward: its first arguments are those of a micro-batch.
  mlir::func::FuncOp first() const;
  /// How many of the first arguments of all functions are the micro-batch's.
  unsigned microBatchArguments() const;

  /// Where a parameter is accumulated: by the stage's micro-batches of a path.
  struct Copy {
    int path, stage, rank;
  };
  /// In the order in which they are added: paths, in each of them stages.
  llvm::SmallVector<Copy> copiesOf(mlir::StringAttr parameter) const;
  /// Whether its gradient has to be added up, or told: there are several copies, or holders that
  /// only read it.
  bool sumsCopies(mlir::StringAttr parameter) const {
    const size_t copies = copiesOf(parameter).size();
    return copies > 1 || (copies == 1 && holdersOf(parameter).size() > 1);
  }
  /// The ranks of pp whose stages read or accumulate a parameter, ascending; rank 0 where none
  /// does.
  llvm::SmallVector<int> holdersOf(mlir::StringAttr parameter) const;

private:
  mlir::LogicalResult readRounds();
  mlir::LogicalResult checkStage(int64_t stage);
  mlir::LogicalResult checkFunctions(int64_t stage);
  mlir::LogicalResult checkParameters(int64_t stage);

  mlir::ModuleOp module;
  llvm::DenseMap<mlir::StringAttr, llvm::SmallVector<int>> readers, accumulators;
  llvm::DenseMap<mlir::Attribute, mlir::func::FuncOp> functions;
};

} // namespace moire::pipe

#endif // MOIRE_PIPE_PIPELINEPROGRAM_H
