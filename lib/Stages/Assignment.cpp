//===- Assignment.cpp - The stage of each op -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The forward's ops go to stages by where they stand. An op of the backward can only
// be done where all it reads has come: what the forward made in a stage is known there and
// up to the last stage to which it was sent; a cotangent is known in the stage that
// made it and, once sent, in those before. It is done in the last stage of these, so
// that what goes down is a sum and not its summands.
//
// An op that reads the forward alone (what is computed again instead of kept) may be
// possible in several stages. Each that needs it does it.
//
//===----------------------------------------------------------------------===//
#include "MicroStep.h"

using namespace mlir;
using namespace moire;
using namespace moire::stages;

Assignment::Assignment(MicroStep &step, ArrayRef<size_t> cuts)
    : step(step), stages(cuts.size()), backward(step.backward) {
  assignForward(cuts);
  do
    assignBackward();
  while (splitSums());
  sink();
  findCarried();
}

void Assignment::assignForward(ArrayRef<size_t> cuts) {
  int64_t current = 0;
  // What is made of parameters alone belongs to the last stage whose forward reads it.
  std::function<void(Value, int64_t)> readIn = [&](Value value, int64_t in) {
    Operation *def = value.getDefiningOp();
    if (!def || !step.free.contains(def))
      return;
    if (auto read = dyn_cast<pipe::ReadOp>(def)) {
      int64_t &reader = parameterReader.try_emplace(read.getParameterAttr().getAttr(), 0).first->second;
      reader = std::max(reader, in);
    }
    for (Value operand : def->getOperands())
      readIn(operand, in);
  };
  for (auto [i, op] : llvm::enumerate(step.forward)) {
    while (i >= cuts[current])
      ++current;
    stage[op] = current;
    for (Value result : op->getResults())
      last[result] = current;
    for (Value operand : op->getOperands()) {
      if (step.isForward(operand))
        last[operand] = std::max(last[operand], current);
      readIn(operand, current);
    }
  }
}

/// The last stage whose forward reads what `value` is made of, itself a stage's where it is made of
/// parameters.
int64_t Assignment::readerOf(Value value) const {
  Operation *def = value.getDefiningOp();
  int64_t reader = stages - 1;
  if (!def || !step.free.contains(def))
    return reader;
  if (auto read = dyn_cast<pipe::ReadOp>(def)) {
    auto it = parameterReader.find(read.getParameterAttr().getAttr());
    return it == parameterReader.end() ? reader : it->second;
  }
  for (Value operand : def->getOperands())
    reader = std::min(reader, readerOf(operand));
  return reader;
}

/// What may be done in another stage, or in several where ranks do not meet in it.
static bool isCheap(Operation *op) {
  return !isa<nn::MatmulOp, nn::GroupedMatmulOp, nn::GroupedMatmulGradWeightOp, nn::AttentionOp,
              nn::AttentionGradOp>(op);
}
static bool isRepeatable(Operation *op) { return isCheap(op) && !dist::isCollective(op); }

void Assignment::assignBackward() {
  range.clear();
  for (Operation *op : backward) {
    int64_t low = 0, high = stages - 1;
    bool onForward = true;
    if (auto accumulate = dyn_cast<pipe::AccumulateOp>(op)) {
      auto it = parameterReader.find(accumulate.getParameterAttr().getAttr());
      if (it != parameterReader.end())
        high = it->second;
    }
    for (Value operand : op->getOperands()) {
      if (step.isFree(operand)) {
        high = std::min(high, readerOf(operand));
        continue;
      }
      Operation *def = operand.getDefiningOp();
      if (step.isForward(operand)) {
        low = std::max(low, madeIn(operand));
        high = std::min(high, lastReader(operand));
      } else if (auto it = range.find(def); it != range.end()) {
        low = std::max(low, it->second.first);
        high = std::min(high, it->second.second);
      } else {
        high = std::min(high, stage[def]);
        onForward = false;
      }
    }
    if (onForward && low <= high && (low == high || isRepeatable(op))) {
      range[op] = {low, high};
      stage[op] = low;
    } else {
      stage[op] = high;
    }
  }
}

static int64_t bytesOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type ? type.getNumElements() * type.getElementTypeBitWidth() : 0;
}

/// Moves what only lower stages read down to the last of them, where that does not make more go
/// down: the sum over rows that is a bias's gradient, a reshape.
void Assignment::sink() {
  for (Operation *op : llvm::reverse(backward)) {
    if (auto it = range.find(op); it != range.end() && it->second.first < it->second.second)
      continue;
    if (!isCheap(op))
      continue;
    int64_t reader = -1, made = 0;
    for (Operation *user : op->getUsers())
      reader = std::max(reader, range.count(user) ? range.lookup(user).second : stage[user]);
    if (reader < 0 || reader >= stage[op])
      continue;
    // What would have to go down instead of its results.
    int64_t instead = 0, results = 0;
    for (Value operand : op->getOperands()) {
      if (step.isFree(operand))
        continue;
      if (step.isForward(operand)) {
        made = std::max(made, madeIn(operand));
        continue;
      }
      const bool goesAnyway = llvm::any_of(operand.getUsers(), [&](Operation *user) {
        return user != op && !step.free.contains(user) && stage.lookup(user) <= reader;
      });
      if (!goesAnyway)
        instead += bytesOf(operand);
    }
    for (Value result : op->getResults())
      results += bytesOf(result);
    if (made <= reader && instead <= results) {
      stage[op] = reader;
      range.erase(op);
    }
  }
}

int64_t Assignment::homeOf(Value value) const {
  return step.isFree(value) ? -1 : stageOf(value.getDefiningOp());
}

/// Whether f(a + b) = f(a) + f(b), bit for bit where they do not overlap in rounding.
static bool isLinear(Operation *op) {
  if (auto pad = dyn_cast<nn::PadOp>(op))
    return pad.getValue().isZero();
  return isa<nn::ReshapeOp, nn::TransposeOp, arith::ExtFOp, dist::ReduceScatterOp,
             dist::AllReduceOp>(op);
}

/// accumulate(f(a + b)) ~~> accumulate(f(a)), accumulate(f(b)) where a and b come from several
/// stages: each stage accumulates its own.
bool Assignment::splitSums() {
  for (auto [i, op] : llvm::enumerate(backward)) {
    auto accumulate = dyn_cast<pipe::AccumulateOp>(op);
    if (!accumulate)
      continue;
    SmallVector<Operation *> chain; // from the accumulation up
    Value value = accumulate.getGradient();
    while (value.hasOneUse() && value.getDefiningOp() && isLinear(value.getDefiningOp())) {
      chain.push_back(value.getDefiningOp());
      value = value.getDefiningOp()->getOperand(0);
    }
    Operation *sum = value.getDefiningOp();
    if (!sum || !value.hasOneUse())
      continue;
    OpBuilder b(accumulate);
    SmallVector<Operation *> made;
    Value parts[2];
    if (auto add = dyn_cast<arith::AddFOp>(sum)) {
      if (homeOf(add.getLhs()) == homeOf(add.getRhs()))
        continue;
      parts[0] = add.getRhs();
      parts[1] = add.getLhs();
    } else if (auto scatter = dyn_cast<nn::ScatterOp>(sum);
               scatter && scatter.getKind() == nn::ScatterKind::add) {
      if (step.isFree(scatter.getBase()) ||
          homeOf(scatter.getBase()) == homeOf(scatter.getUpdates()))
        continue;
      auto copy = cast<nn::ScatterOp>(b.clone(*sum));
      b.setInsertionPoint(copy);
      auto zero = b.create<arith::ConstantOp>(sum->getLoc(),
                                              b.getZeroAttr(scatter.getBase().getType()));
      b.setInsertionPoint(accumulate);
      step.free.insert(zero);
      copy.getBaseMutable().assign(zero);
      made.push_back(copy);
      parts[0] = copy.getResult();
      parts[1] = scatter.getBase();
    } else {
      continue;
    }
    for (Value part : parts) {
      IRMapping map;
      map.map(value, part);
      for (Operation *link : llvm::reverse(chain))
        made.push_back(b.clone(*link, map));
      made.push_back(b.clone(*accumulate, map));
    }
    SmallVector<Operation *> gone = {accumulate};
    gone.append(chain);
    gone.push_back(sum);
    backward.erase(backward.begin() + i);
    backward.insert(backward.begin() + i, made.begin(), made.end());
    llvm::erase_if(backward, [&](Operation *o) { return llvm::is_contained(gone, o); });
    for (Operation *old : gone)
      old->erase();
    return true;
  }
  return false;
}

SmallVector<Operation *> Assignment::accumulationsIn(int64_t in) const {
  SmallVector<Operation *> ops;
  for (Operation *op : backward)
    if (op->getNumResults() == 0 && stageOf(op) == in)
      ops.push_back(op);
  return ops;
}

bool Assignment::isDoneIn(Value value, int64_t in) const {
  Operation *def = value.getDefiningOp();
  if (step.isFree(value) || step.isForward(value))
    return false;
  auto it = range.find(def);
  if (it == range.end())
    return stageOf(def) == in;
  return it->second.first <= in && in <= it->second.second;
}

SmallVector<Operation *> Assignment::opsFor(ArrayRef<Operation *> roots, ArrayRef<Value> values,
                                            int64_t in) const {
  llvm::DenseSet<Operation *> needed;
  SmallVector<Operation *> work(roots);
  auto visit = [&](Value value) {
    if (isDoneIn(value, in))
      work.push_back(value.getDefiningOp());
  };
  for (Value value : values)
    visit(value);
  while (!work.empty()) {
    Operation *op = work.pop_back_val();
    if (needed.insert(op).second)
      for (Value operand : op->getOperands())
        visit(operand);
  }
  SmallVector<Operation *> ops;
  for (Operation *op : backward)
    if (needed.contains(op))
      ops.push_back(op);
  return ops;
}

void Assignment::findCarried() {
  // From the first stage up: what a stage sends on, it needs.
  for (int64_t in = 0; in < stages; ++in)
    for (Operation *op : opsFor(accumulationsIn(in), inputCotangentsOf(in), in))
      for (Value value : op->getOperands()) {
        if (step.isFree(value) || isDoneIn(value, in) || (step.isForward(value) && madeIn(value) <= in))
          continue;
        auto [it, isNew] = carried.try_emplace(value, in);
        it->second = std::min(it->second, in);
      }
}

SmallVector<Value> Assignment::outputsOf(int64_t from) const {
  SmallVector<Value> values;
  for (Operation *op : step.forward)
    for (Value result : op->getResults())
      if (madeIn(result) <= from && lastReader(result) > from)
        values.push_back(result);
  return values;
}

SmallVector<Value> Assignment::inputCotangentsOf(int64_t from) const {
  SmallVector<Value> values;
  for (auto [value, lowest] : carried)
    if (lowest < from && stageOf(value.getDefiningOp()) >= from)
      values.push_back(value);
  return values;
}
