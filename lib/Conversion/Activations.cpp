//===- Activations.cpp - Pointwise nonlinearities ------------------------===//
//
// The forms decide the derivatives: ReLU is a select whose derivative at 0 is
// 0, everything with exp is written so that no branch that is not taken
// overflows (inf * 0 in a cotangent is NaN).
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Node.h"
#include "moire/Support/Recipes.h"

using namespace mlir;
using namespace moire;
using namespace moire::conversion;
using FPred = arith::CmpFPredicate;
using IPred = arith::CmpIPredicate;

static Value isPositive(Emitter &e, Value x) {
  return x ? e.compare(FPred::OGT, IPred::sgt, x, e.like(x, 0)) : x;
}
static Value relu(Emitter &e, Value x) {
  return x ? e.select(e.compare(FPred::OLE, IPred::sle, x, e.like(x, 0)), e.like(x, 0), x) : x;
}
/// x below 0, else 0: what exp may see without overflow.
static Value negativePart(Emitter &e, Value x) {
  return x ? e.select(isPositive(e, x), e.like(x, 0), x) : x;
}
static Value expMinusOne(Emitter &e, Value x) { return e.unary<math::ExpM1Op>(x); }

/// log(1 + exp(x)), and x itself above PyTorch's threshold of 20.
static Value softplus(Emitter &e, Value x) {
  Value large = x ? e.compare(FPred::OGT, IPred::sgt, x, e.like(x, 20)) : x;
  Value exp = e.unary<math::ExpOp>(e.select(large, e.like(x, 0), x));
  return e.select(large, x, e.unary<math::Log1pOp>(exp));
}

static Value geluErf(Emitter &e, Value x) {
  Value erf = e.unary<math::ErfOp>(e.scale(x, std::sqrt(0.5)));
  return e.mul(e.scale(x, 0.5), e.shift(erf, 1));
}
static Value geluTanh(Emitter &e, Value x) {
  Value cube = e.mul(x, e.mul(x, x));
  Value inner = e.scale(e.add(x, e.scale(cube, 0.044715)), std::sqrt(2 / M_PI));
  return e.mul(e.scale(x, 0.5), e.shift(e.unary<math::TanhOp>(inner), 1));
}
static Value swish(Emitter &e, Value x, double alpha) {
  return e.mul(x, e.sigmoid(e.scale(x, alpha)));
}

static LogicalResult convertRelu(Node &n) { return n.give(relu(n.e, n.in(0))); }
static LogicalResult convertSigmoid(Node &n) { return n.give(n.e.sigmoid(n.in(0))); }
static LogicalResult convertLeakyRelu(Node &n) {
  Value x = n.in(0);
  return n.give(n.e.select(isPositive(n.e, x), x, n.e.scale(x, n.getFloat("alpha", 0.01))));
}
static LogicalResult convertThresholdedRelu(Node &n) {
  Value x = n.in(0), alpha = n.e.like(x, n.getFloat("alpha", 1));
  return n.give(n.e.select(n.e.compare(FPred::OGT, IPred::sgt, x, alpha), x, n.e.like(x, 0)));
}
static LogicalResult convertPRelu(Node &n) {
  Value x = n.in(0), slope = n.e.broadcastTo(n.in(1), n.shape(0));
  return n.give(n.e.select(isPositive(n.e, x), x, n.e.mul(x, slope)));
}
static LogicalResult convertElu(Node &n) {
  Emitter &e = n.e;
  Value x = n.in(0);
  Value low = e.scale(expMinusOne(e, negativePart(e, x)), n.getFloat("alpha", 1));
  return n.give(e.select(isPositive(e, x), x, low));
}
static LogicalResult convertSelu(Node &n) {
  Emitter &e = n.e;
  Value x = n.in(0);
  Value low = e.scale(expMinusOne(e, negativePart(e, x)),
                      n.getFloat("alpha", 1.67326319217681884765625));
  return n.give(
      e.scale(e.select(isPositive(e, x), x, low), n.getFloat("gamma", 1.05070102214813232421875)));
}
/// max(0, x) + min(0, alpha * (exp(x / alpha) - 1)).
static LogicalResult convertCelu(Node &n) {
  Emitter &e = n.e;
  Value x = n.in(0);
  double alpha = n.getFloat("alpha", 1);
  Value low = e.scale(expMinusOne(e, e.scale(negativePart(e, x), 1 / alpha)), alpha);
  return n.give(e.select(isPositive(e, x), x, low));
}
/// max(0, min(1, alpha * x + beta)).
static Value hardSigmoid(Emitter &e, Value x, double alpha, double beta) {
  Value y = e.shift(e.scale(x, alpha), beta);
  if (!y)
    return y;
  y = e.select(e.compare(FPred::OGE, IPred::sge, y, e.like(y, 1)), e.like(y, 1), y);
  return relu(e, y);
}
static LogicalResult convertHardSigmoid(Node &n) {
  return n.give(hardSigmoid(n.e, n.in(0), n.getFloat("alpha", 0.2), n.getFloat("beta", 0.5)));
}
static LogicalResult convertHardSwish(Node &n) {
  return n.give(n.e.mul(n.in(0), hardSigmoid(n.e, n.in(0), 1.0 / 6, 0.5)));
}
static LogicalResult convertSoftplus(Node &n) { return n.give(softplus(n.e, n.in(0))); }
static LogicalResult convertSoftsign(Node &n) {
  Value x = n.in(0);
  return n.give(n.e.div(x, n.e.shift(n.e.unary<math::AbsFOp>(x), 1)));
}
static LogicalResult convertMish(Node &n) {
  Value x = n.in(0);
  return n.give(n.e.mul(x, n.e.unary<math::TanhOp>(softplus(n.e, x))));
}
/// y = x - bias above lambd, x + bias below -lambd, else 0.
static LogicalResult convertShrink(Node &n) {
  Emitter &e = n.e;
  Value x = n.in(0), zero = e.like(x, 0);
  double lambd = n.getFloat("lambd", 0.5), bias = n.getFloat("bias", 0);
  Value low = e.select(e.compare(FPred::OLT, IPred::slt, x, e.like(x, -lambd)), e.shift(x, bias), zero);
  return n.give(e.select(e.compare(FPred::OGT, IPred::sgt, x, e.like(x, lambd)), e.shift(x, -bias), low));
}

static LogicalResult convertGelu(Node &n) {
  StringRef form = n.getString("approximate", "none");
  if (form != "none" && form != "tanh")
    return n.fail("approximate \"" + form + "\" must be \"none\" or \"tanh\"");
  return n.give(form == "tanh" ? geluTanh(n.e, n.in(0)) : geluErf(n.e, n.in(0)));
}
static LogicalResult convertSwish(Node &n) {
  return n.give(swish(n.e, n.in(0), n.getFloat("alpha", 1)));
}
// com.microsoft
static LogicalResult convertContribGelu(Node &n) { return n.give(geluErf(n.e, n.in(0))); }
static LogicalResult convertBiasGelu(Node &n) {
  return n.give(geluErf(n.e, n.e.add(n.in(0), n.in(1))));
}
static LogicalResult convertFastGelu(Node &n) {
  Value x = n.has(1) ? n.e.add(n.in(0), n.in(1)) : n.in(0);
  return n.give(geluTanh(n.e, x));
}
static LogicalResult convertQuickGelu(Node &n) {
  return n.give(swish(n.e, n.in(0), n.getFloat("alpha", 1.702)));
}

static Value softmax(Emitter &e, Value x, int64_t axis) { return e.softmax(x, axis); }
static Value logSoftmax(Emitter &e, Value x, int64_t axis) { return e.logSoftmax(x, axis); }
/// 1 at the first largest entry of each row, else 0.
static Value hardmax(Emitter &e, Value x, int64_t axis) {
  Value last = e.moveToLast(x, axis);
  if (!last)
    return last;
  Value index = e.inferAll<nn::TopKOp>(2, last, e.builder.getI64IntegerAttr(1), UnitAttr())[1];
  Value position = e.iota(shapeOf(last), rankOf(last) - 1, e.i64());
  Value hit = e.compare(FPred::OEQ, IPred::eq, position, index);
  return e.moveFromLast(e.cast(hit, elementOf(x)), axis);
}

/// Softmax below opset 13 works on the 2-D matrix that `axis` cuts.
template <Value (*build)(Emitter &, Value, int64_t)>
static LogicalResult convertSoftmax(Node &n) {
  bool flat = n.opset < 13;
  auto axis = n.axisAttr("axis", flat ? 1 : -1);
  if (failed(axis))
    return failure();
  if (!flat)
    return n.give(build(n.e, n.in(0), *axis));
  Value matrix = n.e.flatten(n.in(0), *axis);
  return n.give(n.e.reshape(build(n.e, matrix, 1), n.shape(0)));
}

/// The inference form is the identity. In training form a ratio of 0 is too.
static LogicalResult convertDropout(Node &n) {
  double ratio = n.has(1) ? n.number(1).value_or(1) : n.getFloat("ratio", 0.5);
  bool training = n.has(2) && n.number(2).value_or(1) != 0 && ratio != 0;
  if (training)
    return n.fail("the training form needs random numbers, which this version does not have; "
                  "export the model with dropout 0 or in eval mode" +
                  recipe("dropout"));
  n.set(1, n.e.splat(n.shape(0), n.e.i1(), 1));
  return n.give(n.in(0));
}

void conversion::addActivations(HandlerTable &t) {
  t.add("Relu", 1, convertRelu);
  t.add("Sigmoid", 1, convertSigmoid);
  t.add("LeakyRelu", 1, convertLeakyRelu);
  t.add("ThresholdedRelu", 1, convertThresholdedRelu);
  t.add("PRelu", 2, convertPRelu);
  t.add("Elu", 1, convertElu);
  t.add("Selu", 1, convertSelu);
  t.add("Celu", 1, convertCelu);
  t.add("HardSigmoid", 1, convertHardSigmoid);
  t.add("HardSwish", 1, convertHardSwish);
  t.add("Softplus", 1, convertSoftplus);
  t.add("Softsign", 1, convertSoftsign);
  t.add("Mish", 1, convertMish);
  t.add("Shrink", 1, convertShrink);
  t.add("Gelu", 1, convertGelu);
  t.add("Swish", 1, convertSwish);
  t.add("Softmax", 1, convertSoftmax<softmax>);
  t.add("LogSoftmax", 1, convertSoftmax<logSoftmax>);
  t.add("Hardmax", 1, convertSoftmax<hardmax>);
  t.add("Dropout", 1, convertDropout);
  t.add("com.microsoft::Gelu", 1, convertContribGelu);
  t.add("com.microsoft::BiasGelu", 2, convertBiasGelu);
  t.add("com.microsoft::FastGelu", 1, convertFastGelu);
  t.add("com.microsoft::QuickGelu", 1, convertQuickGelu);
}
