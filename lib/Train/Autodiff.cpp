//===- Autodiff.cpp - Reverse-mode differentiation of @micro_step --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
//     1. active   values that depend on a trained parameter
//     2. pending  how many active ops still have to give a value its share of
//                 cotangent; at 0 the cotangent is whole
//     3. reverse  ops from last to first build the cotangents of their operands
//
// An op that depends on parameters alone (a transposed copy, a slice of stacked
// experts) often stands far before its use. It is differentiated as soon as its
// cotangent is whole, not when the walk arrives there, so that a gradient
// reaches its accumulator before the next one is computed.
//
//===----------------------------------------------------------------------===//
#include "moire/Train/Adjoints.h"
#include "moire/Train/Passes.h"

namespace moire::train {
#define GEN_PASS_DEF_TRAINAUTODIFF
#include "lib/Train/Passes.h.inc"
} // namespace moire::train

using namespace mlir;
using namespace moire;

namespace {

bool isFloatTensor(Value v) {
  auto type = dyn_cast<RankedTensorType>(v.getType());
  return type && isa<FloatType>(type.getElementType());
}

class Differentiator {
public:
  Differentiator(func::FuncOp func, SymbolTable &symbols)
      : block(func.getBody().front()), symbols(symbols),
        builder(block.getTerminator()) {}

  LogicalResult run();

private:
  void mergeReads();
  void markActive();
  void countShares();
  void addTo(Value v, Value cotangent);
  LogicalResult differentiate(Operation *op);

  Block &block;
  SymbolTable &symbols;
  OpBuilder builder;
  SmallVector<Operation *> forward;          ///< the ops before any backward op
  DenseSet<Value> active;                    ///< depends on a trained parameter
  DenseSet<Value> dependsOnData;             ///< depends on a function argument
  DenseMap<Value, unsigned> pending;         ///< shares of cotangent to come
  DenseMap<Value, Value> cotangents;         ///< sum of the shares so far
  DenseSet<Operation *> done;
};

/// One pipe.read per parameter, the first, so that one value gets all shares.
void Differentiator::mergeReads() {
  llvm::StringMap<Value> first;
  for (Operation &op : llvm::make_early_inc_range(block)) {
    auto read = dyn_cast<pipe::ReadOp>(op);
    if (!read)
      continue;
    Value &known = first[read.getParameter()];
    if (known) {
      read.replaceAllUsesWith(known);
      read.erase();
    } else {
      known = read;
    }
  }
}

void Differentiator::markActive() {
  dependsOnData.insert(block.args_begin(), block.args_end());
  for (Operation &op : block.without_terminator()) {
    forward.push_back(&op);
    auto among = [&](const DenseSet<Value> &set) {
      return llvm::any_of(op.getOperands(), [&](Value v) { return set.contains(v); });
    };
    if (among(dependsOnData))
      dependsOnData.insert(op.result_begin(), op.result_end());
    bool differentiable = among(active);
    if (auto read = dyn_cast<pipe::ReadOp>(op))
      differentiable = !symbols.lookup<pipe::ParameterOp>(read.getParameter()).getFrozen();
    if (!differentiable)
      continue;
    // Integers and comparisons end the flow; so does routing, made of integers.
    for (Value result : op.getResults())
      if (isFloatTensor(result))
        active.insert(result);
  }
}

void Differentiator::countShares() {
  for (Operation *op : forward)
    if (llvm::any_of(op->getResults(), [&](Value v) { return active.contains(v); }))
      for (Value operand : op->getOperands())
        if (active.contains(operand))
          ++pending[operand];
  ++pending[block.getTerminator()->getOperand(0)];
}

/// A narrow cotangent as f32: before it was rounded, where that is known.
static Value widen(OpBuilder &builder, Value cotangent) {
  Type wide = nn::wideElement(getElementTypeOrSelf(cotangent.getType()));
  if (auto rounding = cotangent.getDefiningOp<arith::TruncFOp>())
    if (getElementTypeOrSelf(rounding.getIn().getType()) == wide)
      return rounding.getIn();
  return nn::castElements(builder, cotangent.getLoc(), cotangent, wide);
}

/// Sums are f32 whatever the value is.
void Differentiator::addTo(Value v, Value cotangent) {
  Value &sum = cotangents[v];
  sum = sum ? builder.create<arith::AddFOp>(cotangent.getLoc(), widen(builder, sum),
                                            widen(builder, cotangent))
            : cotangent;
}

/// Builds the cotangents of an op's operands. All shares of its results' own
/// cotangents are in.
LogicalResult Differentiator::differentiate(Operation *op) {
  if (!done.insert(op).second)
    return success();

  SmallVector<Value> given;
  for (Value result : op->getResults()) {
    Value sum = cotangents.lookup(result);
    given.push_back(sum ? nn::castElements(builder, op->getLoc(), sum,
                                           getElementTypeOrSelf(result.getType()))
                        : sum);
  }
  bool reached = llvm::any_of(given, [](Value v) { return (bool)v; });

  if (auto read = dyn_cast<pipe::ReadOp>(op)) {
    if (reached)
      builder.create<pipe::AccumulateOp>(op->getLoc(), read.getParameterAttr(), given[0]);
    return success();
  }

  SmallVector<bool> wanted;
  for (Value operand : op->getOperands())
    wanted.push_back(active.contains(operand));
  if (reached && llvm::is_contained(wanted, true)) {
    auto differentiable = dyn_cast<nn::DifferentiableOpInterface>(op);
    if (!differentiable)
      return emitError(op->getLoc(), "'")
             << op->getName()
             << "' has no derivative, but a trained parameter reaches the loss through it; "
                "--freeze the parameters before it";
    SmallVector<Value> built = differentiable.buildAdjoint(builder, given, wanted);
    for (auto [operand, want, share] : llvm::zip(op->getOperands(), wanted, built))
      if (want && share)
        addTo(operand, share);
  }
  for (Value result : op->getResults())
    cotangents.erase(result);

  // Shares given, or known to be zero: what is whole now may go on.
  for (auto [operand, want] : llvm::zip(op->getOperands(), wanted))
    if (want && --pending[operand] == 0 && !dependsOnData.contains(operand)) {
      Operation *producer = operand.getDefiningOp();
      bool whole = llvm::all_of(producer->getResults(),
                                [&](Value v) { return pending.lookup(v) == 0; });
      if (whole && failed(differentiate(producer)))
        return failure();
    }
  return success();
}

LogicalResult Differentiator::run() {
  mergeReads();
  markActive();
  countShares();
  Value loss = block.getTerminator()->getOperand(0);
  if (!active.contains(loss))
    return emitError(loss.getLoc(),
                     "the loss depends on no trained parameter; freeze fewer parameters "
                     "or choose another loss with --loss");
  auto seed = DenseElementsAttr::get(cast<ShapedType>(loss.getType()),
                                     builder.getFloatAttr(getElementTypeOrSelf(loss), 1.0));
  addTo(loss, builder.create<arith::ConstantOp>(loss.getLoc(), cast<TypedAttr>(seed)));
  for (Operation *op : llvm::reverse(forward))
    if (llvm::any_of(op->getResults(), [&](Value v) { return active.contains(v); }))
      if (failed(differentiate(op)))
        return failure();
  return success();
}

struct TrainAutodiff : train::impl::TrainAutodiffBase<TrainAutodiff> {
  void getDependentDialects(DialectRegistry &registry) const override {
    TrainAutodiffBase::getDependentDialects(registry);
    train::registerDifferentiableExternalModels(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    auto func = symbols.lookup<func::FuncOp>("micro_step");
    if (!func || func.getNumResults() != 1 || !func.getBody().hasOneBlock()) {
      emitError(module.getLoc(), "needs a function @micro_step of one block that returns the loss "
                                 "alone; run train-loss first");
      return signalPassFailure();
    }
    if (failed(Differentiator(func, symbols).run()))
      signalPassFailure();
  }
};
} // namespace
