//===- Lowering.h - From tensors to statements on memory -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_PROGRAM_LOWERING_H
#define MOIRE_LIB_PROGRAM_LOWERING_H

#include "CountedRows.h"
#include "Elementwise.h"
#include "Placement.h"
#include "dialects/pipe/Gradients.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

namespace moire::program {

/// The module's kernels: identical ones are one.
class KernelTable {
public:
  explicit KernelTable(mlir::ModuleOp module) : module(module) {}
  /// A symbol for a kernel whose body `build` makes: it gets the arguments (one
  /// per type) and returns what is yielded.
  mlir::FlatSymbolRefAttr
  get(mlir::Location loc, llvm::ArrayRef<mlir::Type> arguments,
      llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::OpBuilder &, mlir::ValueRange)>
          build);

private:
  mlir::ModuleOp module;
  llvm::StringMap<std::string> names; ///< by printed form
  mlir::Operation *last = nullptr;
};

/// One statement. With braces its operands' places are made from left to right;
/// arguments of a call are evaluated in an order that each compiler chooses.
template <class OpT> struct Statement {
  template <class... Args> Statement(mlir::OpBuilder &builder, mlir::Location loc, Args &&...args) {
    builder.create<OpT>(loc, std::forward<Args>(args)...);
  }
};

/// Writes the statements of one function, op by op.
class Lowering {
public:
  Lowering(mlir::func::FuncOp func, const Folds &folds, const Placement &placement,
           KernelTable &kernels);
  /// Replaces the function's body. Fails on an op that has no statement.
  mlir::LogicalResult run();

private:
  mlir::func::FuncOp func;
  const Folds &folds;
  const Placement &placement;
  KernelTable &kernels;
  CountedRows counted;
  mlir::Block *body = nullptr; ///< the new one
  mlir::OpBuilder builder;
  mlir::Location loc; ///< of the op at work
  llvm::DenseMap<int, mlir::Value> rootPlaces;
  std::map<std::pair<const void *, bool>, mlir::Value> grads; ///< by parameter, and whether second
  llvm::SmallVector<unsigned> inputOf; ///< by argument of the old body: that of the new one
  llvm::DenseMap<mlir::Value, mlir::Value> routings;
  llvm::DenseMap<mlir::Operation *, int64_t> asyncs; ///< their numbers
  llvm::DenseMap<mlir::Value, mlir::Value> denseCopies;
  std::map<std::tuple<void *, int64_t, std::vector<int64_t>, std::vector<int64_t>>, mlir::Value>
      views;
  /// Results that were written to a temporary and go to their place afterwards.
  llvm::SmallVector<std::pair<mlir::Value, mlir::Value>> pending;
  std::set<pipe::Port> copied; ///< results that are where they are kept

  // Places.
  mlir::Value rootPlace(int root);
  mlir::Value gradPlace(mlir::FlatSymbolRefAttr parameter, bool second, mlir::RankedTensorType type);
  mlir::Value keptPlace(mlir::MemRefType type, pipe::Port port);
  mlir::Value keptPlace(mlir::Value value, pipe::Port port);
  mlir::Value view(mlir::Value root, const Layout &layout);
  mlir::Value temporary(llvm::ArrayRef<int64_t> shape, mlir::Type element);
  mlir::Value place(mlir::Value tensor);
  mlir::Value place(mlir::Value tensor, const Layout &layout);
  const Layout &layout(mlir::Value tensor) { return placement.of(tensor).layout; }
  exec::Mode mode(mlir::Value tensor) { return placement.of(tensor).mode; }
  mlir::Value routing(mlir::Value routing);
  /// To read: the place itself, or a dense copy where it does not suit. Null
  /// for null.
  mlir::Value dense(mlir::Value tensor);
  mlir::Value contiguousRows(mlir::Value tensor);
  /// To write: the place itself, or a temporary that is copied afterwards.
  mlir::Value denseOut(mlir::Value tensor);
  mlir::Value contiguousRowsOut(mlir::Value tensor);
  /// How a kernel writes to what denseOut gave: a temporary is overwritten.
  exec::Mode modeOf(mlir::Value out, mlir::Value tensor) {
    return out && out == place(tensor) ? mode(tensor) : exec::Mode::overwrite;
  }
  /// Null where nobody reads the result.
  mlir::Value optionalOut(mlir::Value tensor);
  /// The base of a scatter, at the result's place.
  mlir::Value scatterTarget(mlir::Value base, mlir::Value result);
  void copy(mlir::Value from, mlir::Value to, exec::Mode mode = exec::Mode::overwrite);
  mlir::Value mask(mlir::Value mask, mlir::Value query, mlir::Value key);

  // Statements, by subject.
  mlir::LogicalResult lower(mlir::Operation *op);
  mlir::LogicalResult lowerView(mlir::Operation *op);
  mlir::LogicalResult lowerMovement(mlir::Operation *op);
  mlir::LogicalResult lowerElementwise(mlir::Operation *op);
  mlir::LogicalResult lowerGeneric(mlir::linalg::GenericOp op);
  mlir::LogicalResult lowerIota(nn::IotaOp op);
  mlir::LogicalResult lowerMatmul(nn::MatmulOp op, mlir::Value bias, mlir::Value result,
                                  exec::Mode mode);
  mlir::LogicalResult lowerProductSum(mlir::Operation *add, const Folds::ProductSum &sum);
  mlir::LogicalResult lowerRows(mlir::Operation *op);
  mlir::LogicalResult lowerAttention(mlir::Operation *op);
  void lowerGrouped(nn::GroupedMatmulOp op, mlir::Value bias, mlir::Value result);
  mlir::LogicalResult lowerExperts(mlir::Operation *op);
  mlir::LogicalResult lowerCollective(mlir::Operation *op);
  mlir::LogicalResult lowerAsync(mlir::Operation *op);
  void lowerPublish(pipe::PublishOp op);
  /// Copies results of a stage's function that do not lie where they are kept, once each;
  /// `only`: of this task what it sends.
  void copyKept(std::optional<bool> only = {});
  mlir::LogicalResult lowerAccumulate(pipe::AccumulateOp op);
  /// Launches over the windows' common shape after joining what dims it can.
  /// `index`: the dims whose coordinates the kernel takes. Of results that are
  /// counted rows only those that are there are computed.
  mlir::LogicalResult launch(mlir::FlatSymbolRefAttr kernel,
                             llvm::ArrayRef<std::pair<mlir::Value, Layout>> inputs,
                             llvm::ArrayRef<std::pair<mlir::Value, Layout>> outputs,
                             llvm::ArrayRef<int64_t> index);
};

} // namespace moire::program

#endif // MOIRE_LIB_PROGRAM_LOWERING_H
