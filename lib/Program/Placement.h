//===- Placement.h - Which memory every tensor lies in -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Decides, before anything is emitted, where each value of a function lies:
//
//  * the result of a view op is a window of its operand where all readers take
//    such strides;
//  * or the operand is written straight into a window of the result (a head's
//    output between the other heads, a part of a concat), where its producer
//    can write strides;
//  * else the view op becomes a copy;
//  * a parameter's cotangent is accumulated straight into the gradient by the op
//    that makes it, where it can;
//  * an elementwise result takes over the memory of an operand that dies.
//
// The decisions concern speed only: the lowering copies wherever a place does
// not suit.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_PROGRAM_PLACEMENT_H
#define MOIRE_LIB_PROGRAM_PLACEMENT_H

#include "Folds.h"
#include "Layout.h"
#include "dialects/exec/Exec.h"
#include "dialects/pipe/Pipe.h"
#include "moire/Pipe/PipelineProgram.h"

namespace moire::program {

/// A piece of memory that values lie in.
struct Root {
  enum Kind { Arena, Param, Shadow, Grad, Input, Constant, Kept } kind = Arena;
  mlir::Value value;                ///< whose memory it is (Grad: null)
  mlir::FlatSymbolRefAttr parameter; ///< of Param, Shadow and Grad
  bool second = false;               ///< of these three: of the second task of a pair
  llvm::SmallVector<int64_t> shape;
  mlir::Type element;
  int64_t lastUse = -1; ///< index of the last op that reads or writes it; what a
                        ///< dist.async touches, until its wait
  int64_t lastOp = -1;  ///< the same without the time until waits
  pipe::Port port = {};  ///< of Kept
  int sameAs = -1;      ///< in place: the root whose memory this one takes over
};

struct Place {
  int root = -1;
  Layout layout;
  exec::Mode mode = exec::Mode::overwrite; ///< how the producer writes
};

/// The three sides of a matrix product as rank-2 or rank-3 windows, possibly of
/// the transposed product (a and b then are b^T and a^T).
struct GemmPlan {
  Layout a, b, c;
  bool swapped = false;
};
/// Null where some side has strides that a gemm cannot take.
std::optional<GemmPlan> planGemm(nn::MatmulOp op, const Layout &a, const Layout &b,
                                 const Layout &c);

class Placement {
public:
  enum Direction { Forward, Backward, Copy };

  /// kept: of a function of a stage, how many words those before it keep where the type does
  /// not say it (routings and exchanges); gets those of this one.
  using KeptWords = std::map<pipe::Port, int64_t>;
  Placement(mlir::func::FuncOp func, const Folds &folds, KeptWords *kept = nullptr);

  const Place &of(mlir::Value value) const { return places.find(value)->second; }
  bool has(mlir::Value value) const { return places.count(value); }
  const Root &root(int index) const { return roots[index]; }
  /// The root whose memory is used, behind in-place results.
  int memory(int index) const;
  int64_t numRoots() const { return roots.size(); }
  /// What becomes of a view op.
  Direction direction(mlir::Operation *op) const { return directions.lookup(op); }
  /// The cotangents behind a pipe.accumulate that no producer accumulates: the
  /// op itself must add them (first with the given mode).
  struct Rest {
    mlir::Value value;
    Layout layout;
    exec::Mode mode;
  };
  llvm::ArrayRef<Rest> rest(mlir::Operation *accumulate) const {
    auto it = rests.find(accumulate);
    return it == rests.end() ? llvm::ArrayRef<Rest>() : llvm::ArrayRef<Rest>(it->second);
  }
  /// Results of a stage's function that do not lie where they are kept: they are copied.
  llvm::ArrayRef<std::pair<mlir::Value, pipe::Port>> keptCopies() const { return copiedResults; }

private:
  struct Host {
    mlir::Value value; ///< null: the gradient of `parameter`
    mlir::FlatSymbolRefAttr parameter;
    Layout layout;
    exec::Mode mode = exec::Mode::overwrite;
    bool second = false; ///< the gradient is that of the second task of a pair
  };
  struct Leaf {
    mlir::Value value;
    Layout layout;
    mlir::Operation *producer; ///< null: a view or concat on the way
  };

  mlir::func::FuncOp func;
  const Folds &folds;
  std::vector<Root> roots;
  llvm::DenseMap<mlir::Value, Place> places;
  llvm::DenseMap<mlir::Operation *, Direction> directions;
  llvm::DenseMap<mlir::Value, Host> hosts; ///< values placed inside another's memory
  llvm::DenseMap<mlir::Operation *, int64_t> order;
  llvm::DenseMap<mlir::Operation *, std::vector<Rest>> rests;
  std::map<std::pair<const void *, bool>, int> gradRoots; ///< by parameter, and whether second
  KeptWords *keptWords;
  llvm::SmallVector<std::pair<mlir::Value, pipe::Port>> copiedResults;

  // Planning, from the last op to the first.
  void planView(mlir::Operation *op);
  void planConcat(nn::ConcatOp op);
  void planAccumulate(pipe::AccumulateOp op);
  bool collectLeaves(mlir::Value value, const Layout &layout, llvm::SmallVectorImpl<Leaf> &leaves);
  bool accepts(mlir::OpOperand &use, const Layout &layout) const;
  bool othersAccept(mlir::Value value, mlir::Operation *except, const Layout &layout) const;
  bool canPlace(mlir::Value value, mlir::Operation *user, const Layout &layout) const;
  bool canWrite(mlir::Value value, const Layout &layout) const;
  std::optional<Layout> forwardLayout(mlir::Value value) const;
  Layout layoutOf(mlir::Value value) const; ///< of a host or a value in one
  void placeInside(mlir::Value value, mlir::Value result, const Layout &layout);

  // Assignment, from the first op to the last.
  void assign(mlir::Value value);
  int addRoot(Root root);
  void keepResults();
  void computeLastUses();
  /// A tensor and its window over a kernel's iteration space.
  using Window = std::pair<mlir::Value, std::optional<Layout>>;
  void shareMemory();
  void shareKernelMemory(mlir::Operation *op, llvm::ArrayRef<Window> inputs,
                         llvm::ArrayRef<Window> outputs, int64_t index);
  bool tryInPlace(mlir::Operation *op, mlir::Value result, mlir::Value operand, int64_t index,
                  bool async = false);
};

/// The layout of a view op's result over its operand's, or null.
std::optional<Layout> applyView(mlir::Operation *op, const Layout &operand);
/// The layout of a view op's operand inside its result's, or null.
std::optional<Layout> invertView(mlir::Operation *op, const Layout &result);
/// Operand `index` of a concat inside the result.
Layout partOf(nn::ConcatOp op, unsigned index, const Layout &whole);
/// Strides of a linalg.generic's operand over the iteration space, or null where
/// its map is more than dims and zeros.
std::optional<Layout> iterationLayout(mlir::AffineMap map, llvm::ArrayRef<int64_t> space,
                                      const Layout &layout);

} // namespace moire::program

#endif // MOIRE_LIB_PROGRAM_PLACEMENT_H
