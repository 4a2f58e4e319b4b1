//===- TensorVocabularyOps.cpp - Tables and losses by shards of tokens ---===//
//
// Each rank holds V / ranks consecutive tokens of the vocabulary.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TensorLocal.h"
#include "dialects/dist/Dist.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::distribute;

namespace {

/// Ops at one place, so that a formula reads like one.
class Formula {
public:
  Formula(OpBuilder &b, Location loc, ArrayAttr axes, int64_t ranks)
      : b(b), loc(loc), axes(axes), ranks(ranks) {}

  Value constant(Type type, double value) {
    auto tensor = cast<RankedTensorType>(type);
    Attribute element = isa<IntegerType>(tensor.getElementType())
                            ? Attribute(b.getIntegerAttr(tensor.getElementType(), (int64_t)value))
                            : Attribute(b.getFloatAttr(tensor.getElementType(), value));
    return b.create<arith::ConstantOp>(loc, DenseElementsAttr::get(tensor, element));
  }
  Value like(Value v, double value) { return constant(v.getType(), value); }
  RankedTensorType type(ArrayRef<int64_t> shape, Value elementsOf) {
    return RankedTensorType::get(shape, getElementTypeOrSelf(elementsOf));
  }
  Value repeat(Value v, ArrayRef<int64_t> shape, ArrayRef<int64_t> dims) {
    return b.create<nn::BroadcastOp>(loc, type(shape, v), v, dims);
  }
  Value compare(arith::CmpIPredicate predicate, Value l, Value r) {
    return b.create<arith::CmpIOp>(loc, predicate, l, r);
  }
  Value select(Value condition, Value yes, Value no) {
    return b.create<arith::SelectOp>(loc, condition, yes, no);
  }

  /// Tokens counted from the first of this rank's shard of `size`; whether each lies in it.
  std::pair<Value, Value> own(Value tokens, int64_t size) {
    Value index = b.create<dist::AxisIndexOp>(loc, RankedTensorType::get({}, b.getI64Type()), axes);
    Value first = b.create<arith::MulIOp>(loc, index, like(index, size));
    Value local = b.create<arith::SubIOp>(loc, tokens, repeat(first, sizes(tokens), {}));
    Value inside =
        b.create<arith::AndIOp>(loc, compare(arith::CmpIPredicate::sge, local, like(local, 0)),
                                compare(arith::CmpIPredicate::slt, local, like(local, size)));
    return {local, inside};
  }

  Value gather(nn::GatherOp op);
  Value scatter(nn::ScatterOp op);
  SmallVector<Value> loss(nn::CrossEntropyOp op);
  Value lossGrad(nn::CrossEntropyGradOp op);

private:
  /// `rows` [I..., rest...] where `inside` [I...], else 0.
  Value mask(Value rows, Value inside) {
    auto dims = llvm::to_vector(llvm::seq<int64_t>(0, sizes(inside).size()));
    return select(repeat(inside, sizes(rows), dims), rows, like(rows, 0));
  }

  OpBuilder &b;
  Location loc;
  ArrayAttr axes;
  int64_t ranks;
};

} // namespace

/// A token of another shard reads row 0 and gives zeros.
Value Formula::gather(nn::GatherOp op) {
  auto [local, inside] = own(op.getIndices(), sizes(op.getTable())[0]);
  Value rows = b.create<nn::GatherOp>(loc, op.getTable(), select(inside, local, like(local, 0)));
  return mask(rows, inside);
}

/// A token of another shard adds zeros to row 0.
Value Formula::scatter(nn::ScatterOp op) {
  auto [local, inside] = own(op.getIndices(), sizes(op.getBase())[0]);
  return b.create<nn::ScatterOp>(loc, op.getBase(), select(inside, local, like(local, 0)),
                                 mask(op.getUpdates(), inside), op.getKind());
}

/// The shards' log-sum-exps make that of the whole row:
///   lse = m + log sum_r exp(lse_r - m),  m = max_r lse_r.
/// The rank that has the row's label knows the logit, so that its summand of the loss
/// is the row's loss and that of all others is 0.
SmallVector<Value> Formula::loss(nn::CrossEntropyOp op) {
  const int64_t ignored = -100; // no label that is counted from 0
  int64_t rows = sizes(op.getLabels())[0];
  auto [local, inside] = own(op.getLabels(), sizes(op.getLogits())[1]);
  Value counts = compare(arith::CmpIPredicate::ne, op.getLabels(),
                         like(op.getLabels(), (int64_t)op.getIgnoreIndex()));
  Value mine = b.create<arith::AndIOp>(loc, inside, counts);
  auto part = b.create<nn::CrossEntropyOp>(loc, op.getLogits(),
                                           select(mine, local, like(local, ignored)), ignored);

  Value one = part.getLse();
  Value row = b.create<nn::ReshapeOp>(loc, type({1, rows}, one), one);
  Value all = b.create<dist::AllGatherOp>(loc, type({ranks, rows}, one), row, 0, axes);
  Value largest = b.create<nn::ReduceOp>(loc, all, nn::ReduceKind::max, ArrayRef<int64_t>{0});
  Value shifted = b.create<arith::SubFOp>(loc, all, repeat(largest, sizes(all), {1}));
  Value sum = b.create<nn::ReduceOp>(loc, b.create<math::ExpOp>(loc, shifted), nn::ReduceKind::sum,
                                     ArrayRef<int64_t>{0});
  Value lse = b.create<arith::AddFOp>(loc, largest, b.create<math::LogOp>(loc, sum));

  Value more = b.create<arith::SubFOp>(loc, lse, one);
  Value losses = b.create<arith::AddFOp>(loc, part.getLosses(), more);
  return {select(mine, losses, like(losses, 0)), lse};
}

/// (exp(logit - lse) - [it is the label's]) * cotangent, elementwise.
Value Formula::lossGrad(nn::CrossEntropyGradOp op) {
  ArrayRef<int64_t> shape = sizes(op.getLogits());
  Value local = own(op.getLabels(), shape[1]).first;
  Type element = getElementTypeOrSelf(op.getLse());
  auto grid = RankedTensorType::get(shape, element);

  Value logits = nn::castElements(b, loc, op.getLogits(), element);
  Value shifted = b.create<arith::SubFOp>(loc, logits, repeat(op.getLse(), shape, {0}));
  Value softmax = b.create<math::ExpOp>(loc, shifted);
  Value column = b.create<nn::IotaOp>(loc, RankedTensorType::get(shape, b.getI64Type()), 1);
  Value isLabel = compare(arith::CmpIPredicate::eq, column, repeat(local, shape, {0}));
  Value oneHot = select(isLabel, constant(grid, 1), constant(grid, 0));
  Value counts = compare(arith::CmpIPredicate::ne, op.getLabels(),
                         like(op.getLabels(), (int64_t)op.getIgnoreIndex()));
  Value cotangent = select(counts, op.getCotangent(), like(op.getCotangent(), 0));
  Value difference = b.create<arith::SubFOp>(loc, softmax, oneHot);
  Value result = b.create<arith::MulFOp>(loc, difference, repeat(cotangent, shape, {0}));
  return nn::castElements(b, loc, result, getElementTypeOrSelf(op.getLogits()));
}

SmallVector<Value> distribute::expandVocabulary(OpBuilder &b, Operation *op, ArrayAttr axes,
                                                int64_t ranks) {
  Formula formula(b, op->getLoc(), axes, ranks);
  return TypeSwitch<Operation *, SmallVector<Value>>(op)
      .Case([&](nn::GatherOp op) { return SmallVector<Value>{formula.gather(op)}; })
      .Case([&](nn::ScatterOp op) { return SmallVector<Value>{formula.scatter(op)}; })
      .Case([&](nn::CrossEntropyOp op) { return formula.loss(op); })
      .Case([&](nn::CrossEntropyGradOp op) { return SmallVector<Value>{formula.lossGrad(op)}; });
}
