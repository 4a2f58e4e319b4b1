//===- Folds.cpp - Additions that library kernels take along -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Folds.h"
#include "Elementwise.h"
#include "dialects/pipe/Pipe.h"

using namespace mlir;
using namespace moire;
using namespace moire::program;

bool program::canAccumulate(Value value) {
  Operation *def = value.getDefiningOp();
  if (!def || !elementOf(value).isF32())
    return false;
  if (isa<nn::MatmulOp, nn::GroupedMatmulGradWeightOp, nn::PerExpertSumOp>(def))
    return true;
  if (auto reduce = dyn_cast<nn::ReduceOp>(def))
    return reduce.getKind() == nn::ReduceKind::sum;
  if (auto scatter = dyn_cast<nn::ScatterOp>(def)) {
    auto base = dyn_cast_or_null<FloatAttr>(splatValue(scatter.getBase()));
    return scatter.getKind() == nn::ScatterKind::add && base && base.getValue().isZero();
  }
  if (auto grad = dyn_cast<nn::LayerNormGradOp>(def))
    return value == grad.getDScale() || value == grad.getDBias();
  if (auto grad = dyn_cast<nn::RMSNormGradOp>(def))
    return value == grad.getDScale();
  return false;
}

/// Looks through single-use reshapes and transposes.
static Value behindViews(Value value) {
  while (value.hasOneUse() &&
         isa_and_nonnull<nn::ReshapeOp, nn::TransposeOp>(value.getDefiningOp()))
    value = value.getDefiningOp()->getOperand(0);
  return value;
}

/// Collects the additions between a parameter's cotangent and its summands.
static void collectSums(Value value, DenseSet<Operation *> &sums) {
  value = behindViews(value);
  auto add = value.getDefiningOp<arith::AddFOp>();
  if (!add || !value.hasOneUse())
    return;
  auto accumulates = [](Value summand) {
    summand = behindViews(summand);
    return summand.hasOneUse() &&
           (canAccumulate(summand) || summand.getDefiningOp<arith::AddFOp>());
  };
  if (!accumulates(add.getLhs()) && !accumulates(add.getRhs()))
    return;
  sums.insert(add);
  collectSums(add.getLhs(), sums);
  collectSums(add.getRhs(), sums);
}

Folds::Folds(func::FuncOp func) {
  Block &block = func.getBody().front();
  int64_t index = 0;
  for (Operation &op : block) {
    op.walk([&](Operation *inner) { order[inner] = index; });
    ++index;
  }
  for (Operation &op : block)
    if (auto accumulate = dyn_cast<pipe::AccumulateOp>(op))
      collectSums(accumulate.getGradient(), gradientSums);
  kept.insert(gradientSums.begin(), gradientSums.end());
  for (Operation &op : block) {
    if (auto entropy = dyn_cast<nn::CrossEntropyOp>(op))
      matchLoss(entropy);
    auto add = dyn_cast<arith::AddFOp>(op);
    if (!add || !isElementwise(add) || kept.contains(add) || !elementOf(add).isF32())
      continue;
    if (matchBias(add) || matchExpertBias(add) || matchGradResidual(add) ||
        matchResidual(add) || matchProductSum(add))
      kept.insert(add);
  }
}

void Folds::fold(Operation *op, Operation *into) { anchors[op] = into; }

bool Folds::definedBefore(Value value, Operation *op) const {
  Operation *def = value.getDefiningOp();
  return !def || order.lookup(def) < order.lookup(op);
}

Operation *Folds::storedBy(arith::AddFOp add, Value operand) {
  auto rounding = add->hasOneUse() ? dyn_cast<arith::TruncFOp>(*add->user_begin()) : nullptr;
  if (!rounding || !elementOf(rounding.getResult()).isBF16() || !elementOf(operand).isBF16())
    return add;
  fold(add, rounding);
  kept.insert(rounding);
  return rounding;
}

bool Folds::matchBias(arith::AddFOp add) {
  for (int side : {0, 1}) {
    auto matmul = add->getOperand(side).getDefiningOp<nn::MatmulOp>();
    auto broadcast = add->getOperand(1 - side).getDefiningOp<nn::BroadcastOp>();
    if (!matmul || !broadcast || !matmul->hasOneUse() || anchors.count(matmul) ||
        broadcast.getDimensions() != ArrayRef<int64_t>{matmul.getType().getRank() - 1})
      continue;
    Operation *stored = storedBy(add, matmul.getLhs());
    bias[stored] = {matmul, broadcast.getInput()};
    fold(matmul, stored);
    return true;
  }
  return false;
}

bool Folds::matchExpertBias(arith::AddFOp add) {
  for (int side : {0, 1}) {
    auto perExpert = add->getOperand(side).getDefiningOp<nn::PerExpertOp>();
    if (!perExpert || !perExpert->hasOneUse())
      continue;
    Value rows = add->getOperand(1 - side);
    auto product = rows.getDefiningOp<nn::GroupedMatmulOp>();
    if (product && (!product->hasOneUse() || anchors.count(product) ||
                    product.getRouting() != perExpert.getRouting()))
      product = {};
    Operation *stored = product ? storedBy(add, product.getRows()) : add;
    expertBias[stored] = {rows, perExpert, product};
    fold(perExpert, stored);
    if (product)
      fold(product, stored);
    return true;
  }
  return false;
}

bool Folds::matchResidual(arith::AddFOp add) {
  Operation *first = nullptr;
  for (Operation *user : add->getUsers())
    if (!first || order.lookup(user) < order.lookup(first))
      first = user;
  if (!isa_and_nonnull<nn::LayerNormOp, nn::RMSNormOp>(first) ||
      first->getOperand(0) != add.getResult())
    return false;
  // The norms read dense rows.
  for (Value summand : add->getOperands())
    if (summand.getDefiningOp<nn::BroadcastOp>() || splatValue(summand))
      return false;
  // A kernel that adds can widen in passing.
  for (Value summand : add->getOperands())
    if (summand.getDefiningOp<arith::ExtFOp>() && summand.hasOneUse())
      return false;
  residual[first] = add;
  fold(add, first);
  return true;
}

bool Folds::matchGradResidual(arith::AddFOp add) {
  for (int side : {0, 1}) {
    Value gradient = add->getOperand(side), other = add->getOperand(1 - side);
    Operation *grad = gradient.getDefiningOp();
    if (!isa_and_nonnull<nn::LayerNormGradOp, nn::RMSNormGradOp>(grad) ||
        gradient != grad->getResult(0) || !gradient.hasOneUse() ||
        !definedBefore(other, grad) || gradResidual.count(grad))
      continue;
    // A folded operand has its value only at its anchor.
    if (Operation *def = other.getDefiningOp())
      if (order.lookup(anchor(def)) >= order.lookup(grad))
        continue;
    gradResidual[grad] = {add, other};
    fold(add, grad);
    return true;
  }
  return false;
}

bool Folds::matchProductSum(arith::AddFOp add) {
  // A kernel that reads the sum would make the addition for nothing.
  for (Operation *user : add->getUsers())
    if (isElementwise(user) && !kept.contains(user) && !isa<arith::AddFOp>(user))
      return false;
  // Of two products, the later one is added.
  Value lhs = add.getLhs(), rhs = add.getRhs();
  if (lhs.getDefiningOp<nn::MatmulOp>() && !definedBefore(lhs, rhs.getDefiningOp()))
    std::swap(lhs, rhs);
  for (auto [product, other] : {std::pair(rhs, lhs), std::pair(lhs, rhs)}) {
    auto matmul = product.getDefiningOp<nn::MatmulOp>();
    if (!matmul || !matmul->hasOneUse() || product == other)
      continue;
    // The other summand's memory must be free to take.
    Operation *def = other.getDefiningOp();
    if (!def || !other.hasOneUse() || isViewOp(def) || isa<pipe::ReadOp, arith::ConstantOp>(def))
      continue;
    productSum[add] = {matmul, other};
    fold(matmul, add);
    return true;
  }
  return false;
}

void Folds::matchLoss(nn::CrossEntropyOp op) {
  nn::CrossEntropyGradOp grad;
  for (Operation *user : op.getLogits().getUsers()) {
    if (user == op)
      continue;
    auto other = dyn_cast<nn::CrossEntropyGradOp>(user);
    if (!other || grad || other.getLogits() != op.getLogits())
      return;
    grad = other;
  }
  if (!grad || grad.getLse() != op.getLse() || grad.getLabels() != op.getLabels() ||
      grad.getIgnoreIndex() != op.getIgnoreIndex())
    return;
  auto broadcast = grad.getCotangent().getDefiningOp<nn::BroadcastOp>();
  if (!broadcast || !broadcast.getDimensions().empty() ||
      !definedBefore(broadcast.getInput(), op))
    return;
  loss[op] = {grad, broadcast.getInput()};
  fold(grad, op);
}
