//===- Normalization.cpp - Layer, RMS, batch, group, instance norm -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Node.h"

using namespace mlir;
using namespace moire;
using namespace moire::conversion;

static FloatAttr f64Attr(Emitter &e, double v) { return e.builder.getF64FloatAttr(v); }

/// The norm of the dims from `axis` on; scale and bias are given to the op
/// where they are vectors of those dims, else applied after it.
static Value normalize(Emitter &e, bool rms, Value x, Value scale, Value bias, int64_t axis,
                       double epsilon) {
  DimVector shape(shapeOf(x)), flat(Dims(shape).take_front(axis));
  Dims inner = Dims(shape).drop_front(axis);
  flat.push_back(product(inner));
  auto vector = [&](Value v) -> Value {
    Dims s = shapeOf(v);
    while (s.size() > inner.size() && s.front() == 1)
      s = s.drop_front();
    if (!v || s.size() > inner.size())
      return {};
    return e.reshape(e.broadcastTo(e.reshape(v, s), inner), {product(inner)});
  };
  Value s = vector(scale), b = vector(bias);
  // A bias goes into the op only together with everything before it.
  if (scale && !s)
    b = {};
  Value y = e.reshape(x, flat);
  if (!y)
    return y;
  y = rms ? e.infer<nn::RMSNormOp>(y, s, f64Attr(e, epsilon))
          : e.infer<nn::LayerNormOp>(y, s, b, f64Attr(e, epsilon));
  y = e.reshape(y, shape);
  if (scale && !s)
    y = e.mul(y, scale);
  if (bias && (rms || !b))
    y = e.add(y, bias);
  return y;
}

/// The optional outputs of LayerNormalization, for files that read them.
static void giveStatistics(Node &n, Value x, int64_t axis, double epsilon) {
  Emitter &e = n.e;
  if (!n.wants(1) && !n.wants(2))
    return;
  DimVector dims = upTo(rankOf(x));
  Dims inner = Dims(dims).drop_front(axis);
  Value mean = e.mean(x, inner, true), centred = e.sub(x, mean);
  Value variance = e.mean(e.mul(centred, centred), inner, true);
  n.set(1, mean);
  n.set(2, e.unary<math::RsqrtOp>(e.shift(variance, epsilon)));
}

static LogicalResult convertLayerNorm(Node &n) {
  auto axis = n.axisAttr("axis", -1);
  if (failed(axis))
    return failure();
  double epsilon = n.getFloat("epsilon", 1e-5);
  giveStatistics(n, n.in(0), *axis, epsilon);
  return n.give(normalize(n.e, false, n.in(0), n.in(1), n.in(2), *axis, epsilon));
}

static LogicalResult convertRMSNorm(Node &n) {
  auto axis = n.axisAttr("axis", -1);
  if (failed(axis))
    return failure();
  return n.give(normalize(n.e, true, n.in(0), n.in(1), {}, *axis, n.getFloat("epsilon", 1e-5)));
}

/// com.microsoft: norm(input + skip + bias); output 3 is that sum.
template <bool rms>
static LogicalResult convertSkipNorm(Node &n) {
  Emitter &e = n.e;
  Value sum = e.add(n.in(0), n.in(1)), beta = rms ? Value() : n.in(3), bias = n.in(rms ? 3 : 4);
  if (sum && bias)
    sum = e.add(sum, bias);
  if (!sum)
    return failure();
  n.set(3, sum);
  return n.give(normalize(e, rms, sum, n.in(2), beta, rankOf(sum) - 1, n.getFloat("epsilon", 1e-12)));
}

/// A vector of channels [C] as [C, 1, ...] for an input [N, C, spatial...].
static Value channels(Emitter &e, Value v, int64_t rank) {
  if (!v)
    return v;
  DimVector shape(rank - 1, 1);
  shape[0] = typeOf(v).getNumElements();
  return e.reshape(v, shape);
}

static LogicalResult convertBatchNorm(Node &n) {
  Emitter &e = n.e;
  Value x = n.in(0);
  int64_t rank = n.rank(0);
  if (rank < 2)
    return n.fail("the input must have rank 2 or more, not " + Twine(rank));
  if (!n.getInt("spatial", 1))
    return n.fail("spatial = 0 is not supported");
  double epsilon = n.getFloat("epsilon", 1e-5), momentum = n.getFloat("momentum", 0.9);
  bool training = n.getInt("training_mode", 0) || (n.opset < 14 && n.numResults() > 1);
  Value mean = n.in(3), variance = n.in(4);
  if (training) {
    DimVector dims = upTo(rank);
    dims.erase(dims.begin() + 1);
    mean = e.mean(x, dims);
    Value centred = e.sub(x, channels(e, mean, rank));
    variance = e.mean(e.mul(centred, centred), dims);
    n.set(1, e.add(e.scale(n.in(3), momentum), e.scale(mean, 1 - momentum)));
    n.set(2, e.add(e.scale(n.in(4), momentum), e.scale(variance, 1 - momentum)));
  }
  Value factor = e.mul(n.in(1), e.unary<math::RsqrtOp>(e.shift(variance, epsilon)));
  Value y = e.mul(e.sub(x, channels(e, mean, rank)), channels(e, factor, rank));
  return n.give(e.add(y, channels(e, n.in(2), rank)));
}

/// Layer norm over each group of channels and all pixels, then an affine map
/// per channel (per group for opset 18's GroupNormalization).
static LogicalResult groupNorm(Node &n, int64_t groups) {
  Emitter &e = n.e;
  Dims shape = n.shape(0);
  if (shape.size() < 2 || groups < 1 || shape[1] % groups)
    return n.fail(Twine(groups) + " groups do not divide the channels of " + str(shape));
  Value rows = e.reshape(n.in(0), {shape[0], groups, product(shape.drop_front()) / groups});
  Value y = normalize(e, false, rows, {}, {}, 2, n.getFloat("epsilon", 1e-5));
  auto perChannel = [&](Value v) {
    if (v && typeOf(v).getNumElements() == groups && groups != shape[1])
      v = e.reshape(e.broadcastTo(e.reshape(v, {groups, 1}), {groups, shape[1] / groups}), {shape[1]});
    return channels(e, v, shape.size());
  };
  return n.give(e.add(e.mul(e.reshape(y, shape), perChannel(n.in(1))), perChannel(n.in(2))));
}
static LogicalResult convertGroupNorm(Node &n) { return groupNorm(n, n.getInt("num_groups", 1)); }
static LogicalResult convertInstanceNorm(Node &n) {
  return groupNorm(n, n.rank(0) > 1 ? n.shape(0)[1] : 0);
}

static LogicalResult convertLpNorm(Node &n) {
  Emitter &e = n.e;
  auto axis = n.axisAttr("axis", -1);
  if (failed(axis))
    return failure();
  int64_t p = n.getInt("p", 2);
  if (p != 1 && p != 2)
    return n.fail("p = " + Twine(p) + " must be 1 or 2");
  Value x = n.in(0), size = p == 1 ? e.unary<math::AbsFOp>(x) : e.mul(x, x);
  Value norm = e.reduce(nn::ReduceKind::sum, size, {*axis}, true);
  if (p == 2)
    norm = e.unary<math::SqrtOp>(norm);
  if (!norm)
    return failure();
  // Zeros stay zeros.
  Value none = e.compare(arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq, norm, e.like(norm, 0));
  return n.give(e.div(x, e.select(none, e.like(norm, 1), norm)));
}

static LogicalResult convertMeanVarianceNorm(Node &n) {
  Emitter &e = n.e;
  auto axes = n.axes(n.getInts("axes").value_or(DimVector{0, 2, 3}), n.rank(0));
  if (failed(axes))
    return failure();
  Value x = n.in(0), centred = e.sub(x, e.mean(x, *axes, true));
  Value deviation = e.unary<math::SqrtOp>(e.mean(e.mul(centred, centred), *axes, true));
  return n.give(e.div(centred, e.shift(deviation, 1e-9)));
}

void conversion::addNormalization(HandlerTable &t) {
  t.add("LayerNormalization", 2, convertLayerNorm);
  t.add("RMSNormalization", 2, convertRMSNorm);
  t.add("SimplifiedLayerNormalization", 2, convertRMSNorm);
  t.add("com.microsoft::SimplifiedLayerNormalization", 2, convertRMSNorm);
  t.add("com.microsoft::SkipLayerNormalization", 3, convertSkipNorm<false>);
  t.add("com.microsoft::SkipSimplifiedLayerNormalization", 3, convertSkipNorm<true>);
  t.add("BatchNormalization", 5, convertBatchNorm);
  t.add("GroupNormalization", 3, convertGroupNorm);
  t.add("InstanceNormalization", 3, convertInstanceNorm);
  t.add("LpNormalization", 1, convertLpNorm);
  t.add("MeanVarianceNormalization", 1, convertMeanVarianceNorm);
}
