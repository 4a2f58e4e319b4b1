//===- Statements.h - One statement of C++ for each op of exec -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TARGET_STATEMENTS_H
#define MOIRE_LIB_TARGET_STATEMENTS_H

#include "PairTasks.h"
#include "ProgramInfo.h"
#include "Text.h"
#include "llvm/ADT/MapVector.h"

namespace moire::target {

/// Writes statements and remembers what they need elsewhere: tables of
/// constants and instantiations of launch().
class StatementWriter {
public:
  explicit StatementWriter(const ProgramInfo &info) : info(info) {}

  /// The op's statement; empty for an op that only names a place.
  mlir::FailureOr<std::string> emit(mlir::Operation *op);

  /// What follows belongs to a stage of a pipeline, the first one with its functions.
  void enterStage(int number) {
    stage = number;
    secondStage = -1;
    ofSecond.clear();
  }
  /// Or to a function of two tasks, whose functions these stages had first.
  void enterPair(int first, int second, mlir::func::FuncOp pair) {
    stage = first;
    secondStage = second;
    ofSecond = statementsOfSecond(pair, info.inputs.size());
  }
  /// Or to a rank of pp.
  void enterRank(int number) {
    stage = secondStage = -1;
    ofSecond.clear();
    rank = number;
  }

  /// The constants that were used.
  llvm::ArrayRef<ConstantEntry> constants() const { return usedConstants; }
  /// Template arguments of every launch() that is called: the functor, then the
  /// types of the operands.
  struct Launch {
    std::string kernel;
    std::vector<std::string> operands;
  };
  llvm::ArrayRef<Launch> launches() const { return usedLaunches; }
  /// What collectives of functions that several stages run are called, in the order of
  /// TaskState::names.
  const SharedNames &sharedNames() const { return usedNames; }

private:
  using Statement = mlir::FailureOr<std::string>;

  // Places, in Places.cpp.
  std::string pointer(mlir::Value place);
  /// Of which of a pair's tasks an op is: the context that its statement asks.
  static constexpr llvm::StringLiteral kSecond = "ctx.second";
  static std::string context(mlir::Operation *op) {
    return op->hasAttr(pipe::kSecondAttr) ? kSecond.str() : "ctx";
  }
  /// The `beta` of a result: "0.0f", "1.0f" or "ctx.beta()".
  std::string beta(exec::Mode mode) const;
  /// What a collective is called: a literal, or an entry of the stage's names.
  std::string nameOf(mlir::Operation *collective);
  std::string pointerOrNull(mlir::Value place) { return place ? pointer(place) : "nullptr"; }
  std::string routing(mlir::Value routing);
  /// The routing, or of a statement about a part of its rows that part.
  std::string partOfRouting(mlir::Operation *op, mlir::Value routing);
  /// Where a place [experts, …] has the first expert of the statement's part.
  std::string partOfExperts(mlir::Operation *op, mlir::Value place);

  // Data movement, in Statements.cpp.
  Statement launch(exec::LaunchOp op);
  Statement copy(exec::CopyOp op);
  Statement fill(exec::FillOp op);
  Statement rows(mlir::Operation *op, llvm::StringRef callee, mlir::Value table,
                 mlir::Value indices, std::vector<std::string> pointers);
  Statement elements(mlir::Operation *op, llvm::StringRef callee, mlir::Value whole,
                     mlir::Value indices, int64_t axis, std::vector<std::string> pointers);
  Statement gemm(exec::GemmOp op);
  Statement reduce(exec::ReduceOp op);
  Statement topK(exec::TopKOp op);
  Statement cumsum(exec::CumsumOp op);

  // Rows, attention and experts, in StatementsNN.cpp.
  Statement layers(mlir::Operation *op);
  Statement attention(exec::AttentionOp op);
  Statement attentionGrad(exec::AttentionGradOp op);
  Statement rope(exec::RopeOp op);
  Statement experts(mlir::Operation *op);

  // Where ranks meet, in StatementsDist.cpp.
  Statement collective(mlir::Operation *op);
  Statement beside(mlir::Operation *op);

  const ProgramInfo &info;
  int stage = -1, secondStage = -1, rank = -1; ///< -1: there are none
  llvm::DenseSet<mlir::Operation *> ofSecond;  ///< statements of a pair's second task
  SharedNames usedNames;
  std::string task = "ctx"; ///< the context of the gradients that the statement adds to
  llvm::MapVector<mlir::Attribute, std::string> tables; ///< of constants, by value
  llvm::SmallVector<ConstantEntry> usedConstants;
  std::vector<Launch> usedLaunches;
  llvm::StringSet<> seenLaunches;
};

inline mlir::MemRefType placeOf(mlir::Value place) {
  return llvm::cast<mlir::MemRefType>(place.getType());
}

} // namespace moire::target

#endif // MOIRE_LIB_TARGET_STATEMENTS_H
