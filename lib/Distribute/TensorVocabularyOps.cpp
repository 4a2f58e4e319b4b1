//===- TensorVocabularyOps.cpp - Tables and losses by shards of tokens ---===//
//
// Each rank holds V / ranks consecutive tokens of the vocabulary.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TensorFormula.h"
#include "TensorLocal.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::distribute;
using Compare = arith::CmpIPredicate;

/// Tokens counted from the first of this rank's shard of `size`; whether each lies in it.
static std::pair<Value, Value> own(TensorFormula &f, Value tokens, int64_t size) {
  Value index = f.make<dist::AxisIndexOp>(RankedTensorType::get({}, f.b.getI64Type()), f.axes);
  Value first = f.make<arith::MulIOp>(index, f.like(index, size));
  Value local = f.make<arith::SubIOp>(tokens, f.repeat(first, sizes(tokens), {}));
  Value inside = f.both(f.compare(Compare::sge, local, f.like(local, 0)),
                        f.compare(Compare::slt, local, f.like(local, size)));
  return {local, inside};
}

/// `rows` [I..., rest...] where `inside` [I...], else 0.
static Value mask(TensorFormula &f, Value rows, Value inside) {
  auto dims = llvm::to_vector(llvm::seq<int64_t>(0, sizes(inside).size()));
  return f.select(f.repeat(inside, sizes(rows), dims), rows, f.like(rows, 0));
}

static Value counts(TensorFormula &f, Value labels, int64_t ignored) {
  return f.compare(Compare::ne, labels, f.like(labels, ignored));
}

/// A token of another shard reads row 0 and gives zeros.
static Value gather(TensorFormula &f, nn::GatherOp op) {
  auto [local, inside] = own(f, op.getIndices(), sizes(op.getTable())[0]);
  Value rows = f.make<nn::GatherOp>(op.getTable(), f.select(inside, local, f.like(local, 0)));
  return mask(f, rows, inside);
}

/// A token of another shard adds zeros to row 0.
static Value scatter(TensorFormula &f, nn::ScatterOp op) {
  auto [local, inside] = own(f, op.getIndices(), sizes(op.getBase())[0]);
  return f.make<nn::ScatterOp>(op.getBase(), f.select(inside, local, f.like(local, 0)),
                               mask(f, op.getUpdates(), inside), op.getKind());
}

/// The shards' log-sum-exps make that of the whole row:
///   lse = m + log sum_r exp(lse_r - m),  m = max_r lse_r.
/// The rank that has the row's label knows the logit, so that its summand of the loss
/// is the row's loss and that of all others is 0.
static SmallVector<Value> loss(TensorFormula &f, nn::CrossEntropyOp op) {
  const int64_t none = -100; // no label that is counted from 0
  int64_t rows = sizes(op.getLabels())[0];
  auto [local, inside] = own(f, op.getLabels(), sizes(op.getLogits())[1]);
  Value mine = f.both(inside, counts(f, op.getLabels(), op.getIgnoreIndex()));
  // Rows without a label here take the shard's first: kernels leave out the
  // log-sum-exp of rows that are ignored.
  auto part = f.b.create<nn::CrossEntropyOp>(f.loc, op.getLogits(),
                                             f.select(mine, local, f.like(local, 0)), none);

  Value one = part.getLse();
  Value all =
      f.make<dist::AllGatherOp>(f.type({f.ranks, rows}, one), f.reshape(one, {1, rows}), 0, f.axes);
  Value largest = f.reduce(nn::ReduceKind::max, all, {0});
  Value shifted = f.sub(all, f.repeat(largest, sizes(all), {1}));
  Value sum = f.reduce(nn::ReduceKind::sum, f.make<math::ExpOp>(shifted), {0});
  Value lse = f.add(largest, f.make<math::LogOp>(sum));
  Value losses = f.add(part.getLosses(), f.sub(lse, one));
  return {f.select(mine, losses, f.like(losses, 0)), lse};
}

/// (exp(logit - lse) - [it is the label's]) * cotangent, elementwise.
static Value lossGrad(TensorFormula &f, nn::CrossEntropyGradOp op) {
  ArrayRef<int64_t> shape = sizes(op.getLogits());
  Value local = own(f, op.getLabels(), shape[1]).first;
  Type element = getElementTypeOrSelf(op.getLse());
  auto grid = RankedTensorType::get(shape, element);

  Value logits = nn::castElements(f.b, f.loc, op.getLogits(), element);
  Value softmax = f.make<math::ExpOp>(f.sub(logits, f.repeat(op.getLse(), shape, {0})));
  Value column = f.make<nn::IotaOp>(RankedTensorType::get(shape, f.b.getI64Type()), 1);
  Value isLabel = f.compare(Compare::eq, column, f.repeat(local, shape, {0}));
  Value oneHot = f.select(isLabel, f.constant(grid, 1), f.constant(grid, 0));
  Value cotangent = f.select(counts(f, op.getLabels(), op.getIgnoreIndex()), op.getCotangent(),
                             f.like(op.getCotangent(), 0));
  Value result = f.mul(f.sub(softmax, oneHot), f.repeat(cotangent, shape, {0}));
  return nn::castElements(f.b, f.loc, result, getElementTypeOrSelf(op.getLogits()));
}

SmallVector<Value> distribute::expandVocabulary(OpBuilder &b, Operation *op, ArrayAttr axes,
                                                int64_t ranks) {
  TensorFormula f{b, op->getLoc(), axes, ranks};
  return TypeSwitch<Operation *, SmallVector<Value>>(op)
      .Case([&](nn::GatherOp op) { return SmallVector<Value>{gather(f, op)}; })
      .Case([&](nn::ScatterOp op) { return SmallVector<Value>{scatter(f, op)}; })
      .Case([&](nn::CrossEntropyOp op) { return loss(f, op); })
      .Case([&](nn::CrossEntropyGradOp op) { return SmallVector<Value>{lossGrad(f, op)}; });
}
