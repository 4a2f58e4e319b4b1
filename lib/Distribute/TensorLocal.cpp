//===- TensorLocal.cpp - The values of one rank of the axis tp -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TensorLocal.h"
#include "dialects/dist/Dist.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moire;
using namespace moire::distribute;

TensorLocal::TensorLocal(MLIRContext *context, int64_t ranks)
    : ranks(ranks), axes(Builder(context).getStrArrayAttr({"tp"})) {}

void TensorLocal::define(Value value, RankedTensorType type, const Shard &shard) {
  wholes[value] = {type, shard};
}

//===----------------------------------------------------------------------===//
// Conversions
//===----------------------------------------------------------------------===//

/// Elements [begin, end) of a dim.
static Value sliceDim(OpBuilder &b, Location loc, Value value, int64_t dim, int64_t begin,
                      int64_t end) {
  ArrayRef<int64_t> shape = sizes(value);
  SmallVector<int64_t> starts(shape.size(), 0), limits(shape), strides(shape.size(), 1);
  starts[dim] = begin;
  limits[dim] = end;
  return b.create<nn::SliceOp>(loc, value, starts, limits, strides);
}

/// `each` applied to the blocks of a dim, where `parts` of `sizes` make them, joined again.
static Value eachBlock(OpBuilder &b, Location loc, Value value, const Shard &shard, int64_t parts,
                       function_ref<Value(Value)> each) {
  if (shard.blocks.size() == 1)
    return each(value);
  SmallVector<Value> done;
  int64_t begin = 0;
  for (int64_t size : shard.blocks) {
    done.push_back(each(sliceDim(b, loc, value, shard.dim, begin, begin + size / parts)));
    begin += size / parts;
  }
  return b.create<nn::ConcatOp>(loc, done, shard.dim);
}

static RankedTensorType scaleDim(Value value, int64_t dim, int64_t by, int64_t over) {
  SmallVector<int64_t> shape(sizes(value));
  shape[dim] = shape[dim] * by / over;
  return RankedTensorType::get(shape, getElementTypeOrSelf(value));
}

Value TensorLocal::gather(OpBuilder &b, Location loc, Value value, const Whole &whole) {
  int64_t dim = whole.shard.dim;
  return eachBlock(b, loc, value, whole.shard, ranks, [&](Value block) -> Value {
    return b.create<dist::AllGatherOp>(loc, scaleDim(block, dim, ranks, 1), block, dim, axes);
  });
}

Value TensorLocal::pieces(OpBuilder &b, Location loc, Value value, const Shard &to) {
  return eachBlock(b, loc, value, to, 1, [&](Value block) -> Value {
    return b.create<dist::SplitOp>(loc, scaleDim(block, to.dim, 1, ranks), block, to.dim, axes);
  });
}

/// A value that all ranks hold as a sum over them: the first has it, others zeros.
static Value onFirstRank(OpBuilder &b, Location loc, Value value, ArrayAttr axes) {
  auto scalar = RankedTensorType::get({}, b.getI64Type());
  auto zeros = [&](RankedTensorType type) {
    return b.create<arith::ConstantOp>(loc, cast<TypedAttr>(b.getZeroAttr(type)));
  };
  auto type = cast<RankedTensorType>(value.getType());
  Value isFirst = b.create<arith::CmpIOp>(
      loc, arith::CmpIPredicate::eq, b.create<dist::AxisIndexOp>(loc, scalar, axes), zeros(scalar));
  Value everywhere = b.create<nn::BroadcastOp>(
      loc, RankedTensorType::get(type.getShape(), b.getI1Type()), isFirst, ArrayRef<int64_t>());
  return b.create<arith::SelectOp>(loc, everywhere, value, zeros(type));
}

Value TensorLocal::make(OpBuilder &b, Location loc, Value value, const Shard &to) {
  const Whole whole = wholes.lookup(value);
  if (to.isUnreduced()) {
    if (auto perExpert = value.getDefiningOp<nn::PerExpertOp>()) // values are fewer than rows
      return b.create<nn::PerExpertOp>(loc, onFirstRank(b, loc, perExpert.getValues(), axes),
                                       perExpert.getRouting());
    return onFirstRank(b, loc, value, axes);
  }
  if (!to.isSplit()) {
    if (whole.shard.isSplit())
      return gather(b, loc, value, whole);
    return b.create<dist::AllReduceOp>(loc, value, axes);
  }
  auto local = cast<RankedTensorType>(localType(whole.type, to, ranks));
  DenseElementsAttr elements;
  if (matchPattern(value, m_Constant(&elements)) && elements.isSplat())
    return b.create<arith::ConstantOp>(loc, elements.resizeSplat(local));
  // What is repeated along the dim is repeated less often.
  if (auto repeat = value.getDefiningOp<nn::BroadcastOp>())
    if (whole.shard.isWhole() && !llvm::is_contained(repeat.getDimensions(), to.dim))
      return b.create<nn::BroadcastOp>(loc, local, repeat.getInput(), repeat.getDimensions());
  if (whole.shard.isUnreduced() && to.blocks.size() == 1)
    return b.create<dist::ReduceScatterOp>(loc, local, value, to.dim, axes);
  return pieces(b, loc, convert(b, loc, value, Shard::replicated()), to);
}

Value TensorLocal::convert(OpBuilder &b, Location loc, Value value, const Shard &to) {
  auto it = wholes.find(value);
  // What is no tensor is the same on all ranks.
  if (it == wholes.end() || it->second.shard == to || (it->second.shard.isWhole() && to.isWhole()))
    return value;
  for (auto &[shard, form] : made[value])
    if (shard == to)
      return form;
  Value form = make(b, loc, value, to);
  made[value].push_back({to, form});
  return form;
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

/// Windows and paddings of split dims, which attributes give in whole sizes.
void TensorLocal::adjustIndices(Operation *op, const Assignment &assignment) {
  const Shard &split = assignment.operands.front();
  if (!split.isSplit())
    return;
  int64_t dim = split.dim;
  auto with = [&](ArrayRef<int64_t> list, int64_t value) {
    SmallVector<int64_t> copy(list);
    copy[dim] = value;
    return copy;
  };
  if (auto slice = dyn_cast<nn::SliceOp>(op)) {
    auto window = throughSlice(split, slice.getStarts()[dim], slice.getLimits()[dim],
                               slice.getStrides()[dim], ranks);
    slice.setStarts(with(slice.getStarts(), window->start));
    slice.setLimits(with(slice.getLimits(), window->limit));
  } else if (auto pad = dyn_cast<nn::PadOp>(op)) {
    auto padding =
        throughPad(split, pad.getLow()[dim], pad.getHigh()[dim], pad.getInterior()[dim], ranks);
    pad.setLow(with(pad.getLow(), padding->low));
    pad.setHigh(with(pad.getHigh(), padding->high));
  }
}

bool TensorLocal::expand(Operation *op, const Assignment &assignment) {
  const Shard &first = assignment.operands.front();
  OpBuilder b(op);
  SmallVector<Value> results;
  if ((isa<nn::GatherOp, nn::ScatterOp>(op) && first.isSplit(0)) ||
      (isa<nn::CrossEntropyOp, nn::CrossEntropyGradOp>(op) && first.isSplit(1)))
    results = expandVocabulary(b, op, axes, ranks);
  else if (isa<nn::RMSNormOp, nn::RMSNormGradOp>(op) &&
           first.isSplit((int64_t)sizes(op->getOperand(0)).size() - 1))
    results = expandNorm(b, op, axes, ranks);
  else
    return false;
  for (auto [result, value, shard] :
       llvm::zip_equal(op->getResults(), results, assignment.results)) {
    define(value, cast<RankedTensorType>(result.getType()), shard);
    result.replaceAllUsesWith(value);
  }
  op->erase();
  return true;
}

void TensorLocal::rewrite(Operation *op, const Assignment &assignment) {
  OpBuilder b(op);
  for (auto [operand, shard] : llvm::zip_equal(op->getOpOperands(), assignment.operands))
    operand.set(convert(b, op->getLoc(), operand.get(), shard));
  if (op->getNumOperands() > 0) {
    if (expand(op, assignment))
      return;
    adjustIndices(op, assignment);
  }
  for (auto [result, shard] : llvm::zip_equal(op->getResults(), assignment.results)) {
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (!type)
      continue;
    define(result, type, shard);
    result.setType(localType(type, shard, ranks));
  }
}
