//===- Elementwise.cpp - Arithmetic, comparisons, logic, casts -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Node.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace moire;
using namespace moire::conversion;
using FPred = arith::CmpFPredicate;
using IPred = arith::CmpIPredicate;

/// The element type of values for an ONNX TensorProto.DataType: one float type
/// for all narrow ones, one integer type for all widths (see ONNXToNN.cpp).
static FailureOr<Type> elementType(Node &n, int64_t dataType) {
  switch (dataType) {
  case 1: case 10: case 16:
    return n.e.f32();
  case 2: case 3: case 4: case 5: case 6: case 7: case 12: case 13:
    return n.e.i64();
  case 9:
    return n.e.i1();
  case 11:
    return Type(n.e.builder.getF64Type());
  }
  return n.fail("element type number " + Twine(dataType) +
                " has no arithmetic here; use float, double, float16, bfloat16, bool or an "
                "integer type");
}

static LogicalResult convertCast(Node &n) {
  auto element = elementType(n, n.getInt("to", 1));
  return failed(element) ? failure() : n.give(n.e.cast(n.in(0), *element));
}
static LogicalResult convertCastLike(Node &n) {
  return n.give(n.e.cast(n.in(0), elementOf(n.in(1))));
}

/// Opsets below 7 aligned operands by an axis attribute; nothing writes them.
template <Value (Emitter::*build)(Value, Value)>
static LogicalResult convertBinary(Node &n) {
  return n.give((n.e.*build)(n.in(0), n.in(1)));
}
template <Value (Emitter::*build)(Value, Value)>
static LogicalResult convertVariadic(Node &n) {
  Value v = n.in(0);
  for (unsigned i = 1; i < n.numInputs(); ++i)
    v = (n.e.*build)(v, n.in(i));
  return n.give(v);
}
static LogicalResult convertMean(Node &n) {
  Value v = n.in(0);
  for (unsigned i = 1; i < n.numInputs(); ++i)
    v = n.e.add(v, n.in(i));
  return n.give(n.e.scale(v, 1.0 / n.numInputs()));
}

template <FPred f, IPred i>
static LogicalResult convertCompare(Node &n) {
  return n.give(n.e.compare(f, i, n.in(0), n.in(1)));
}

template <typename OpTy>
static LogicalResult convertFloat(Node &n) {
  if (!isFloat(n.in(0)))
    return n.fail("an input of integers has no result of their type");
  return n.give(n.e.create<OpTy>(n.in(0)));
}
/// What leaves integers as they are.
template <typename OpTy>
static LogicalResult convertRounding(Node &n) {
  return n.give(isFloat(n.in(0)) ? n.e.create<OpTy>(n.in(0)) : n.in(0));
}

static LogicalResult convertAbs(Node &n) {
  Value x = n.in(0);
  return n.give(isFloat(x) ? n.e.create<math::AbsFOp>(x) : n.e.create<math::AbsIOp>(x));
}

static LogicalResult convertNeg(Node &n) { return n.give(n.e.negate(n.in(0))); }

static LogicalResult convertReciprocal(Node &n) {
  return n.give(n.e.div(n.e.like(n.in(0), 1), n.in(0)));
}

/// Hyperbolic functions and inverses by exp, log and atan.
static LogicalResult convertHyperbolic(Node &n) {
  Emitter &e = n.e;
  StringRef type = n.op.getOpType();
  Value x = n.in(0);
  auto log = [&](Value v) { return e.unary<math::LogOp>(v); };
  auto root = [&](Value v) { return e.unary<math::SqrtOp>(v); };
  if (!isFloat(x))
    return n.fail("an input of integers has no result of their type");
  if (type == "Sinh" || type == "Cosh") {
    Value up = e.unary<math::ExpOp>(x), down = e.unary<math::ExpOp>(e.negate(x));
    return n.give(e.scale(type == "Sinh" ? e.sub(up, down) : e.add(up, down), 0.5));
  }
  if (type == "Asinh")
    return n.give(log(e.add(x, root(e.shift(e.mul(x, x), 1)))));
  if (type == "Acosh")
    return n.give(log(e.add(x, root(e.shift(e.mul(x, x), -1)))));
  if (type == "Atanh")
    return n.give(e.scale(log(e.div(e.shift(x, 1), e.sub(e.like(x, 1), x))), 0.5));
  // asin(x) = atan(x / sqrt(1 - x^2)); acos(x) = pi / 2 - asin(x).
  Value asin = e.unary<math::AtanOp>(e.div(x, root(e.sub(e.like(x, 1), e.mul(x, x)))));
  return n.give(type == "Asin" ? asin : e.sub(e.like(x, M_PI / 2), asin));
}

static LogicalResult convertSign(Node &n) {
  Emitter &e = n.e;
  Value x = n.in(0), zero = e.like(x, 0);
  Value negative = e.select(e.compare(FPred::OLT, IPred::slt, x, zero), e.like(x, -1), zero);
  return n.give(e.select(e.compare(FPred::OGT, IPred::sgt, x, zero), e.like(x, 1), negative));
}

/// x^n by repeated squaring, 1 <= n.
static Value power(Emitter &e, Value x, int64_t n) {
  if (n == 1)
    return x;
  Value half = power(e, x, n / 2);
  Value square = e.mul(half, half);
  return n % 2 ? e.mul(square, x) : square;
}

/// Constant exponents become products and roots: their derivative holds for
/// x <= 0, where that of x^y by logarithms does not.
static LogicalResult convertPow(Node &n) {
  Emitter &e = n.e;
  Value x = n.in(0), y = n.in(1);
  if (auto exponent = n.number(1)) {
    double p = *exponent, a = std::fabs(p);
    auto shape = broadcastShape(n.shape(0), n.shape(1));
    if (!shape)
      return n.fail("operand shapes " + str(n.shape(0)) + " and " + str(n.shape(1)) +
                    " cannot be broadcast to each other");
    x = e.broadcastTo(x, *shape);
    if (p == 0)
      return n.give(e.like(x, 1));
    if (isFloat(x) && p == 0.5)
      return n.give(e.create<math::SqrtOp>(x));
    if (isFloat(x) && p == -0.5)
      return n.give(e.create<math::RsqrtOp>(x));
    if (a == std::floor(a) && a <= 16 && (p > 0 || isFloat(x))) {
      Value v = power(e, x, (int64_t)a);
      return n.give(p > 0 ? v : e.div(e.like(v, 1), v));
    }
  }
  // The result has the base's type, whatever the exponent's.
  Type type = elementOf(x), wide = isFloat(x) ? type : Type(e.builder.getF64Type());
  x = e.cast(x, wide);
  y = e.cast(y, wide);
  if (!e.broadcastBoth(x, y))
    return failure();
  return n.give(e.cast(e.create<math::PowFOp>(x, y), type));
}

/// fmod = 1: the dividend's sign (C); 0: the divisor's (Python).
static LogicalResult convertMod(Node &n) {
  Emitter &e = n.e;
  Value a = n.in(0), b = n.in(1);
  if (!e.broadcastBoth(a, b))
    return failure();
  Value rest = isFloat(a) ? e.create<arith::RemFOp>(a, b) : e.create<arith::RemSIOp>(a, b);
  bool sameSign = !isFloat(a) && isNonNegative(a) && isNonNegative(b);
  if (n.getInt("fmod", 0) || sameSign)
    return n.give(rest);
  Value zero = e.like(rest, 0);
  Value nonZero = e.compare(FPred::UNE, IPred::ne, rest, zero);
  Value differ = e.create<arith::XOrIOp>(e.compare(FPred::OLT, IPred::slt, rest, zero),
                                         e.compare(FPred::OLT, IPred::slt, b, zero));
  return n.give(e.select(e.logicalAnd(nonZero, differ), e.add(rest, b), rest));
}

static LogicalResult convertAnd(Node &n) {
  return n.give(n.e.logicalAnd(n.in(0), n.in(1)));
}
static LogicalResult convertOr(Node &n) { return n.give(n.e.logicalOr(n.in(0), n.in(1))); }
static LogicalResult convertXor(Node &n) {
  Value a = n.in(0), b = n.in(1);
  return n.e.broadcastBoth(a, b) ? n.give(n.e.create<arith::XOrIOp>(a, b)) : failure();
}
static LogicalResult convertNot(Node &n) {
  Type element = getElementTypeOrSelf(n.op.getInput(0).getType());
  if (element.isUnsignedInteger()) // here in i64, where all higher bits would turn
    return n.fail("unsigned integers are not supported");
  return n.give(n.e.logicalNot(n.in(0)));
}

static LogicalResult convertWhere(Node &n) {
  return n.give(n.e.select(n.in(0), n.in(1), n.in(2)));
}

static LogicalResult convertIsNaN(Node &n) {
  return n.give(n.e.compare(FPred::UNO, IPred::ne, n.in(0), n.in(0)));
}
static LogicalResult convertIsInf(Node &n) {
  Emitter &e = n.e;
  Value x = n.in(0);
  double inf = std::numeric_limits<double>::infinity();
  Value positive = e.compare(FPred::OEQ, IPred::eq, x, e.like(x, inf));
  Value negative = e.compare(FPred::OEQ, IPred::eq, x, e.like(x, -inf));
  if (!n.getInt("detect_positive", 1))
    positive = e.like(positive, 0);
  if (!n.getInt("detect_negative", 1))
    negative = e.like(negative, 0);
  return n.give(e.logicalOr(positive, negative));
}

/// Selects, so that the derivative is 1 at the bounds as in PyTorch's clamp.
static LogicalResult convertClip(Node &n) {
  Emitter &e = n.e;
  Value x = n.in(0), low = n.in(1), high = n.in(2);
  if (n.hasAttr("min"))
    low = e.splat({}, elementOf(x), n.getFloat("min", 0));
  if (n.hasAttr("max"))
    high = e.splat({}, elementOf(x), n.getFloat("max", 0));
  if (low) {
    // Indices that cannot be below the bound keep their plain form.
    auto bound = uniformOf(low);
    if (isFloat(x) || !bound || *bound > 0 || !isNonNegative(x))
      x = e.select(e.compare(FPred::OLT, IPred::slt, x, low), low, x);
  }
  if (high)
    x = e.select(e.compare(FPred::OGT, IPred::sgt, x, high), high, x);
  return n.give(x);
}

static LogicalResult convertIdentity(Node &n) { return n.give(n.in(0)); }

void conversion::addElementwise(HandlerTable &t) {
  t.add("Identity", 1, convertIdentity);
  t.add("Cast", 1, convertCast);
  t.add("CastLike", 2, convertCastLike);
  t.add("Add", 2, convertBinary<&Emitter::add>);
  t.add("Sub", 2, convertBinary<&Emitter::sub>);
  t.add("Mul", 2, convertBinary<&Emitter::mul>);
  t.add("Div", 2, convertBinary<&Emitter::div>);
  t.add("Mod", 2, convertMod);
  t.add("Pow", 2, convertPow);
  t.add("Min", 1, convertVariadic<&Emitter::minimum>);
  t.add("Max", 1, convertVariadic<&Emitter::maximum>);
  t.add("Sum", 1, convertVariadic<&Emitter::add>);
  t.add("Mean", 1, convertMean);
  t.add("Equal", 2, convertCompare<FPred::OEQ, IPred::eq>);
  t.add("Less", 2, convertCompare<FPred::OLT, IPred::slt>);
  t.add("LessOrEqual", 2, convertCompare<FPred::OLE, IPred::sle>);
  t.add("Greater", 2, convertCompare<FPred::OGT, IPred::sgt>);
  t.add("GreaterOrEqual", 2, convertCompare<FPred::OGE, IPred::sge>);
  t.add("And", 2, convertAnd);
  t.add("Or", 2, convertOr);
  t.add("Xor", 2, convertXor);
  t.add("Not", 1, convertNot);
  t.add("BitwiseAnd", 2, convertAnd);
  t.add("BitwiseOr", 2, convertOr);
  t.add("BitwiseXor", 2, convertXor);
  t.add("BitwiseNot", 1, convertNot);
  t.add("Where", 3, convertWhere);
  t.add("IsNaN", 1, convertIsNaN);
  t.add("IsInf", 1, convertIsInf);
  t.add("Clip", 1, convertClip);
  t.add("Abs", 1, convertAbs);
  t.add("Neg", 1, convertNeg);
  t.add("Reciprocal", 1, convertReciprocal);
  t.add("Sign", 1, convertSign);
  t.add("Sqrt", 1, convertFloat<math::SqrtOp>);
  t.add("Exp", 1, convertFloat<math::ExpOp>);
  t.add("Log", 1, convertFloat<math::LogOp>);
  t.add("Sin", 1, convertFloat<math::SinOp>);
  t.add("Cos", 1, convertFloat<math::CosOp>);
  t.add("Tan", 1, convertFloat<math::TanOp>);
  t.add("Atan", 1, convertFloat<math::AtanOp>);
  for (const char *type : {"Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Asin", "Acos"})
    t.add(type, 1, convertHyperbolic);
  t.add("Tanh", 1, convertFloat<math::TanhOp>);
  t.add("Erf", 1, convertFloat<math::ErfOp>);
  t.add("Floor", 1, convertRounding<math::FloorOp>);
  t.add("Ceil", 1, convertRounding<math::CeilOp>);
  t.add("Round", 1, convertRounding<math::RoundEvenOp>);
}
