//===- NNAdjoints.cpp - Reverse-mode derivatives of the nn ops -----------===//
//
// Each op builds the cotangents of its operands from those of its results.
// A null value stands for zero everywhere.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"
#include "dialects/nn/NNTypes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace moire::nn;

using Cotangents = ArrayRef<Value>;
using Wanted = ArrayRef<bool>;
using Adjoints = SmallVector<Value>;

#define ADJOINT(OP)                                                            \
  Adjoints OP::buildAdjoint(OpBuilder &b, Cotangents cotangents, Wanted wanted)

/// A splat of `value` in the element type of `type`.
static Value splat(OpBuilder &b, Location loc, Type type, double value) {
  auto tensor = cast<RankedTensorType>(type);
  Type element = tensor.getElementType();
  Attribute scalar = isa<FloatType>(element)
                         ? Attribute(b.getFloatAttr(element, value))
                         : b.getIntegerAttr(element, (int64_t)value);
  return b.create<arith::ConstantOp>(loc,
                                     DenseElementsAttr::get(tensor, scalar));
}

static Value reshape(OpBuilder &b, Location loc, Value v,
                     ArrayRef<int64_t> shape) {
  return b.createOrFold<ReshapeOp>(loc, typeOf(v).clone(shape), v);
}

/// `v`, whose shape is that of a tensor of rank `rank` without `dims`, repeated
/// along `dims` to `type`.
static Value broadcastAlong(OpBuilder &b, Location loc, Value v,
                            RankedTensorType type, ArrayRef<int64_t> dims) {
  SmallVector<int64_t> kept;
  for (int64_t i = 0; i < type.getRank(); ++i)
    if (!llvm::is_contained(dims, i))
      kept.push_back(i);
  return b.createOrFold<BroadcastOp>(loc, type.clone(typeOf(v).getElementType()),
                                     v, kept);
}

//===----------------------------------------------------------------------===//
// Data movement
//===----------------------------------------------------------------------===//

ADJOINT(ReshapeOp) {
  return {reshape(b, getLoc(), cotangents[0], getInput().getType().getShape())};
}

ADJOINT(TransposeOp) {
  SmallVector<int64_t> inverse(getPermutation().size());
  for (auto [i, p] : llvm::enumerate(getPermutation()))
    inverse[p] = i;
  return {b.createOrFold<TransposeOp>(getLoc(), cotangents[0], inverse)};
}

ADJOINT(BroadcastOp) {
  SmallVector<int64_t> added;
  for (int64_t i = 0; i < typeOf(getResult()).getRank(); ++i)
    if (!llvm::is_contained(getDimensions(), i))
      added.push_back(i);
  return {b.createOrFold<ReduceOp>(getLoc(), cotangents[0], ReduceKind::sum,
                                   added)};
}

ADJOINT(SliceOp) {
  auto in = shapeOf(getInput()), out = shapeOf(getResult());
  SmallVector<int64_t> high, interior;
  for (auto [i, start, stride] : llvm::enumerate(getStarts(), getStrides())) {
    if (out[i] == 0)
      return {Value()};
    high.push_back(in[i] - (start + (out[i] - 1) * stride + 1));
    interior.push_back(stride - 1);
  }
  return {b.create<PadOp>(getLoc(), cotangents[0], getStarts(), high, interior,
                          llvm::APFloat(0.0))};
}

ADJOINT(PadOp) {
  auto in = shapeOf(getInput());
  SmallVector<int64_t> limits, strides;
  for (auto [i, low, interior] : llvm::enumerate(getLow(), getInterior())) {
    if (in[i] == 0)
      return {Value()};
    limits.push_back(low + (in[i] - 1) * (interior + 1) + 1);
    strides.push_back(interior + 1);
  }
  return {b.createOrFold<SliceOp>(getLoc(), cotangents[0], getLow(), limits,
                                  strides)};
}

ADJOINT(ConcatOp) {
  auto shape = shapeOf(getResult());
  SmallVector<int64_t> starts(shape.size(), 0), strides(shape.size(), 1);
  Adjoints result;
  for (auto [input, want] : llvm::zip(getInputs(), wanted)) {
    int64_t size = shapeOf(input)[getDim()];
    SmallVector<int64_t> limits(shape);
    limits[getDim()] = starts[getDim()] + size;
    result.push_back(want ? b.createOrFold<SliceOp>(getLoc(), cotangents[0],
                                                    starts, limits, strides)
                          : Value());
    starts[getDim()] += size;
  }
  return result;
}

ADJOINT(ReverseOp) {
  return {b.create<ReverseOp>(getLoc(), cotangents[0], getDims())};
}

//===----------------------------------------------------------------------===//
// Gather and scatter
//===----------------------------------------------------------------------===//

ADJOINT(GatherOp) {
  Value zeros = splat(b, getLoc(), getTable().getType(), 0);
  return {b.create<ScatterOp>(getLoc(), zeros, getIndices(), cotangents[0],
                              ScatterKind::add),
          Value()};
}

ADJOINT(GatherElementsOp) {
  Value zeros = splat(b, getLoc(), getInput().getType(), 0);
  return {b.create<ScatterElementsOp>(getLoc(), zeros, getIndices(),
                                      cotangents[0], getAxis(),
                                      ScatterKind::add),
          Value()};
}

/// `cotangent` where `mine` equals `winner`, else 0: of several updates written
/// to one place only the last one is in the result.
static Value maskLosers(OpBuilder &b, Location loc, Value cotangent, Value mine,
                        Value winner) {
  Value won = b.create<arith::CmpIOp>(loc, arith::CmpIPredicate::eq, mine, winner);
  auto type = typeOf(cotangent);
  if (typeOf(won).getShape() != type.getShape()) {
    SmallVector<int64_t> dims =
        llvm::to_vector(llvm::seq<int64_t>(0, typeOf(won).getRank()));
    won = b.create<BroadcastOp>(loc, type.clone(b.getI1Type()), won, dims);
  }
  return b.create<arith::SelectOp>(loc, won, cotangent, splat(b, loc, type, 0));
}

ADJOINT(ScatterOp) {
  Location loc = getLoc();
  Value dy = cotangents[0], dBase, dUpdates;
  bool set = getKind() == ScatterKind::set;
  if (wanted[0])
    dBase = set ? b.create<ScatterOp>(
                      loc, dy, getIndices(),
                      splat(b, loc, getUpdates().getType(), 0), ScatterKind::set)
                : dy;
  if (wanted[2]) {
    dUpdates = b.create<GatherOp>(loc, dy, getIndices());
    if (set) {
      auto indices = getIndices().getType();
      auto flat = RankedTensorType::get({indices.getNumElements()},
                                        indices.getElementType());
      Value mine = reshape(b, loc, b.create<IotaOp>(loc, flat, 0),
                           indices.getShape());
      Value nobody = splat(b, loc, flat.clone(shapeOf(getBase()).take_front()), -1);
      Value last = b.create<ScatterOp>(loc, nobody, getIndices(), mine,
                                       ScatterKind::set);
      Value winner = b.create<GatherOp>(loc, last, getIndices());
      dUpdates = maskLosers(b, loc, dUpdates, mine, winner);
    }
  }
  return {dBase, Value(), dUpdates};
}

ADJOINT(ScatterElementsOp) {
  Location loc = getLoc();
  Value dy = cotangents[0], dBase, dUpdates;
  bool set = getKind() == ScatterKind::set;
  if (wanted[0])
    dBase = set ? b.create<ScatterElementsOp>(
                      loc, dy, getIndices(),
                      splat(b, loc, getUpdates().getType(), 0), getAxis(),
                      ScatterKind::set)
                : dy;
  if (wanted[2]) {
    dUpdates = b.create<GatherElementsOp>(loc, dy, getIndices(), getAxis());
    if (set) {
      // Rivals for one place differ only in their position along the axis.
      Value mine = b.create<IotaOp>(loc, getIndices().getType(), getAxis());
      Value nobody = splat(b, loc,
                           getIndices().getType().clone(shapeOf(getBase())), -1);
      Value last = b.create<ScatterElementsOp>(loc, nobody, getIndices(), mine,
                                               getAxis(), ScatterKind::set);
      Value winner =
          b.create<GatherElementsOp>(loc, last, getIndices(), getAxis());
      dUpdates = maskLosers(b, loc, dUpdates, mine, winner);
    }
  }
  return {dBase, Value(), dUpdates};
}

//===----------------------------------------------------------------------===//
// Contractions, reductions, order
//===----------------------------------------------------------------------===//

/// A product of narrow operands as its f32 sum and the rounding of it, so that a
/// reader that widens it again can leave the rounding out.
static Value roundedProduct(OpBuilder &b, Operation *product) {
  Value sum = product->getResult(0);
  Type narrow = typeOf(sum).getElementType();
  sum.setType(cast<RankedTensorType>(widened(sum.getType())));
  return castElements(b, product->getLoc(), sum, narrow);
}

ADJOINT(MatmulOp) {
  Location loc = getLoc();
  Value lhs = getLhs(), rhs = getRhs(), dy = cotangents[0], dLhs, dRhs;
  bool tl = getTransposeLhs(), tr = getTransposeRhs();
  dy = castElements(b, loc, dy, typeOf(lhs).getElementType());
  auto product = [&](Value l, Value r, bool transposeL, bool transposeR) {
    return roundedProduct(b, b.create<MatmulOp>(loc, l, r, transposeL, transposeR));
  };
  // y = l r  =>  dl = dy r^T, dr = l^T dy; a stored transpose takes the
  // transposed product instead.
  if (wanted[0])
    dLhs = tl ? product(rhs, dy, tr, true) : product(dy, rhs, false, !tr);
  if (wanted[1]) {
    // One weight for all batches: their rows are rows of one product, which
    // sums over the batches without ever holding a product per batch.
    if (shapeOf(rhs).size() == 2 && shapeOf(lhs).size() > 2) {
      lhs = reshape(b, loc, lhs,
                    {typeOf(lhs).getNumElements() / shapeOf(lhs).back(),
                     shapeOf(lhs).back()});
      dy = reshape(
          b, loc, dy,
          {typeOf(dy).getNumElements() / shapeOf(dy).back(), shapeOf(dy).back()});
    }
    dRhs = tr ? product(dy, lhs, true, tl) : product(lhs, dy, !tl, false);
  }
  return {dLhs, dRhs};
}

/// d prod(x) without dividing by a zero factor: with no zero in a group it is
/// prod / x, with one only that factor gets a cotangent, with more nobody does.
static Value prodAdjoint(ReduceOp op, OpBuilder &b, Value dy) {
  Location loc = op.getLoc();
  auto type = typeOf(op.getInput());
  Value zero = splat(b, loc, type, 0), one = splat(b, loc, type, 1);
  Value isZero = b.create<arith::CmpFOp>(loc, arith::CmpFPredicate::OEQ,
                                         op.getInput(), zero);
  Value safe = b.create<arith::SelectOp>(loc, isZero, one, op.getInput());
  Value marks = b.create<arith::SelectOp>(loc, isZero, one, zero);
  auto spread = [&](Value v) {
    return broadcastAlong(b, loc, v, type, op.getDims());
  };
  Value rest = b.create<ReduceOp>(loc, safe, ReduceKind::prod, op.getDims());
  Value zeros =
      spread(b.create<ReduceOp>(loc, marks, ReduceKind::sum, op.getDims()));
  Value whole = spread(b.create<arith::MulFOp>(loc, dy, rest));
  // Zeros among the *other* factors of the group.
  Value others = b.create<arith::SubFOp>(loc, zeros, marks);
  Value alone = b.create<arith::CmpFOp>(loc, arith::CmpFPredicate::OEQ, others, zero);
  Value quotient = b.create<arith::DivFOp>(loc, whole, safe);
  return b.create<arith::SelectOp>(loc, alone, quotient, zero);
}

/// Max and min: the cotangent goes to the first position that attains.
static Value extremumAdjoint(ReduceOp op, OpBuilder &b, Value dy) {
  Location loc = op.getLoc();
  auto shape = shapeOf(op.getInput());
  // The reduced dims go last and become one, in which top_k finds the place.
  SmallVector<int64_t> perm, inverse(shape.size()), moved, rows;
  for (int64_t i = 0; i < (int64_t)shape.size(); ++i)
    if (!llvm::is_contained(op.getDims(), i))
      perm.push_back(i);
  rows.assign(shapeOf(dy).begin(), shapeOf(dy).end());
  int64_t group = 1;
  for (int64_t d : op.getDims()) {
    perm.push_back(d);
    group *= shape[d];
  }
  for (auto [i, p] : llvm::enumerate(perm)) {
    inverse[p] = i;
    moved.push_back(shape[p]);
  }
  Value x = b.createOrFold<TransposeOp>(loc, op.getInput(), perm);
  rows.push_back(group);
  x = reshape(b, loc, x, rows);
  auto top = b.create<TopKOp>(loc, x, 1, op.getKind() == ReduceKind::min);
  rows.back() = 1;
  Value dx = b.create<ScatterElementsOp>(
      loc, splat(b, loc, x.getType(), 0), top.getIndices(),
      reshape(b, loc, dy, rows), (int64_t)rows.size() - 1, ScatterKind::add);
  return b.createOrFold<TransposeOp>(loc, reshape(b, loc, dx, moved), inverse);
}

ADJOINT(ReduceOp) {
  switch (getKind()) {
  case ReduceKind::sum:
    return {broadcastAlong(b, getLoc(),
                           castElements(b, getLoc(), cotangents[0],
                                        getInput().getType().getElementType()),
                           getInput().getType(), getDims())};
  case ReduceKind::prod:
    return {prodAdjoint(*this, b, cotangents[0])};
  case ReduceKind::max:
  case ReduceKind::min:
    return {extremumAdjoint(*this, b, cotangents[0])};
  }
  llvm_unreachable("all reductions are listed");
}

ADJOINT(TopKOp) {
  if (!cotangents[0])
    return {Value()};
  Value zeros = splat(b, getLoc(), getInput().getType(), 0);
  return {b.create<ScatterElementsOp>(getLoc(), zeros, getIndices(), cotangents[0],
                                      shapeOf(getInput()).size() - 1,
                                      ScatterKind::add)};
}

ADJOINT(CumsumOp) {
  return {b.create<CumsumOp>(getLoc(), cotangents[0], getAxis(), getExclusive(),
                             !getReverse())};
}

ADJOINT(SigmoidOp) {
  // dy * y * (1 - y)
  Location loc = getLoc();
  Value one = splat(b, loc, getType(), 1);
  Value rest = b.create<arith::SubFOp>(loc, one, getResult());
  Value slope = b.create<arith::MulFOp>(loc, getResult(), rest);
  return {b.create<arith::MulFOp>(loc, cotangents[0], slope)};
}

//===----------------------------------------------------------------------===//
// Normalizations, attention, loss
//===----------------------------------------------------------------------===//

ADJOINT(SoftmaxOp) {
  return {b.create<SoftmaxGradOp>(getLoc(), getResult(), cotangents[0])};
}

ADJOINT(LayerNormOp) {
  Type vector = widened(typeOf(getInput()).clone(shapeOf(getInput()).take_back()));
  auto grad = b.create<LayerNormGradOp>(
      getLoc(), TypeRange{getInput().getType(), vector, vector}, getInput(),
      getScale(), cotangents[0], getEpsilonAttr());
  Adjoints result{grad.getDInput()};
  if (getScale())
    result.push_back(grad.getDScale());
  if (getBias())
    result.push_back(grad.getDBias());
  return result;
}

ADJOINT(RMSNormOp) {
  Type vector = widened(typeOf(getInput()).clone(shapeOf(getInput()).take_back()));
  auto grad = b.create<RMSNormGradOp>(
      getLoc(), TypeRange{getInput().getType(), vector}, getInput(), getScale(),
      cotangents[0], getEpsilonAttr());
  Adjoints result{grad.getDInput()};
  if (getScale())
    result.push_back(grad.getDScale());
  return result;
}

ADJOINT(RopeOp) {
  // The transposed rotation, also where the tables carry a scaling.
  return {b.create<RopeOp>(getLoc(), cotangents[0], getCos(), getSin(),
                           getInterleaved(), !getInverse()),
          Value(), Value()};
}

ADJOINT(AttentionOp) {
  // The log-sum-exp is there for this adjoint and has no derivative itself.
  Adjoints result(getNumOperands());
  if (!cotangents[0])
    return result;
  auto grad = b.create<AttentionGradOp>(
      getLoc(), getQuery(), getKey(), getValue(), getMask(), getResult(),
      getLse(), cotangents[0], getScaleAttr(), getCausalAttr());
  llvm::copy(grad.getResults(), result.begin());
  return result;
}

ADJOINT(CrossEntropyOp) {
  if (!cotangents[0])
    return {Value(), Value()};
  return {b.create<CrossEntropyGradOp>(getLoc(), getLogits().getType(), getLogits(),
                                       getLabels(), getLse(), cotangents[0],
                                       getIgnoreIndexAttr()),
          Value()};
}

//===----------------------------------------------------------------------===//
// Mixture of experts
//===----------------------------------------------------------------------===//

ADJOINT(RouterOp) {
  Adjoints result(getNumOperands());
  if (cotangents[0])
    result[0] = b.create<RouterGradOp>(getLoc(), getLogits(), getIds(), cotangents[0],
                                       getScoring(), getNormalize(),
                                       getEpsilon(), getScale());
  return result;
}

ADJOINT(DispatchOp) {
  return {b.create<CombineOp>(getLoc(), cotangents[0], Value(), getRouting()),
          Value()};
}

ADJOINT(CombineOp) {
  if (!getWeights())
    return {b.create<DispatchOp>(getLoc(), cotangents[0], getRouting()), Value()};
  auto grad = b.create<CombineGradOp>(getLoc(), getRows(), getWeights(),
                                      cotangents[0], getRouting());
  return {grad.getDRows(), grad.getDWeights(), Value()};
}

ADJOINT(GroupedMatmulOp) {
  Value dRows, dWeight;
  Value dy = castElements(b, getLoc(), cotangents[0], typeOf(getRows()).getElementType());
  if (wanted[0]) {
    dRows = roundedProduct(b, b.create<GroupedMatmulOp>(getLoc(), dy, getWeight(), getRouting(),
                                                        !getTransposeWeight()));
    if (getGatherRows()) // as behind nn.dispatch
      dRows = b.create<CombineOp>(getLoc(), dRows, Value(), getRouting());
  }
  if (wanted[1]) {
    Value lhs = getRows(), rhs = dy;
    bool gatherLhs = getGatherRows(), gatherRhs = false;
    if (getTransposeWeight()) {
      std::swap(lhs, rhs);
      std::swap(gatherLhs, gatherRhs);
    }
    dWeight = roundedProduct(b, b.create<GroupedMatmulGradWeightOp>(
                                    getLoc(), lhs, rhs, getRouting(), gatherLhs, gatherRhs));
  }
  return {dRows, dWeight, Value()};
}

ADJOINT(PerExpertOp) {
  return {b.create<PerExpertSumOp>(getLoc(), cotangents[0], getRouting()), Value()};
}

ADJOINT(PerExpertSumOp) {
  return {b.create<PerExpertOp>(getLoc(), cotangents[0], getRouting()), Value()};
}
