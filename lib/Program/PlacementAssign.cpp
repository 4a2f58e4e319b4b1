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
  // A future and what its wait gives are where the body puts the value.
  if (auto wait = value.getDefiningOp<dist::WaitOp>()) {
    Value made = wait.getAsync().getYielded()[cast<OpResult>(value).getResultNumber()];
    places[value] = Place(places[made]);
    return;
  }
  if (auto async = value.getDefiningOp<dist::AsyncOp>()) {
    if (!async.getYielded().empty())
      places[value] = Place(places[async.getYielded()[cast<OpResult>(value).getResultNumber()]]);
    return;
  }
  Operation *def = value.getDefiningOp();
  pipe::Port port;
  if (auto argument = dyn_cast<BlockArgument>(value))
    port = pipe::argumentPort(func, argument.getArgNumber());
  const Root::Kind memory = port.role.empty() ? Root::Arena : Root::Kept;
  auto words = [&](int64_t n) {
    Root root{memory, value, {}, false, {n}, IntegerType::get(value.getContext(), 32)};
    root.port = port;
    places[value] = {addRoot(root), Layout::dense(ArrayRef<int64_t>{n})};
  };
  if (auto routing = dyn_cast<nn::RoutingType>(value.getType()))
    return words(exec::RoutingOp::elements(routing));
  if (isa<dist::ExchangeType>(value.getType())) {
    if (!def)
      return words(keptWords->at(port));
    int64_t experts = cast<dist::ExchangeOp>(def).getRouting().getType().getExperts();
    return words(exec::ExchangeOp::elements(experts));
  }
  auto type = cast<RankedTensorType>(value.getType());
  if (auto it = hosts.find(value); it != hosts.end()) {
    Host host = it->second;
    int root;
    if (host.value) {
      assign(host.value);
      root = places[host.value].root;
    } else {
      auto [grad, isNew] =
          gradRoots.try_emplace({host.parameter.getAsOpaquePointer(), host.second}, -1);
      if (isNew)
        grad->second = addRoot(
            {Root::Grad, Value(), host.parameter, host.second, {}, type.getElementType()});
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
  Root root{Root::Arena, value, {}, false, SmallVector<int64_t>(type.getShape()),
            type.getElementType()};
  Layout layout = Layout::dense(type.getShape());
  if (!def) {
    root.kind = memory == Root::Kept ? Root::Kept : Root::Input;
    root.port = port;
  } else if (auto read = dyn_cast<pipe::ReadOp>(def)) {
    root.kind = Root::Param;
    root.parameter = read.getParameterAttr();
    root.second = read->hasAttr(pipe::kSecondAttr);
  } else if (isShadow(def)) {
    auto read = def->getOperand(0).getDefiningOp<pipe::ReadOp>();
    root.kind = Root::Shadow;
    root.parameter = read.getParameterAttr();
    root.second = read->hasAttr(pipe::kSecondAttr);
  } else if (isa<arith::ConstantOp>(def)) {
    root.kind = Root::Constant;
    if (splatValue(value)) { // one element, repeated
      root.shape.assign(type.getRank(), 1);
      layout.strides.assign(type.getRank(), 0);
    }
  }
  places[value] = {addRoot(root), layout};
}

/// Results of a stage's function lie where the stage keeps them from the start, where they have
/// memory of their own.
void Placement::keepResults() {
  auto ret = cast<func::ReturnOp>(func.getBody().front().getTerminator());
  for (auto [i, value] : llvm::enumerate(ret.getOperands())) {
    const pipe::Port port = pipe::resultPort(func, i);
    if (port.role.empty() || port.role == pipe::kLossAttr)
      continue;
    const Place &place = places[value];
    Root &root = roots[place.root];
    int64_t elements = 1;
    for (int64_t size : root.shape)
      elements *= size;
    if (isa<dist::ExchangeType>(value.getType()))
      (*keptWords)[port] = elements;
    if (root.kind == Root::Arena && place.layout.isDense() && place.layout.offset == 0 &&
        place.layout.numElements() == elements) {
      root.kind = Root::Kept;
      root.port = port;
    } else {
      copiedResults.push_back({value, port});
    }
  }
}

void Placement::computeLastUses() {
  auto touch = [&](Operation &op, int64_t index, bool byOp) {
    for (ValueRange values : {ValueRange(op.getOperands()), ValueRange(op.getResults())})
      for (Value value : values)
        if (auto it = places.find(value); it != places.end()) {
          Root &root = roots[it->second.root];
          root.lastUse = std::max(root.lastUse, index);
          if (byOp)
            root.lastOp = std::max(root.lastOp, index);
        }
  };
  for (Operation &op : func.getBody().front()) {
    int64_t index = order.lookup(folds.anchor(&op));
    // A wait reads nothing itself, but until it what the async touches is in use.
    if (auto wait = dyn_cast<dist::WaitOp>(op)) {
      touch(op, index, /*byOp=*/false);
      for (Operation &inner : wait.getAsync().getBody().front())
        touch(inner, index, /*byOp=*/false);
      continue;
    }
    if (auto async = dyn_cast<dist::AsyncOp>(op))
      for (Operation &inner : async.getBody().front())
        touch(inner, index, /*byOp=*/true);
    touch(op, index, /*byOp=*/true);
  }
}

/// `result` takes over the memory of `operand`, which has the same layout, if
/// nothing reads the operand later and nothing else of it is read here.
/// An async may do so where nobody else reads the operand until its wait.
bool Placement::tryInPlace(Operation *op, Value result, Value operand, int64_t index,
                           bool async) {
  Place &to = places[result], &from = places[operand];
  Root &target = roots[to.root];
  if (target.kind != Root::Arena || target.value != result || target.sameAs >= 0)
    return false;
  int source = memory(from.root);
  if (source == to.root || roots[source].kind != Root::Arena ||
      (async ? roots[source].lastOp : roots[source].lastUse) != index || roots[from.root].shape.empty())
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
  roots[source].lastOp = std::max(roots[source].lastOp, target.lastOp);
  return true;
}

/// A result of a kernel takes over the memory of the first input that allows it:
/// whoever else reads that memory must read the element of the same position.
void Placement::shareKernelMemory(Operation *op, ArrayRef<Window> inputs, ArrayRef<Window> outputs,
                                  int64_t index) {
  for (const Window &output : outputs) {
    Value result = output.first;
    const auto &target = output.second;
    for (const auto &[input, source] : inputs) {
      if (!target || !source || !(*target == *source))
        continue;
      int shared = memory(places[input].root);
      auto conflicts = [&](const Window &other) {
        return memory(places[other.first].root) == shared &&
               (!other.second || !(*other.second == *target));
      };
      bool written = llvm::any_of(outputs, [&](const Window &other) {
        return other.first != result && memory(places[other.first].root) == shared;
      });
      if (!written && llvm::none_of(inputs, conflicts) && tryInPlace(op, result, input, index))
        break;
    }
  }
}

void Placement::shareMemory() {
  for (Operation &op : func.getBody().front()) {
    int64_t index = order.lookup(&op);
    if (auto generic = dyn_cast<linalg::GenericOp>(op)) {
      auto maps = generic.getIndexingMapsArray();
      auto space = generic.getStaticLoopRanges();
      int64_t numInputs = generic.getNumDpsInputs();
      SmallVector<Window> inputs, outputs;
      for (auto [i, input] : llvm::enumerate(generic.getInputs()))
        inputs.push_back({input, iterationLayout(maps[i], space, places[input].layout)});
      for (auto [i, result] : llvm::enumerate(generic.getResults()))
        outputs.push_back(
            {result, iterationLayout(maps[numInputs + i], space, places[result].layout)});
      shareKernelMemory(&op, inputs, outputs, index);
    } else if (isElementwise(&op) && !folds.keeps(&op)) {
      SmallVector<Window> inputs;
      for (Value input : op.getOperands())
        inputs.push_back({input, places[input].layout});
      Value result = op.getResult(0);
      shareKernelMemory(&op, inputs, {{result, places[result].layout}}, index);
    } else if (auto entropy = dyn_cast<nn::CrossEntropyOp>(op)) {
      if (auto it = folds.loss.find(&op); it != folds.loss.end())
        tryInPlace(&op, nn::CrossEntropyGradOp(it->second.grad).getResult(), entropy.getLogits(),
                   index);
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
    } else if (auto sum = dyn_cast<dist::AllReduceOp>(op)) {
      if (places[sum.getInput()].layout.isDense())
        tryInPlace(&op, sum.getResult(), sum.getInput(), index);
    } else if (auto async = dyn_cast<dist::AsyncOp>(op)) {
      auto sum = dyn_cast<dist::AllReduceOp>(async.getBody().front().front());
      if (sum && places[sum.getInput()].layout.isDense())
        tryInPlace(&op, sum.getResult(), sum.getInput(), index, /*async=*/true);
    } else if (isa<nn::ScatterOp, nn::ScatterElementsOp>(op)) {
      Value base = op.getOperand(0);
      int shared = memory(places[base].root);
      if (llvm::none_of(op.getOperands().drop_front(),
                        [&](Value v) { return memory(places[v].root) == shared; }))
        tryInPlace(&op, op.getResult(0), base, index);
    } else if (auto it = folds.productSum.find(&op); it != folds.productSum.end()) {
      nn::MatmulOp matmul = it->second.matmul;
      Value other = it->second.other;
      int shared = memory(places[other].root);
      if (places[other].layout.isDense() && llvm::none_of(matmul->getOperands(), [&](Value v) {
            return memory(places[v].root) == shared;
          }))
        tryInPlace(&op, op.getResult(0), other, index);
    } else if (auto it = folds.expertBias.find(&op); it != folds.expertBias.end()) {
      if (!it->second.product)
        tryInPlace(&op, op.getResult(0), it->second.rows, index);
    }
  }
}
