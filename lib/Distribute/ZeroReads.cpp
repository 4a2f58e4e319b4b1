//===- ZeroReads.cpp - Gathers of parameters that ranks hold in pieces ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Zero.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;
using namespace moire;

/// What changes the parameter's form alone: repeated behind each gather, so that it does
/// not keep the memory of the one before.
static bool isForm(Operation *op) {
  return isa<nn::ReshapeOp, nn::TransposeOp, nn::SliceOp, nn::BroadcastOp, nn::ReverseOp,
             arith::TruncFOp, arith::ExtFOp>(op);
}

namespace {
/// A value that is gathered: the parameter, or the parameter in bf16, which is rounded
/// before it is gathered: half the bytes.
struct Source {
  pipe::ParameterOp parameter;
  Value value;
  SmallVector<Operation *> uses; ///< that are no forms, in order
  double bytes() const {
    auto type = cast<RankedTensorType>(value.getType());
    return static_cast<double>(type.getNumElements()) * type.getElementTypeBitWidth() / 8;
  }
};

class Gathers {
public:
  explicit Gathers(func::FuncOp microStep) : block(microStep.getBody().front()) {}
  void run();

private:
  void findSources();
  void collectUses(Value value, Source &source);
  SmallVector<SmallVector<Operation *>> groupsOf(const Source &source) const;
  Value gather(OpBuilder &b, Source &source, Value piece);
  Value formed(OpBuilder &b, Value value, IRMapping &known);

  Block &block;
  DenseMap<Operation *, int64_t> order;
  std::vector<Source> sources;
};
} // namespace

void Gathers::collectUses(Value value, Source &source) {
  for (Operation *user : value.getUsers())
    if (isForm(user))
      collectUses(user->getResult(0), source);
    else if (!llvm::is_contained(source.uses, user))
      source.uses.push_back(user);
}

void Gathers::findSources() {
  for (auto read : llvm::to_vector(block.getOps<pipe::ReadOp>())) {
    auto parameter =
        SymbolTable::lookupNearestSymbolFrom<pipe::ParameterOp>(read, read.getParameterAttr());
    if (parameter.getZeroLevel() < 3)
      continue;
    Source whole{parameter, read, {}};
    arith::TruncFOp rounded;
    for (Operation *user : llvm::make_early_inc_range(read->getUsers())) {
      auto round = dyn_cast<arith::TruncFOp>(user);
      if (!round) {
        if (isForm(user))
          collectUses(user->getResult(0), whole);
        else if (!llvm::is_contained(whole.uses, user))
          whole.uses.push_back(user);
      } else if (rounded && rounded.getType() == round.getType()) {
        round.replaceAllUsesWith(rounded.getResult());
        round.erase();
      } else {
        rounded = round;
        rounded->moveAfter(read);
      }
    }
    if (rounded) {
      Source narrow{parameter, rounded, {}};
      collectUses(rounded, narrow);
      sources.push_back(narrow);
    }
    sources.push_back(whole);
  }
  int64_t position = 0;
  for (Operation &op : block)
    order[&op] = position++;
  for (Source &source : sources)
    llvm::sort(source.uses,
               [&](Operation *a, Operation *b) { return order.lookup(a) < order.lookup(b); });
}

/// Runs of uses with less gathered between than the source itself is.
SmallVector<SmallVector<Operation *>> Gathers::groupsOf(const Source &source) const {
  SmallVector<SmallVector<Operation *>> groups;
  for (Operation *use : source.uses) {
    double between = 0;
    if (!groups.empty())
      for (const Source &other : sources) {
        const int64_t from = order.lookup(groups.back().back()), to = order.lookup(use);
        if (&other != &source && llvm::any_of(other.uses, [&](Operation *op) {
              return order.lookup(op) > from && order.lookup(op) < to;
            }))
          between += other.bytes();
      }
    if (groups.empty() || between >= source.bytes())
      groups.emplace_back();
    groups.back().push_back(use);
  }
  return groups;
}

/// All of the source, from the members' pieces.
Value Gathers::gather(OpBuilder &b, Source &source, Value piece) {
  auto whole = cast<RankedTensorType>(source.value.getType());
  auto type = cast<RankedTensorType>(piece.getType());
  ArrayAttr axes = source.parameter.getZeroAxesAttr();
  const int64_t all = type.getNumElements() * dist::meshOf(source.parameter).getSize(axes);
  const int64_t elements = whole.getNumElements();
  Location loc = source.value.getLoc();
  Value flat = b.create<dist::AllGatherOp>(loc, type.clone({all}), piece, /*dim=*/0, axes);
  if (all != elements)
    flat = b.create<nn::SliceOp>(loc, flat, ArrayRef<int64_t>{0}, ArrayRef<int64_t>{elements},
                                 ArrayRef<int64_t>{1});
  return whole.getRank() == 1 ? flat : b.create<nn::ReshapeOp>(loc, whole, flat).getResult();
}

/// `value`, which is the source or a form of it, from what `known` holds of the source.
Value Gathers::formed(OpBuilder &b, Value value, IRMapping &known) {
  if (Value done = known.lookupOrNull(value))
    return done;
  Operation *op = value.getDefiningOp();
  for (Value operand : op->getOperands())
    formed(b, operand, known);
  return b.clone(*op, known)->getResult(0);
}

void Gathers::run() {
  findSources();
  // 1. Which uses share a gather, before anything changes.
  SmallVector<SmallVector<SmallVector<Operation *>>> groups;
  for (const Source &source : sources)
    groups.push_back(groupsOf(source));
  // 2. Reads of pieces stay where the reads were; gathers stand before their first use.
  llvm::MapVector<Operation *, Value> pieces;
  for (auto [source, uses] : llvm::zip_equal(sources, groups)) {
    Operation *def = source.value.getDefiningOp();
    auto rounded = dyn_cast<arith::TruncFOp>(def);
    auto read = cast<pipe::ReadOp>(rounded ? rounded.getIn().getDefiningOp() : def);
    Value &piece = pieces[read];
    OpBuilder b(read);
    if (!piece)
      piece = b.create<pipe::ReadOp>(read.getLoc(), source.parameter.getPieceType(),
                                     read.getParameterAttr());
    Value mine = piece;
    if (rounded && !uses.empty())
      mine = b.create<arith::TruncFOp>(
          rounded.getLoc(),
          source.parameter.getPieceType().clone(getElementTypeOrSelf(rounded.getType())), mine);
    // What is a form of this source, and not of the read's other one.
    llvm::SmallPtrSet<Operation *, 8> forms;
    SmallVector<Value> todo{source.value};
    while (!todo.empty())
      for (Operation *user : todo.pop_back_val().getUsers())
        if (isForm(user) &&
            !(isa<arith::TruncFOp>(user) && user->getOperand(0) == read.getResult()))
          if (forms.insert(user).second)
            todo.push_back(user->getResult(0));
    for (ArrayRef<Operation *> group : uses) {
      b.setInsertionPoint(group.front());
      IRMapping known;
      known.map(source.value, gather(b, source, mine));
      for (Operation *use : group) {
        b.setInsertionPoint(use);
        for (OpOperand &operand : use->getOpOperands())
          if (operand.get() == source.value || forms.contains(operand.get().getDefiningOp()))
            operand.set(formed(b, operand.get(), known));
      }
    }
  }
  // 3. Forms of the old reads, and the reads, from the last one to the first.
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if ((isForm(&op) || isa<pipe::ReadOp>(op)) && op.use_empty())
      op.erase();
}

void distribute::gatherReads(func::FuncOp microStep) { Gathers(microStep).run(); }
