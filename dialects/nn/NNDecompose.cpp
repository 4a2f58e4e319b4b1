//===- NNDecompose.cpp - The meaning of composite ops in core ops --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Plain formulas, one after the other as a textbook has them: they are the
// referee for the fast kernels and for the adjoints. The *_grad formulas are
// the closed ones, derived on paper and not from the forward code.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"
#include "dialects/nn/NNTypes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <limits>

using namespace mlir;
using namespace moire::nn;

static const double kInfinity = std::numeric_limits<double>::infinity();

namespace {
/// Short names for the ops that formulas are made of.
struct Formula {
  OpBuilder &b;
  Location loc;
  Formula(OpBuilder &b, Operation *op) : b(b), loc(op->getLoc()) {}

  // Constants of a value's type.
  Value constant(RankedTensorType type, double value) {
    Attribute attr = isa<FloatType>(type.getElementType())
                         ? Attribute(b.getFloatAttr(type.getElementType(), value))
                         : Attribute(b.getIntegerAttr(type.getElementType(), value));
    return b.create<arith::ConstantOp>(loc, DenseElementsAttr::get(type, attr));
  }
  Value like(Value v, double value) { return constant(typeOf(v), value); }

  // Elementwise; a number stands for a splat of the other side's type.
  Value add(Value x, Value y) { return b.create<arith::AddFOp>(loc, x, y); }
  Value sub(Value x, Value y) { return b.create<arith::SubFOp>(loc, x, y); }
  Value mul(Value x, Value y) { return b.create<arith::MulFOp>(loc, x, y); }
  Value div(Value x, Value y) { return b.create<arith::DivFOp>(loc, x, y); }
  Value add(Value x, double y) { return add(x, like(x, y)); }
  Value mul(Value x, double y) { return mul(x, like(x, y)); }
  Value neg(Value x) { return b.create<arith::NegFOp>(loc, x); }
  Value exp(Value x) { return b.create<math::ExpOp>(loc, x); }
  Value log(Value x) { return b.create<math::LogOp>(loc, x); }
  Value sqrt(Value x) { return b.create<math::SqrtOp>(loc, x); }
  Value select(Value c, Value x, Value y) { return b.create<arith::SelectOp>(loc, c, x, y); }
  Value equal(Value x, double y) {
    return b.create<arith::CmpFOp>(loc, arith::CmpFPredicate::OEQ, x, like(x, y));
  }
  Value equalInt(Value x, int64_t y) {
    return b.create<arith::CmpIOp>(loc, arith::CmpIPredicate::eq, x, like(x, y));
  }

  // Shapes.
  Value reshape(Value x, ArrayRef<int64_t> shape) {
    return b.create<ReshapeOp>(loc, RankedTensorType::get(shape, typeOf(x).getElementType()), x);
  }
  Value broadcast(Value x, ArrayRef<int64_t> shape, ArrayRef<int64_t> dims) {
    return b.create<BroadcastOp>(loc, RankedTensorType::get(shape, typeOf(x).getElementType()), x,
                                 dims);
  }
  Value slice(Value x, int64_t dim, int64_t start, int64_t limit, int64_t stride = 1) {
    SmallVector<int64_t> starts(shapeOf(x).size(), 0), limits(shapeOf(x)),
        strides(shapeOf(x).size(), 1);
    starts[dim] = start;
    limits[dim] = limit;
    strides[dim] = stride;
    return b.create<SliceOp>(loc, x, starts, limits, strides);
  }
  Value concat(ValueRange parts, int64_t dim) { return b.create<ConcatOp>(loc, parts, dim); }
  Value iota(RankedTensorType type, int64_t dim) { return b.create<IotaOp>(loc, type, dim); }

  // Rows: [..., D] <-> [...].
  Value reduce(ReduceKind kind, Value x, ArrayRef<int64_t> dims) {
    return b.create<ReduceOp>(loc, x, kind, dims);
  }
  Value sumRows(Value x) { return reduce(ReduceKind::sum, x, {typeOf(x).getRank() - 1}); }
  Value maxRows(Value x) { return reduce(ReduceKind::max, x, {typeOf(x).getRank() - 1}); }
  Value meanRows(Value x) { return mul(sumRows(x), 1.0 / shapeOf(x).back()); }
  /// [...] -> [..., D], the shape of `row`.
  Value perRow(Value x, Value row) {
    return broadcast(x, shapeOf(row), llvm::to_vector(llvm::seq<int64_t>(0, typeOf(x).getRank())));
  }
  /// [D] -> [..., D], the shape of `row`.
  Value perColumn(Value x, Value row) {
    return broadcast(x, shapeOf(row), {typeOf(row).getRank() - 1});
  }
  /// [..., D] -> [D].
  Value sumColumns(Value x) {
    return reduce(ReduceKind::sum, x, llvm::to_vector(llvm::seq<int64_t>(0, typeOf(x).getRank() - 1)));
  }

  Value matmul(Value x, Value y, bool transposeLhs = false, bool transposeRhs = false) {
    return b.create<MatmulOp>(loc, x, y, transposeLhs, transposeRhs);
  }
};

/// exp(x - max), its sum and the max of each row. In a row that is all -inf
/// the terms and the sum are 0 and the max is given as 0.
struct RowExp {
  Value terms, sum, max;
  RowExp(Formula &f, Value x) {
    Value top = f.maxRows(x);
    max = f.select(f.equal(top, -kInfinity), f.like(top, 0), top);
    terms = f.exp(f.sub(x, f.perRow(max, x)));
    sum = f.sumRows(terms);
  }
  /// terms / sum, and 0 in a row without terms.
  Value softmax(Formula &f) {
    Value divisor = f.select(f.equal(sum, 0), f.like(sum, 1), sum);
    return f.div(terms, f.perRow(divisor, terms));
  }
  /// max + log(sum); -inf in a row without terms.
  Value logSumExp(Formula &f) { return f.add(max, f.log(sum)); }
};
} // namespace

static Value softmax(Formula &f, Value x) { return RowExp(f, x).softmax(f); }

/// y * (dy - sum(y * dy)).
static Value softmaxGrad(Formula &f, Value y, Value dy) {
  return f.mul(y, f.sub(dy, f.perRow(f.sumRows(f.mul(y, dy)), y)));
}

/// exp(x - lse), and 0 in a row whose lse is -inf.
static Value expMinusLse(Formula &f, Value x, Value lse) {
  Value finite = f.select(f.equal(lse, -kInfinity), f.like(lse, 0), lse);
  return f.exp(f.sub(x, f.perRow(finite, x)));
}

//===----------------------------------------------------------------------===//
// Softmax and normalizations
//===----------------------------------------------------------------------===//

SmallVector<Value> SoftmaxOp::decompose(OpBuilder &b) {
  Formula f(b, *this);
  return {softmax(f, getInput())};
}

SmallVector<Value> SoftmaxGradOp::decompose(OpBuilder &b) {
  Formula f(b, *this);
  return {softmaxGrad(f, getOutput(), getCotangent())};
}

/// sqrt(mean(x^2) + eps) of each row, spread over the rows.
static Value rootMeanSquare(Formula &f, Value x, double epsilon) {
  return f.perRow(f.sqrt(f.add(f.meanRows(f.mul(x, x)), epsilon)), x);
}

SmallVector<Value> LayerNormOp::decompose(OpBuilder &b) {
  Formula f(b, *this);
  Value x = getInput();
  Value centered = f.sub(x, f.perRow(f.meanRows(x), x));
  Value y = f.div(centered, rootMeanSquare(f, centered, getEpsilon().convertToDouble()));
  if (getScale())
    y = f.mul(y, f.perColumn(getScale(), y));
  if (getBias())
    y = f.add(y, f.perColumn(getBias(), y));
  return {y};
}

// With n = (x - mean) / std and g = dy * scale:
// dx = (g - mean(g) - n * mean(g * n)) / std, dscale = sum(dy * n), dbias = sum(dy).
SmallVector<Value> LayerNormGradOp::decompose(OpBuilder &b) {
  Formula f(b, *this);
  Value x = getInput(), dy = getCotangent();
  Value centered = f.sub(x, f.perRow(f.meanRows(x), x));
  Value deviation = rootMeanSquare(f, centered, getEpsilon().convertToDouble());
  Value n = f.div(centered, deviation);
  Value g = getScale() ? f.mul(dy, f.perColumn(getScale(), dy)) : dy;
  Value along = f.mul(n, f.perRow(f.meanRows(f.mul(g, n)), n));
  Value dx = f.div(f.sub(f.sub(g, f.perRow(f.meanRows(g), g)), along), deviation);
  return {dx, f.sumColumns(f.mul(dy, n)), f.sumColumns(dy)};
}

SmallVector<Value> RMSNormOp::decompose(OpBuilder &b) {
  Formula f(b, *this);
  Value x = getInput();
  Value y = f.div(x, rootMeanSquare(f, x, getEpsilon().convertToDouble()));
  if (getScale())
    y = f.mul(y, f.perColumn(getScale(), y));
  return {y};
}

// With n = x / rms and g = dy * scale:
// dx = (g - n * mean(g * n)) / rms, dscale = sum(dy * n).
SmallVector<Value> RMSNormGradOp::decompose(OpBuilder &b) {
  Formula f(b, *this);
  Value x = getInput(), dy = getCotangent();
  Value rms = rootMeanSquare(f, x, getEpsilon().convertToDouble());
  Value n = f.div(x, rms);
  Value g = getScale() ? f.mul(dy, f.perColumn(getScale(), dy)) : dy;
  Value along = f.mul(n, f.perRow(f.meanRows(f.mul(g, n)), n));
  return {f.div(f.sub(g, along), rms), f.sumColumns(f.mul(dy, n))};
}

//===----------------------------------------------------------------------===//
// Rotary embedding
//===----------------------------------------------------------------------===//

SmallVector<Value> RopeOp::decompose(OpBuilder &b) {
  Formula f(b, *this);
  Value x = getInput();
  auto shape = shapeOf(x);
  int64_t size = shape[3], half = size / 2;
  Value x1 = getInterleaved() ? f.slice(x, 3, 0, size, 2) : f.slice(x, 3, 0, half);
  Value x2 = getInterleaved() ? f.slice(x, 3, 1, size, 2) : f.slice(x, 3, half, size);

  // [B or 1, S, D/2] -> [B, H, S, D/2].
  auto spread = [&](Value table) {
    if (shapeOf(table)[0] == shape[0])
      return f.broadcast(table, shapeOf(x1), {0, 2, 3});
    return f.broadcast(f.reshape(table, shapeOf(table).drop_front()), shapeOf(x1), {2, 3});
  };
  Value cos = spread(getCos()), sin = spread(getSin());
  if (getInverse())
    sin = f.neg(sin);
  Value y1 = f.sub(f.mul(x1, cos), f.mul(x2, sin));
  Value y2 = f.add(f.mul(x2, cos), f.mul(x1, sin));
  if (!getInterleaved())
    return {f.concat({y1, y2}, 3)};
  // Pairs again: [.., D/2] x 2 -> [.., D/2, 2] -> [.., D].
  SmallVector<int64_t> paired(shapeOf(y1));
  paired.push_back(1);
  return {f.reshape(f.concat({f.reshape(y1, paired), f.reshape(y2, paired)}, 4), shape)};
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// [B, Hkv, S, D] -> [B, H, S, D]: query head h reads key head h / (H / Hkv).
static Value repeatHeads(Formula &f, Value x, int64_t heads) {
  auto s = shapeOf(x);
  int64_t group = heads / s[1];
  Value repeated = f.broadcast(x, {s[0], s[1], group, s[2], s[3]}, {0, 1, 3, 4});
  return f.reshape(repeated, {s[0], heads, s[2], s[3]});
}
/// The same backwards: the heads of a group are summed.
static Value sumHeads(Formula &f, Value x, int64_t kvHeads) {
  auto s = shapeOf(x);
  Value groups = f.reshape(x, {s[0], kvHeads, s[1] / kvHeads, s[2], s[3]});
  return f.reduce(ReduceKind::sum, groups, {2});
}

/// A mask with size 1 in some dims at its full shape.
static Value spreadMask(Formula &f, Value mask, ArrayRef<int64_t> full) {
  SmallVector<int64_t> shape, dims;
  for (auto [i, d] : llvm::enumerate(shapeOf(mask)))
    if (d != 1) {
      shape.push_back(d);
      dims.push_back(i);
    }
  return f.broadcast(f.reshape(mask, shape), full, dims);
}

/// scale * q k^T + mask [B, H, Sq, Skv], -inf where a key must not be seen.
static Value attentionScores(Formula &f, Value query, Value keys, Value mask, double scale,
                             bool causal) {
  Value scores = f.mul(f.matmul(query, keys, false, true), scale);
  auto full = shapeOf(scores);
  Value never = f.like(scores, -kInfinity);
  if (mask) {
    Value spread = spreadMask(f, mask, full);
    scores = isa<FloatType>(typeOf(mask).getElementType()) ? f.add(scores, spread)
                                                           : f.select(spread, scores, never);
  }
  if (causal) {
    auto positions = RankedTensorType::get(full, f.b.getI64Type());
    Value seen = f.b.create<arith::CmpIOp>(f.loc, arith::CmpIPredicate::sle,
                                           f.iota(positions, 3), f.iota(positions, 2));
    scores = f.select(seen, scores, never);
  }
  return scores;
}

SmallVector<Value> AttentionOp::decompose(OpBuilder &b) {
  Formula f(b, *this);
  int64_t heads = shapeOf(getQuery())[1];
  Value keys = repeatHeads(f, getKey(), heads), values = repeatHeads(f, getValue(), heads);
  Value scores = attentionScores(f, getQuery(), keys, getMask(), getScale().convertToDouble(),
                                 getCausal());
  RowExp rows(f, scores);
  return {f.matmul(rows.softmax(f), values), rows.logSumExp(f)};
}

// With P = exp(scores - lse): dV = P^T dO, dP = dO V^T,
// dS = P * (dP - sum(dO * O)), dQ = scale dS K, dK = scale dS^T Q.
SmallVector<Value> AttentionGradOp::decompose(OpBuilder &b) {
  Formula f(b, *this);
  int64_t heads = shapeOf(getQuery())[1], kvHeads = shapeOf(getKey())[1];
  double scale = getScale().convertToDouble();
  Value keys = repeatHeads(f, getKey(), heads), values = repeatHeads(f, getValue(), heads);
  Value scores = attentionScores(f, getQuery(), keys, getMask(), scale, getCausal());
  Value p = expMinusLse(f, scores, getLse());
  Value dOut = getCotangent();
  Value dV = f.matmul(p, dOut, true);
  Value dP = f.matmul(dOut, values, false, true);
  Value delta = f.sumRows(f.mul(dOut, getOutput()));
  Value dS = f.mul(f.mul(p, f.sub(dP, f.perRow(delta, dP))), scale);
  return {f.matmul(dS, keys), sumHeads(f, f.matmul(dS, getQuery(), true), kvHeads),
          sumHeads(f, dV, kvHeads)};
}

//===----------------------------------------------------------------------===//
// Loss
//===----------------------------------------------------------------------===//

SmallVector<Value> CrossEntropyOp::decompose(OpBuilder &b) {
  Formula f(b, *this);
  Value logits = getLogits(), labels = getLabels();
  int64_t rows = shapeOf(labels)[0];
  Value ignored = f.equalInt(labels, getIgnoreIndex());
  Value label = f.select(ignored, f.like(labels, 0), labels);
  Value picked = b.create<GatherElementsOp>(f.loc, logits, f.reshape(label, {rows, 1}), 1);
  Value lse = RowExp(f, logits).logSumExp(f);
  Value loss = f.sub(lse, f.reshape(picked, {rows}));
  return {f.select(ignored, f.like(loss, 0), loss), lse};
}

SmallVector<Value> CrossEntropyGradOp::decompose(OpBuilder &b) {
  Formula f(b, *this);
  Value logits = getLogits(), labels = getLabels();
  Value p = expMinusLse(f, logits, getLse());
  Value columns = f.iota(RankedTensorType::get(shapeOf(logits), b.getI64Type()), 1);
  Value hit = b.create<arith::CmpIOp>(f.loc, arith::CmpIPredicate::eq, columns,
                                      f.perRow(labels, logits));
  Value oneHot = f.select(hit, f.like(logits, 1), f.like(logits, 0));
  Value grad = f.mul(f.sub(p, oneHot), f.perRow(getCotangent(), logits));
  Value ignored = f.perRow(f.equalInt(labels, getIgnoreIndex()), logits);
  return {f.select(ignored, f.like(logits, 0), grad)};
}

//===----------------------------------------------------------------------===//
// Router
//===----------------------------------------------------------------------===//

/// What all experts are scored by [T, E].
static Value routerScores(Formula &f, Value logits, Scoring scoring) {
  switch (scoring) {
  case Scoring::softmax: return softmax(f, logits);
  case Scoring::sigmoid: return f.b.create<SigmoidOp>(f.loc, logits);
  case Scoring::softmax_selected: return logits;
  }
  return {};
}

/// Raw weights of the chosen experts, before normalization.
static Value rawWeights(Formula &f, Value scores, Value ids, Scoring scoring) {
  Value chosen = f.b.create<GatherElementsOp>(f.loc, scores, ids, 1);
  return scoring == Scoring::softmax_selected ? softmax(f, chosen) : chosen;
}

SmallVector<Value> RouterOp::decompose(OpBuilder &b) {
  Formula f(b, *this);
  Value scores = routerScores(f, getLogits(), getScoring());
  Value choice = scores;
  if (getSelectionBias())
    choice = f.add(choice, f.perColumn(getSelectionBias(), choice));
  Value ids = b.create<TopKOp>(f.loc, choice, getK(), /*smallest=*/false).getIndices();
  Value weights = rawWeights(f, scores, ids, getScoring());
  if (getNormalize()) {
    Value sum = f.add(f.sumRows(weights), getEpsilon().convertToDouble());
    weights = f.div(weights, f.perRow(sum, weights));
  }
  return {f.mul(weights, getScale().convertToDouble()), ids};
}

// With raw weights v, S = sum(v) + eps and g = scale * dw: dv = g without
// normalization, else (g - sum(g * v) / S) / S. Then back through the scoring.
SmallVector<Value> RouterGradOp::decompose(OpBuilder &b) {
  Formula f(b, *this);
  Value logits = getLogits(), ids = getIds();
  Value scores = routerScores(f, logits, getScoring());
  Value v = rawWeights(f, scores, ids, getScoring());
  Value dv = f.mul(getCotangent(), getScale().convertToDouble());
  if (getNormalize()) {
    Value sum = f.add(f.sumRows(v), getEpsilon().convertToDouble());
    Value along = f.div(f.sumRows(f.mul(dv, v)), sum);
    dv = f.div(f.sub(dv, f.perRow(along, dv)), f.perRow(sum, dv));
  }
  auto scatter = [&](Value chosen) -> Value {
    return b.create<ScatterElementsOp>(f.loc, f.like(logits, 0), ids, chosen, 1, ScatterKind::add);
  };
  switch (getScoring()) {
  case Scoring::softmax: return {softmaxGrad(f, scores, scatter(dv))};
  case Scoring::softmax_selected: return {scatter(softmaxGrad(f, v, dv))};
  case Scoring::sigmoid:
    return {f.mul(scatter(dv), f.mul(scores, f.sub(f.like(scores, 1), scores)))};
  }
  return {};
}
