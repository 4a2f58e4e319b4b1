//===- PlacementAssign.cpp - Roots, last uses and memory taken over ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Elementwise.h"
#include "Placement.h"

using namespace mlir;
using namespace moire;
using namespace moire::program;

int Placement::addRoot(Root root) {
  roots.push_back(std::move(root));
  return roots.size() - 1;
}

int Placement::memory(int index) const {
  while (roots[index].sameAs >= 0)
    index = roots[index].sameAs;
  return index;
}

/// Gives a value its place. Values come in program order, so a view's operand
/// has one; a value placed inside a later one makes that one's root.
void Placement::assign(Value value) {
  if (places.count(value))
    return;
  if (auto routing = dyn_cast<nn::RoutingType>(value.getType())) {
    int64_t n = exec::RoutingOp::elements(routing);
    Root root{Root::Arena, value, {}, {n}, IntegerType::get(value.getContext(), 32)};
    places[value] = {addRoot(root), Layout::dense(ArrayRef<int64_t>{n})};
    return;
  }
  Operation *def = value.getDefiningOp();
  auto type = cast<RankedTensorType>(value.getType());
  if (auto it = hosts.find(value); it != hosts.end()) {
    Host host = it->second;
    int root;
    if (host.value) {
      assign(host.value);
      root = places[host.value].root;
    } else {
      auto [grad, isNew] = gradRoots.try_emplace(host.parameter, -1);
      if (isNew)
        grad->second = addRoot({Root::Grad, Value(), host.parameter, {}, type.getElementType()});
      root = grad->second;
    }
    places[value] = {root, host.layout, host.mode};
    return;
  }
  if (def && isViewOp(def) && directions.lookup(def) == Forward) {
    const Place &operand = places[def->getOperand(0)];
    if (auto layout = applyView(def, operand.layout)) {
      places[value] = {operand.root, *layout};
      return;
    }
    directions[def] = Copy;
  }
  Root root{Root::Arena, value, {}, SmallVector<int64_t>(type.getShape()), type.getElementType()};
  Layout layout = Layout::dense(type.getShape());
  if (!def) {
    root.kind = Root::Input;
  } else if (auto read = dyn_cast<pipe::ReadOp>(def)) {
    root.kind = Root::Param;
    root.parameter = read.getParameterAttr();
  } else if (isa<arith::ConstantOp>(def)) {
    root.kind = Root::Constant;
    if (splatValue(value)) { // one element, repeated
      root.shape.assign(type.getRank(), 1);
      layout.strides.assign(type.getRank(), 0);
    }
  }
  places[value] = {addRoot(root), layout};
}

void Placement::computeLastUses() {
  for (Operation &op : func.getBody().front()) {
    int64_t index = order.lookup(folds.anchor(&op));
    for (ValueRange values : {ValueRange(op.getOperands()), ValueRange(op.getResults())})
      for (Value value : values)
        if (auto it = places.find(value); it != places.end()) {
          Root &root = roots[it->second.root];
          root.lastUse = std::max(root.lastUse, index);
        }
  }
}

/// `result` takes over the memory of `operand`, which has the same layout, if
/// nothing reads the operand later and nothing else of it is read here.
bool Placement::tryInPlace(Operation *op, Value result, Value operand, int64_t index) {
  Place &to = places[result], &from = places[operand];
  Root &target = roots[to.root];
  if (target.kind != Root::Arena || target.value != result || target.sameAs >= 0)
    return false;
  int source = memory(from.root);
  if (source == to.root || roots[source].kind != Root::Arena ||
      roots[source].lastUse != index || roots[from.root].shape.empty())
    return false;
  auto elements = [](const Root &root) {
    int64_t n = 1;
    for (int64_t size : root.shape)
      n *= size;
    return n;
  };
  if (target.element != roots[source].element || elements(target) != elements(roots[source]) ||
      from.layout.numElements() != elements(target) || from.layout.offset != 0)
    return false;
  target.sameAs = source;
  roots[source].lastUse = std::max(roots[source].lastUse, target.lastUse);
  return true;
}

void Placement::shareMemory() {
  for (Operation &op : func.getBody().front()) {
    int64_t index = order.lookup(&op);
    if (auto generic = dyn_cast<linalg::GenericOp>(op)) {
      auto maps = generic.getIndexingMapsArray();
      auto space = generic.getStaticLoopRanges();
      int64_t numInputs = generic.getNumDpsInputs();
      auto over = [&](Value value, AffineMap map) {
        return iterationLayout(map, space, places[value].layout);
      };
      for (auto [r, result] : llvm::enumerate(generic.getResults())) {
        auto target = over(result, maps[numInputs + r]);
        for (auto [i, input] : llvm::enumerate(generic.getInputs())) {
          auto source = over(input, maps[i]);
          if (!target || !source || !(*target == *source))
            continue;
          // Whoever else reads this memory must read the element of the same
          // position.
          int memoryOfInput = memory(places[input].root);
          bool safe = true;
          for (auto [k, other] : llvm::enumerate(generic.getInputs()))
            if (memory(places[other].root) == memoryOfInput) {
              auto layout = over(other, maps[k]);
              safe &= layout && *layout == *target;
            }
          for (Value other : generic.getResults())
            safe &= other == result || memory(places[other].root) != memoryOfInput;
          if (safe && tryInPlace(&op, result, input, index))
            break;
        }
      }
    } else if (auto entropy = dyn_cast<nn::CrossEntropyOp>(op)) {
      if (auto it = folds.loss.find(&op); it != folds.loss.end())
        tryInPlace(&op, nn::CrossEntropyGradOp(it->second.grad).getResult(), entropy.getLogits(), index);
    } else if (auto grad = dyn_cast<nn::CrossEntropyGradOp>(op)) {
      if (folds.anchor(&op) == &op)
        tryInPlace(&op, grad.getResult(), grad.getLogits(), index);
    } else if (auto it = folds.gradResidual.find(&op); it != folds.gradResidual.end()) {
      // The kernel may overwrite what it adds, but nothing else that it reads.
      Value other = it->second.other;
      int shared = memory(places[other].root);
      if (llvm::none_of(op.getOperands(),
                        [&](Value v) { return memory(places[v].root) == shared; }))
        tryInPlace(&op, arith::AddFOp(it->second.add).getResult(), other, index);
    } else if (isa<nn::ScatterOp, nn::ScatterElementsOp>(op)) {
      Value base = op.getOperand(0);
      if (!llvm::is_contained(op.getOperands().drop_front(), base))
        tryInPlace(&op, op.getResult(0), base, index);
    } else if (auto it = folds.expertBias.find(&op); it != folds.expertBias.end()) {
      tryInPlace(&op, op.getResult(0), it->second.rows, index);
    }
  }
}
