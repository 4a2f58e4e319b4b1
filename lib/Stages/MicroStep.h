//===- MicroStep.h - Forward and backward of a micro-batch -----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_STAGES_MICROSTEP_H
#define MOIRE_LIB_STAGES_MICROSTEP_H

#include "moire/Overlap/OpCost.h"
#include "moire/Stages/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace moire::stages {

/// The ops of @micro_step, by what they are for.
struct MicroStep {
  explicit MicroStep(mlir::func::FuncOp func);

  mlir::func::FuncOp function() const { return func; }
  /// What depends on inputs alone or on parameters alone: any stage makes it for itself.
  llvm::DenseSet<mlir::Operation *> free;
  /// The others that the loss needs, in an order in which they can be done; then all the rest, which the gradients need.
  llvm::SmallVector<mlir::Operation *> forward, backward;
  llvm::DenseMap<mlir::Operation *, size_t> position; ///< in forward

  bool isFree(mlir::Value value) const {
    return !value.getDefiningOp() || free.contains(value.getDefiningOp());
  }
  bool isForward(mlir::Value value) const {
    return value.getDefiningOp() && position.count(value.getDefiningOp());
  }

private:
  mlir::func::FuncOp func;
};

/// [stage] → one past its last op in MicroStep::forward. Cuts where one large tensor crosses (and
/// others that have together no more than an eighth of its elements), so that the longest
/// stage is as short as it can be. Fails, with a diagnostic, where there are fewer such places.
mlir::FailureOr<std::vector<size_t>> chooseCuts(const MicroStep &step, int64_t stages,
                                                const overlap::Rates &rates);

/// The same where moire.stage_cuts names the cuts. Fails, with a diagnostic, where there are not
/// `stages` - 1 of them, one is not where a tensor crosses, or they are not in order.
mlir::FailureOr<std::vector<size_t>> readCuts(const MicroStep &step, int64_t stages,
                                              mlir::DictionaryAttr given);

/// What moire.stage_ends says of cuts.
mlir::ArrayAttr describeCuts(const MicroStep &step, llvm::ArrayRef<size_t> ends);
/// The same cuts where moire.stage_ends says them, maybe of another sequence length. Fails, with a
/// diagnostic, where no one tensor crosses between the nodes.
mlir::FailureOr<std::vector<size_t>> repeatCuts(const MicroStep &step, int64_t stages,
                                                mlir::ArrayAttr given);

/// The stage of each op, and what stages send each other.
class Assignment {
public:
  /// Splits accumulations of sums whose summands come from several stages.
  Assignment(MicroStep &step, llvm::ArrayRef<size_t> cuts);

  MicroStep &step;
  int64_t stages;

  /// Of a forward value: the stage that makes it, and the last one that reads it there.
  int64_t madeIn(mlir::Value value) const { return stageOf(value.getDefiningOp()); }
  int64_t lastReader(mlir::Value value) const { return last.lookup(value); }
  /// Of an op of the forward, or of the backward where it is not repeated.
  int64_t stageOf(mlir::Operation *op) const { return stage.lookup(op); }
  /// Whether a stage's backward computes `value` itself.
  bool isDoneIn(mlir::Value value, int64_t stage) const;
  /// The accumulations into gradients that a stage does.
  llvm::SmallVector<mlir::Operation *> accumulationsIn(int64_t stage) const;
  /// All that a stage's backward does for `roots` and `values`, in order.
  llvm::SmallVector<mlir::Operation *> opsFor(llvm::ArrayRef<mlir::Operation *> roots,
                                              llvm::ArrayRef<mlir::Value> values,
                                              int64_t stage) const;
  /// What stage `from` sends to the next: in order of its making.
  llvm::SmallVector<mlir::Value> outputsOf(int64_t from) const;
  /// What the backward of stage `from` sends to the one before.
  llvm::SmallVector<mlir::Value> inputCotangentsOf(int64_t from) const;

private:
  void assignForward(llvm::ArrayRef<size_t> cuts);
  void assignBackward();
  void sink();
  int64_t readerOf(mlir::Value value) const;
  bool splitSums();
  void findCarried();
  int64_t homeOf(mlir::Value value) const;

  llvm::SmallVector<mlir::Operation *> backward; ///< with the split accumulations
  llvm::DenseMap<mlir::Operation *, int64_t> stage;
  llvm::DenseMap<mlir::Value, int64_t> last;
  llvm::DenseMap<mlir::StringAttr, int64_t> parameterReader; ///< the last stage that reads it
  /// Of an op of the backward that reads the forward alone: the stages that have all it reads.
  llvm::DenseMap<mlir::Operation *, std::pair<int64_t, int64_t>> range;
  /// What backwards of several stages share: [value] → the lowest stage that reads it.
  llvm::MapVector<mlir::Value, int64_t> carried;
};

} // namespace moire::stages

#endif // MOIRE_LIB_STAGES_MICROSTEP_H
