//===- Placement.cpp - Planning of views, windows and accumulation -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Placement.h"
#include "Elementwise.h"

using namespace mlir;
using namespace moire;
using namespace moire::program;

//===----------------------------------------------------------------------===//
// Layouts through ops
//===----------------------------------------------------------------------===//

std::optional<Layout> program::applyView(Operation *op, const Layout &in) {
  if (auto reshape = dyn_cast<nn::ReshapeOp>(op))
    return in.reshape(reshape.getType().getShape());
  if (auto transpose = dyn_cast<nn::TransposeOp>(op))
    return in.transpose(transpose.getPermutation());
  if (auto slice = dyn_cast<nn::SliceOp>(op))
    return in.slice(slice.getStarts(), slice.getLimits(), slice.getStrides());
  if (auto broadcast = dyn_cast<nn::BroadcastOp>(op))
    return in.broadcast(broadcast.getDimensions(), broadcast.getType().getShape());
  if (auto reverse = dyn_cast<nn::ReverseOp>(op))
    return in.reverse(reverse.getDims());
  return std::nullopt;
}

std::optional<Layout> program::invertView(Operation *op, const Layout &result) {
  if (auto reshape = dyn_cast<nn::ReshapeOp>(op))
    return result.reshape(shapeOf(reshape.getInput()));
  if (auto transpose = dyn_cast<nn::TransposeOp>(op))
    return result.untranspose(transpose.getPermutation());
  return std::nullopt;
}

Layout program::partOf(nn::ConcatOp op, unsigned index, const Layout &whole) {
  int64_t start = 0;
  for (unsigned i = 0; i < index; ++i)
    start += shapeOf(op.getInputs()[i])[op.getDim()];
  Layout part = whole;
  part.offset += start * whole.strides[op.getDim()];
  part.shape[op.getDim()] = shapeOf(op.getInputs()[index])[op.getDim()];
  return part;
}

std::optional<Layout> program::iterationLayout(AffineMap map, ArrayRef<int64_t> space,
                                               const Layout &layout) {
  Layout result;
  result.offset = layout.offset;
  result.shape.assign(space.begin(), space.end());
  result.strides.assign(space.size(), 0);
  for (auto [expr, stride] : llvm::zip(map.getResults(), layout.strides)) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
      result.strides[dim.getPosition()] += stride;
      continue;
    }
    auto constant = dyn_cast<AffineConstantExpr>(expr);
    if (!constant || constant.getValue() != 0)
      return std::nullopt;
  }
  return result;
}

/// One of the last two dims is contiguous and the other one steps over it.
static bool isMatrix(const Layout &l) {
  size_t rank = l.shape.size();
  auto fits = [&](size_t unit, size_t leading) {
    return (l.strides[unit] == 1 || l.shape[unit] == 1) &&
           (l.shape[leading] == 1 || l.strides[leading] >= l.shape[unit]);
  };
  return fits(rank - 1, rank - 2) || fits(rank - 2, rank - 1);
}
static bool isRowMajor(const Layout &l) {
  size_t rank = l.shape.size();
  return (l.strides[rank - 1] == 1 || l.shape[rank - 1] == 1) &&
         (l.shape[rank - 2] == 1 || l.strides[rank - 2] >= l.shape[rank - 1]);
}
static Layout swapLastTwo(Layout l) {
  size_t rank = l.shape.size();
  std::swap(l.shape[rank - 1], l.shape[rank - 2]);
  std::swap(l.strides[rank - 1], l.strides[rank - 2]);
  return l;
}
/// [..., M, K] as [prod(...), M, K].
static std::optional<Layout> withOneBatchDim(const Layout &l) {
  size_t rank = l.shape.size();
  int64_t batch = 1;
  for (size_t i = 0; i + 2 < rank; ++i)
    batch *= l.shape[i];
  return l.reshape({batch, l.shape[rank - 2], l.shape[rank - 1]});
}

std::optional<GemmPlan> program::planGemm(nn::MatmulOp op, const Layout &lhs, const Layout &rhs,
                                          const Layout &out) {
  GemmPlan plan{lhs, rhs, out};
  if (op.getTransposeLhs())
    plan.a = swapLastTwo(plan.a);
  if (op.getTransposeRhs())
    plan.b = swapLastTwo(plan.b);
  size_t rank = plan.a.shape.size();
  if (rank > 2 && plan.b.shape.size() == 2) {
    // One weight for all rows: a single product where the rows are one run.
    int64_t rows = plan.a.numElements() / std::max<int64_t>(plan.a.shape.back(), 1);
    auto a = plan.a.reshape({rows, plan.a.shape.back()});
    auto c = plan.c.reshape({rows, plan.c.shape.back()});
    if (a && c && isRowMajor(*a)) {
      plan.a = *a;
      plan.c = *c;
    } else {
      SmallVector<int64_t> shape(plan.a.shape.begin(), plan.a.shape.end());
      shape[rank - 2] = plan.b.shape[0];
      shape[rank - 1] = plan.b.shape[1];
      plan.b = plan.b.broadcast({(int64_t)rank - 2, (int64_t)rank - 1}, shape);
    }
  }
  if (plan.a.shape.size() > 2) {
    auto a = withOneBatchDim(plan.a), b = withOneBatchDim(plan.b), c = withOneBatchDim(plan.c);
    if (!a || !b || !c)
      return std::nullopt;
    plan = {*a, *b, *c};
    if (plan.a.shape[0] == 1)
      for (Layout *l : {&plan.a, &plan.b, &plan.c}) {
        l->shape.erase(l->shape.begin());
        l->strides.erase(l->strides.begin());
      }
    else if (plan.c.strides[0] == 0)
      return std::nullopt;
  }
  if (!isRowMajor(plan.c)) {
    plan = {swapLastTwo(plan.b), swapLastTwo(plan.a), swapLastTwo(plan.c), true};
    if (!isRowMajor(plan.c))
      return std::nullopt;
  }
  if (!isMatrix(plan.a) || !isMatrix(plan.b))
    return std::nullopt;
  return plan;
}

//===----------------------------------------------------------------------===//
// What consumers take and producers write
//===----------------------------------------------------------------------===//

bool Placement::accepts(OpOperand &use, const Layout &layout) const {
  Operation *op = use.getOwner();
  unsigned number = use.getOperandNumber();
  if (isViewOp(op)) {
    auto it = directions.find(op);
    if (it == directions.end() || it->second == Copy)
      return true; // not decided yet: it will see this layout, or copy
    if (it->second == Backward)
      return false; // the operand lies in the result already
    auto result = applyView(op, layout);
    return result && llvm::all_of(op->getResult(0).getUses(), [&](OpOperand &next) {
             return accepts(next, *result);
           });
  }
  if (isa<func::ReturnOp, pipe::AccumulateOp, nn::ConcatOp, nn::PadOp, linalg::GenericOp>(op))
    return true;
  if (auto matmul = dyn_cast<nn::MatmulOp>(op)) {
    auto dense = [](Value v) { return Layout::dense(shapeOf(v)); };
    return planGemm(matmul, number == 0 ? layout : dense(matmul.getLhs()),
                    number == 1 ? layout : dense(matmul.getRhs()), dense(matmul.getResult()))
        .has_value();
  }
  if (auto attention = dyn_cast<nn::AttentionOp>(op))
    return use.get() == attention.getMask() || layout.lastIsContiguous();
  if (auto grad = dyn_cast<nn::AttentionGradOp>(op)) {
    if (use.get() == grad.getLse())
      return layout.isDense();
    return use.get() == grad.getMask() || layout.lastIsContiguous();
  }
  if (isa<nn::RopeOp>(op))
    return number == 0 ? layout.lastIsContiguous() : layout.isDense();
  if (isa<nn::CrossEntropyGradOp>(op) && number == 3)
    return true;
  if (folds.bias.count(folds.anchor(op)))
    return true; // the product is not stored, the bias is read behind its broadcast
  if (isElementwise(op) && !folds.keeps(op))
    return true;
  return layout.isDense();
}

bool Placement::canWrite(Value value, const Layout &layout) const {
  Operation *def = value.getDefiningOp();
  auto dense = [](Value v) { return Layout::dense(shapeOf(v)); };
  if (auto it = folds.bias.find(def); it != folds.bias.end()) {
    nn::MatmulOp matmul = it->second.matmul;
    auto plan = planGemm(matmul, dense(matmul.getLhs()), dense(matmul.getRhs()), layout);
    return plan && !plan->swapped;
  }
  if (folds.anchor(def) != def || folds.keeps(def))
    return false;
  if (auto matmul = dyn_cast<nn::MatmulOp>(def))
    return planGemm(matmul, dense(matmul.getLhs()), dense(matmul.getRhs()), layout).has_value();
  if (auto attention = dyn_cast<nn::AttentionOp>(def))
    return value == attention.getResult() && layout.lastIsContiguous();
  if (isa<nn::AttentionGradOp, nn::RopeOp>(def))
    return layout.lastIsContiguous();
  return isa<linalg::GenericOp, nn::ConcatOp>(def) || isElementwise(def);
}

bool Placement::othersAccept(Value value, Operation *except, const Layout &layout) const {
  return llvm::all_of(value.getUses(), [&](OpOperand &use) {
    return use.getOwner() == except || accepts(use, layout);
  });
}

bool Placement::canPlace(Value value, Operation *user, const Layout &layout) const {
  Operation *def = value.getDefiningOp();
  if (!def || hosts.count(value) || !othersAccept(value, user, layout))
    return false;
  if (isViewOp(def)) {
    auto inner = invertView(def, layout);
    return inner && canPlace(def->getOperand(0), def, *inner);
  }
  return canWrite(value, layout);
}

std::optional<Layout> Placement::forwardLayout(Value value) const {
  if (auto it = hosts.find(value); it != hosts.end())
    return it->second.layout;
  Operation *def = value.getDefiningOp();
  if (def && isViewOp(def)) {
    auto base = forwardLayout(def->getOperand(0));
    if (auto result = base ? applyView(def, *base) : std::nullopt)
      return result;
  }
  return Layout::dense(shapeOf(value)); // its own memory, or a copy
}

Layout Placement::layoutOf(Value value) const {
  auto it = hosts.find(value);
  return it == hosts.end() ? Layout::dense(shapeOf(value)) : it->second.layout;
}

//===----------------------------------------------------------------------===//
// Planning, from the last op to the first
//===----------------------------------------------------------------------===//

void Placement::placeInside(Value value, Value result, const Layout &layout) {
  auto it = hosts.find(result);
  if (it == hosts.end())
    hosts[value] = {result, {}, layout};
  else {
    Host host = it->second; // a copy: the map may grow
    hosts[value] = {host.value, host.parameter, layout, host.mode, host.second};
  }
}

void Placement::planView(Operation *op) {
  if (directions.count(op))
    return; // between a gradient and its producer
  Value result = op->getResult(0), operand = op->getOperand(0);
  if (!hosts.count(result)) {
    auto base = forwardLayout(operand);
    auto forward = base ? applyView(op, *base) : std::nullopt;
    if (forward && llvm::all_of(result.getUses(),
                                [&](OpOperand &use) { return accepts(use, *forward); })) {
      directions[op] = Forward;
      return;
    }
  }
  auto inner = invertView(op, layoutOf(result));
  if (inner && canPlace(operand, op, *inner)) {
    placeInside(operand, result, *inner);
    directions[op] = Backward;
  } else {
    directions[op] = Copy;
  }
}

void Placement::planConcat(nn::ConcatOp op) {
  Layout whole = layoutOf(op.getResult());
  for (auto [i, input] : llvm::enumerate(op.getInputs())) {
    Layout part = partOf(op, i, whole);
    if (input.hasOneUse() || llvm::count(op.getInputs(), input) == 1)
      if (canPlace(input, op, part))
        placeInside(input, op.getResult(), part);
  }
}

/// Finds the producers that can accumulate `value` at `layout` of a gradient.
/// Every value on the way must have no other reader.
bool Placement::collectLeaves(Value value, const Layout &layout,
                              SmallVectorImpl<Leaf> &leaves) {
  Operation *def = value.getDefiningOp();
  if (!def || !value.hasOneUse() || hosts.count(value) || folds.anchor(def) != def)
    return false;
  if (isa<nn::ReshapeOp, nn::TransposeOp>(def)) {
    auto inner = invertView(def, layout);
    if (!inner || !collectLeaves(def->getOperand(0), *inner, leaves))
      return false;
    leaves.push_back({value, layout, nullptr});
    return true;
  }
  if (auto concat = dyn_cast<nn::ConcatOp>(def)) {
    leaves.push_back({value, layout, def}); // copies the parts that are not placed
    for (unsigned i = 0; i < concat.getInputs().size(); ++i)
      (void)collectLeaves(concat.getInputs()[i], partOf(concat, i, layout), leaves);
    return true;
  }
  if (auto scatter = dyn_cast<nn::ScatterOp>(def); scatter && !splatValue(scatter.getBase())) {
    // Adds to a base that lies in the gradient already.
    if (scatter.getKind() != nn::ScatterKind::add || !layout.isDense() ||
        !collectLeaves(scatter.getBase(), layout, leaves))
      return false;
    leaves.push_back({value, layout, def});
    return true;
  }
  if (!canAccumulate(value))
    return false;
  if (isa<nn::MatmulOp>(def)) {
    if (!canWrite(value, layout))
      return false;
  } else if (isa<nn::GroupedMatmulGradWeightOp>(def)) {
    if (!layout.isDense() && !layout.transpose({0, 2, 1}).isDense())
      return false;
  } else if (!layout.isDense()) {
    return false;
  }
  leaves.push_back({value, layout, def});
  return true;
}

void Placement::planAccumulate(pipe::AccumulateOp op) {
  // 1. The summands of the cotangent.
  SmallVector<std::pair<Value, Layout>> todo{
      {op.getGradient(), Layout::dense(shapeOf(op.getGradient()))}};
  SmallVector<std::pair<Value, Layout>> summands;
  auto hide = [&](Value value, const Layout &layout) {
    hosts[value] = {Value(), op.getParameterAttr(), layout, exec::Mode::add};
  };
  while (!todo.empty()) {
    auto [value, layout] = todo.pop_back_val();
    Operation *def = value.getDefiningOp();
    if (def && value.hasOneUse() && folds.gradientSums.contains(def)) {
      hide(value, layout);
      todo.push_back({def->getOperand(1), layout});
      todo.push_back({def->getOperand(0), layout});
      continue;
    }
    if (def && value.hasOneUse() && isa<nn::ReshapeOp, nn::TransposeOp>(def)) {
      Operation *behind = def->getOperand(0).getDefiningOp();
      auto inner = invertView(def, layout);
      if (behind && inner && folds.gradientSums.contains(behind)) {
        hide(value, layout);
        directions[def] = Backward;
        todo.push_back({def->getOperand(0), *inner});
        continue;
      }
    }
    summands.push_back({value, layout});
  }
  // 2. Their producers, where they can accumulate.
  struct Summand {
    SmallVector<Leaf> leaves;
    int64_t first = INT64_MAX, last = -1;
  };
  std::vector<Summand> placed;
  auto &left = rests[op];
  for (auto &[value, layout] : summands) {
    Summand summand;
    if (!collectLeaves(value, layout, summand.leaves)) {
      left.push_back({value, layout, exec::Mode::add});
      continue;
    }
    for (Leaf &leaf : summand.leaves) {
      if (!leaf.producer)
        continue;
      summand.first = std::min(summand.first, order.lookup(leaf.producer));
      summand.last = std::max(summand.last, order.lookup(leaf.producer));
    }
    placed.push_back(std::move(summand));
  }
  // 3. The first one overwrites in the first micro-batch, so it must be done
  // before any other begins.
  llvm::stable_sort(placed, [](const Summand &a, const Summand &b) { return a.last < b.last; });
  for (size_t i = 0; i < placed.size(); ++i) {
    if (i > 0 && placed[i].first <= placed[0].last) {
      const Leaf &top = placed[i].leaves.back();
      left.push_back({top.value, top.layout, exec::Mode::add});
      continue;
    }
    for (Leaf &leaf : placed[i].leaves) {
      hosts[leaf.value] = {Value(), op.getParameterAttr(), leaf.layout,
                           i == 0 ? exec::Mode::add_after_first : exec::Mode::add,
                           op->hasAttr(pipe::kSecondAttr)};
      if (!leaf.producer)
        directions[leaf.value.getDefiningOp()] = Backward;
    }
  }
  if (placed.empty() && !left.empty())
    left.front().mode = exec::Mode::add_after_first;
}

Placement::Placement(func::FuncOp func, const Folds &folds, KeptWords *kept)
    : func(func), folds(folds), keptWords(kept) {
  Block &block = func.getBody().front();
  int64_t index = 0;
  for (Operation &op : block) {
    op.walk([&](Operation *inner) { order[inner] = index; });
    ++index;
  }
  for (Operation &op : llvm::reverse(block)) {
    if (isViewOp(&op))
      planView(&op);
    else if (auto concat = dyn_cast<nn::ConcatOp>(op))
      planConcat(concat);
    else if (auto accumulate = dyn_cast<pipe::AccumulateOp>(op))
      planAccumulate(accumulate);
  }
  for (BlockArgument arg : block.getArguments())
    assign(arg);
  for (Operation &op : block) {
    if (auto async = dyn_cast<dist::AsyncOp>(op))
      for (Operation &inner : async.getBody().front())
        for (Value result : inner.getResults())
          assign(result);
    for (Value result : op.getResults())
      assign(result);
  }
  keepResults();
  computeLastUses();
  shareMemory();
}
