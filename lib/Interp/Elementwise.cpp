//===- Elementwise.cpp - arith and math on scalars and tensors -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Ops.h"
#include "dialects/nn/NN.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/StringMap.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace moire::interp;

using Unary = double (*)(double);
using Binary = double (*)(double, double);
using IntBinary = int64_t (*)(int64_t, int64_t);

static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

static const llvm::StringMap<Unary> &floatUnary() {
  static const llvm::StringMap<Unary> table = {
      {"arith.negf", [](double x) { return -x; }},
      {"arith.extf", [](double x) { return x; }},
      {"arith.truncf", [](double x) { return x; }},
      {"nn.sigmoid", sigmoid},
      {"math.absf", std::fabs},
      {"math.acos", std::acos},
      {"math.acosh", std::acosh},
      {"math.asin", std::asin},
      {"math.asinh", std::asinh},
      {"math.atan", std::atan},
      {"math.atanh", std::atanh},
      {"math.cbrt", std::cbrt},
      {"math.ceil", std::ceil},
      {"math.cos", std::cos},
      {"math.cosh", std::cosh},
      {"math.erf", std::erf},
      {"math.exp", std::exp},
      {"math.exp2", std::exp2},
      {"math.expm1", std::expm1},
      {"math.floor", std::floor},
      {"math.log", std::log},
      {"math.log10", std::log10},
      {"math.log1p", std::log1p},
      {"math.log2", std::log2},
      {"math.round", std::round},
      {"math.roundeven", std::nearbyint},
      {"math.rsqrt", [](double x) { return 1 / std::sqrt(x); }},
      {"math.sin", std::sin},
      {"math.sinh", std::sinh},
      {"math.sqrt", std::sqrt},
      {"math.tan", std::tan},
      {"math.tanh", std::tanh},
      {"math.trunc", std::trunc},
  };
  return table;
}

static const llvm::StringMap<Binary> &floatBinary() {
  static const llvm::StringMap<Binary> table = {
      {"arith.addf", [](double a, double b) { return a + b; }},
      {"arith.subf", [](double a, double b) { return a - b; }},
      {"arith.mulf", [](double a, double b) { return a * b; }},
      {"arith.divf", [](double a, double b) { return a / b; }},
      {"arith.remf", std::fmod},
      // maximumf and minimumf pass a NaN on, maxnumf and minnumf ignore it.
      {"arith.maximumf", [](double a, double b) { return a > b || a != a ? a : b; }},
      {"arith.minimumf", [](double a, double b) { return a < b || a != a ? a : b; }},
      {"arith.maxnumf", std::fmax},
      {"arith.minnumf", std::fmin},
      {"math.atan2", std::atan2},
      {"math.copysign", std::copysign},
      {"math.powf", std::pow},
  };
  return table;
}

/// Two's complement wraps around: computed without sign, where C++ defines it.
static int64_t add(int64_t a, int64_t b) { return static_cast<uint64_t>(a) + static_cast<uint64_t>(b); }
static int64_t sub(int64_t a, int64_t b) { return static_cast<uint64_t>(a) - static_cast<uint64_t>(b); }
static int64_t mul(int64_t a, int64_t b) { return static_cast<uint64_t>(a) * static_cast<uint64_t>(b); }
/// The one quotient that does not fit, min / -1, wraps around too.
static int64_t divTrunc(int64_t a, int64_t b) { return b == -1 ? sub(0, a) : a / b; }
static int64_t remTrunc(int64_t a, int64_t b) { return b == -1 ? 0 : a % b; }
static int64_t divFloor(int64_t a, int64_t b) {
  return sub(divTrunc(a, b), remTrunc(a, b) != 0 && (a < 0) != (b < 0));
}
static int64_t divCeil(int64_t a, int64_t b) {
  return add(divTrunc(a, b), remTrunc(a, b) != 0 && (a < 0) == (b < 0));
}
static int64_t power(int64_t base, int64_t exponent) {
  if (exponent < 0)
    return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
  int64_t result = 1;
  for (; exponent; exponent >>= 1, base = mul(base, base))
    if (exponent & 1)
      result = mul(result, base);
  return result;
}

static const llvm::StringMap<IntBinary> &intBinary() {
  static const llvm::StringMap<IntBinary> table = {
      {"arith.addi", add},
      {"arith.subi", sub},
      {"arith.muli", mul},
      {"arith.divsi", divTrunc},
      {"arith.remsi", remTrunc},
      {"arith.floordivsi", divFloor},
      {"arith.ceildivsi", divCeil},
      {"arith.andi", [](int64_t a, int64_t b) { return a & b; }},
      {"arith.ori", [](int64_t a, int64_t b) { return a | b; }},
      {"arith.xori", [](int64_t a, int64_t b) { return a ^ b; }},
      {"arith.maxsi", [](int64_t a, int64_t b) { return std::max(a, b); }},
      {"arith.minsi", [](int64_t a, int64_t b) { return std::min(a, b); }},
      {"arith.shli", [](int64_t a, int64_t b) -> int64_t {
         return b < 0 || b > 63 ? 0 : static_cast<uint64_t>(a) << b;
       }},
      {"arith.shrsi", [](int64_t a, int64_t b) -> int64_t {
         return a >> (b < 0 || b > 63 ? 63 : b);
       }},
      {"math.ipowi", power},
  };
  return table;
}

/// Ops that read the bits as a number without sign.
static const llvm::StringMap<IntBinary> &unsignedBinary() {
  using U = uint64_t;
  static const llvm::StringMap<IntBinary> table = {
      {"arith.divui", [](int64_t a, int64_t b) -> int64_t { return U(a) / U(b); }},
      {"arith.remui", [](int64_t a, int64_t b) -> int64_t { return U(a) % U(b); }},
      {"arith.ceildivui", [](int64_t a, int64_t b) -> int64_t { return U(a) / U(b) + (U(a) % U(b) != 0); }},
      {"arith.maxui", [](int64_t a, int64_t b) -> int64_t { return std::max(U(a), U(b)); }},
      {"arith.minui", [](int64_t a, int64_t b) -> int64_t { return std::min(U(a), U(b)); }},
      {"arith.shrui", [](int64_t a, int64_t b) -> int64_t { return U(b) > 63 ? 0 : U(a) >> b; }},
  };
  return table;
}

/// The value as a number without sign.
static int64_t zeroExtend(Type type, int64_t value) {
  unsigned width = type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
  return width >= 64 ? value : value & ((int64_t(1) << width) - 1);
}
/// The value as a number with sign: only i1 is kept without one.
static int64_t signExtend(Type type, int64_t value) {
  return type.isInteger(1) ? -value : value;
}

static bool compareFloats(arith::CmpFPredicate predicate, double a, double b) {
  using P = arith::CmpFPredicate;
  bool unordered = a != a || b != b;
  switch (predicate) {
  case P::AlwaysFalse: return false;
  case P::OEQ: return a == b;
  case P::OGT: return a > b;
  case P::OGE: return a >= b;
  case P::OLT: return a < b;
  case P::OLE: return a <= b;
  case P::ONE: return !unordered && a != b;
  case P::ORD: return !unordered;
  case P::UEQ: return unordered || a == b;
  case P::UGT: return unordered || a > b;
  case P::UGE: return unordered || a >= b;
  case P::ULT: return unordered || a < b;
  case P::ULE: return unordered || a <= b;
  case P::UNE: return a != b;
  case P::UNO: return unordered;
  case P::AlwaysTrue: return true;
  }
  return false;
}

static bool compareInts(arith::CmpIPredicate predicate, Type type, int64_t a, int64_t b) {
  using P = arith::CmpIPredicate;
  uint64_t ua = zeroExtend(type, a), ub = zeroExtend(type, b);
  a = signExtend(type, a);
  b = signExtend(type, b);
  switch (predicate) {
  case P::eq: return a == b;
  case P::ne: return a != b;
  case P::slt: return a < b;
  case P::sle: return a <= b;
  case P::sgt: return a > b;
  case P::sge: return a >= b;
  case P::ult: return ua < ub;
  case P::ule: return ua <= ub;
  case P::ugt: return ua > ub;
  case P::uge: return ua >= ub;
  }
  return false;
}

/// C++ leaves a conversion that does not fit undefined; the nearest is taken.
static int64_t toInteger(double x) {
  if (x != x)
    return 0;
  if (x >= 9223372036854775807.0)
    return std::numeric_limits<int64_t>::max();
  if (x <= -9223372036854775808.0)
    return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(x);
}

/// result[i] = fn(operand[i]...), the operands' elements being of types In.
template <typename Out, typename... In, size_t... at, typename Fn>
static LogicalResult mapOperands(Call &call, Fn fn, std::index_sequence<at...>) {
  // Inside a linalg.generic the operands are tensors where the op has scalars.
  Tensor result(call.resultType().getElementType(), call.in(0).shape());
  Out *out = result.edit<Out>().data();
  std::tuple<const In *...> in{call.in(at).template get<In>().data()...};
  for (int64_t i = 0, e = result.size(); i < e; ++i)
    out[i] = static_cast<Out>(fn(std::get<at>(in)[i]...));
  call.yield(std::move(result));
  return success();
}
template <typename Out, typename... In, typename Fn>
static LogicalResult map(Call &call, Fn fn) {
  return mapOperands<Out, In...>(call, fn, std::index_sequence_for<In...>());
}

/// A condition may be one scalar for a whole tensor.
static LogicalResult select(Call &call) {
  auto condition = call.in(0).ints();
  const Tensor &yes = call.in(1), &no = call.in(2);
  bool one = condition.size() == 1;
  Tensor result(call.resultType().getElementType(), yes.shape());
  dispatch(result, [&](auto t) {
    using T = decltype(t);
    auto out = result.edit<T>();
    for (int64_t i = 0; i < result.size(); ++i)
      out[i] = (condition[one ? 0 : i] ? yes : no).template get<T>()[i];
  });
  call.yield(std::move(result));
  return success();
}

/// Division by zero has no value in arith.
static LogicalResult checkDivisors(Call &call) {
  StringRef name = call.op->getName().getStringRef();
  if ((name.contains("div") || name.contains("rem")) && llvm::is_contained(call.in(1).ints(), 0))
    return call.error("divides by zero");
  return success();
}

std::optional<LogicalResult> moire::interp::evaluateElementwise(Call &call) {
  using D = double;
  using I = int64_t;
  Operation *op = call.op;
  StringRef name = op->getName().getStringRef();
  if (Unary fn = floatUnary().lookup(name))
    return map<D, D>(call, fn);
  if (Binary fn = floatBinary().lookup(name))
    return map<D, D, D>(call, fn);
  if (IntBinary fn = intBinary().lookup(name)) {
    if (failed(checkDivisors(call)))
      return failure();
    Type type = call.in(0).elementType();
    return map<I, I, I>(call, [=](I a, I b) { return fn(signExtend(type, a), signExtend(type, b)); });
  }
  if (IntBinary fn = unsignedBinary().lookup(name)) {
    if (failed(checkDivisors(call)))
      return failure();
    Type type = call.in(0).elementType();
    return map<I, I, I>(call, [=](I a, I b) { return fn(zeroExtend(type, a), zeroExtend(type, b)); });
  }
  if (auto cmp = dyn_cast<arith::CmpFOp>(op))
    return map<I, D, D>(call, [p = cmp.getPredicate()](D a, D b) { return compareFloats(p, a, b); });
  if (auto cmp = dyn_cast<arith::CmpIOp>(op)) {
    Type type = call.in(0).elementType();
    return map<I, I, I>(call, [=, p = cmp.getPredicate()](I a, I b) { return compareInts(p, type, a, b); });
  }
  if (isa<arith::SelectOp>(op))
    return select(call);
  if (isa<math::FmaOp>(op))
    return map<D, D, D, D>(call, [](D a, D b, D c) { return std::fma(a, b, c); });
  if (isa<math::FPowIOp>(op))
    return map<D, D, I>(call, [](D a, I b) { return std::pow(a, static_cast<D>(b)); });
  if (isa<math::AbsIOp>(op))
    return map<I, I>(call, [](I a) { return a < 0 ? sub(0, a) : a; });

  if (op->getNumOperands() != 1 || !call.operands[0].isTensor())
    return std::nullopt;
  Type from = call.in(0).elementType();
  if (isa<arith::ExtSIOp, arith::IndexCastOp, arith::TruncIOp>(op))
    return map<I, I>(call, [=](I a) { return signExtend(from, a); });
  if (isa<arith::ExtUIOp, arith::IndexCastUIOp>(op))
    return map<I, I>(call, [=](I a) { return zeroExtend(from, a); });
  if (isa<arith::SIToFPOp>(op))
    return map<D, I>(call, [=](I a) { return static_cast<D>(signExtend(from, a)); });
  if (isa<arith::UIToFPOp>(op))
    return map<D, I>(call, [=](I a) { return static_cast<D>(static_cast<uint64_t>(zeroExtend(from, a))); });
  if (isa<arith::FPToSIOp, arith::FPToUIOp>(op))
    return map<I, D>(call, toInteger);
  return std::nullopt;
}
