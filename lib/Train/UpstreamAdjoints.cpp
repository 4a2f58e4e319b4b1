//===- UpstreamAdjoints.cpp - Derivatives of arith and math ops ----------===//
//
// One rule per op: given the op, the cotangent of its result and which operands
// want one, the cotangents of the operands.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "moire/Train/Adjoints.h"

using namespace mlir;
using namespace moire;

namespace {

using Wanted = ArrayRef<bool>;
using Adjoints = SmallVector<Value>;

/// Elementwise mathematics at one location, so that a rule reads like a formula.
struct Math {
  OpBuilder &b;
  Location loc;

  Value constant(Value like, double value) {
    Type type = like.getType();
    Attribute attr = b.getFloatAttr(getElementTypeOrSelf(type), value);
    if (auto tensor = dyn_cast<ShapedType>(type))
      attr = DenseElementsAttr::get(tensor, attr);
    return b.create<arith::ConstantOp>(loc, cast<TypedAttr>(attr));
  }
  template <typename OpTy>
  Value make(Value l, Value r) {
    return b.create<OpTy>(loc, l, r);
  }
  Value add(Value l, Value r) { return make<arith::AddFOp>(l, r); }
  Value sub(Value l, Value r) { return make<arith::SubFOp>(l, r); }
  Value mul(Value l, Value r) { return make<arith::MulFOp>(l, r); }
  Value div(Value l, Value r) { return make<arith::DivFOp>(l, r); }
  Value scale(Value v, double by) { return mul(v, constant(v, by)); }
  Value neg(Value v) { return b.create<arith::NegFOp>(loc, v); }
  template <typename OpTy>
  Value apply(Value v) {
    return b.create<OpTy>(loc, v);
  }
  Value compare(arith::CmpFPredicate predicate, Value l, Value r) {
    return b.create<arith::CmpFOp>(loc, predicate, l, r);
  }
  Value select(Value condition, Value yes, Value no) {
    return b.create<arith::SelectOp>(loc, condition, yes, no);
  }
  /// `v` where the condition holds, else 0; and the opposite.
  Value where(Value condition, Value v) {
    return select(condition, v, constant(v, 0));
  }
  Value unless(Value condition, Value v) {
    return select(condition, constant(v, 0), v);
  }
};

/// The value of a float splat constant.
std::optional<double> constantOf(Value v) {
  APFloat value(0.0);
  if (!matchPattern(v, m_ConstantFloat(&value)))
    return std::nullopt;
  bool lossy;
  value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lossy);
  return value.convertToDouble();
}

//===----------------------------------------------------------------------===//
// Rules
//===----------------------------------------------------------------------===//

Adjoints rule(arith::AddFOp, Math &, Value dy, Wanted) { return {dy, dy}; }

Adjoints rule(arith::SubFOp, Math &m, Value dy, Wanted wanted) {
  return {dy, wanted[1] ? m.neg(dy) : Value()};
}

Adjoints rule(arith::MulFOp op, Math &m, Value dy, Wanted wanted) {
  return {wanted[0] ? m.mul(dy, op.getRhs()) : Value(),
          wanted[1] ? m.mul(dy, op.getLhs()) : Value()};
}

Adjoints rule(arith::DivFOp op, Math &m, Value dy, Wanted wanted) {
  // y = a / b: da = dy / b, db = -da * y.
  Value da = m.div(dy, op.getRhs());
  return {da, wanted[1] ? m.neg(m.mul(da, op.getResult())) : Value()};
}

Adjoints rule(arith::RemFOp op, Math &m, Value dy, Wanted wanted) {
  // y = a - trunc(a / b) * b.
  Value db;
  if (wanted[1]) {
    Value whole = m.div(m.sub(op.getLhs(), op.getResult()), op.getRhs());
    db = m.neg(m.mul(dy, whole));
  }
  return {dy, db};
}

Adjoints rule(arith::NegFOp, Math &m, Value dy, Wanted) { return {m.neg(dy)}; }

/// The larger (or smaller) of two. Against a constant this is a clamp, which
/// passes the cotangent at its bound, except for max(x, 0): that is ReLU, whose
/// derivative at 0 is 0.
template <typename OpTy>
Adjoints extremum(OpTy op, Math &m, Value dy, Wanted wanted,
                  arith::CmpFPredicate better, arith::CmpFPredicate notWorse,
                  bool reluAtZero) {
  Value a = op.getLhs(), b = op.getRhs();
  auto against = [&](Value x, Value bound) {
    auto constant = constantOf(bound);
    bool strict = reluAtZero && constant && *constant == 0;
    return m.where(m.compare(strict ? better : notWorse, x, bound), dy);
  };
  if (!wanted[1])
    return {against(a, b), Value()};
  if (!wanted[0])
    return {Value(), against(b, a)};
  Value half = m.scale(dy, 0.5);
  Value tie = m.compare(arith::CmpFPredicate::OEQ, a, b);
  auto share = [&](Value x, Value other) {
    return m.select(tie, half, m.where(m.compare(better, x, other), dy));
  };
  return {share(a, b), share(b, a)};
}

Adjoints rule(arith::MaximumFOp op, Math &m, Value dy, Wanted wanted) {
  return extremum(op, m, dy, wanted, arith::CmpFPredicate::OGT,
                  arith::CmpFPredicate::OGE, /*reluAtZero=*/true);
}
Adjoints rule(arith::MaxNumFOp op, Math &m, Value dy, Wanted wanted) {
  return extremum(op, m, dy, wanted, arith::CmpFPredicate::OGT,
                  arith::CmpFPredicate::OGE, /*reluAtZero=*/true);
}
Adjoints rule(arith::MinimumFOp op, Math &m, Value dy, Wanted wanted) {
  return extremum(op, m, dy, wanted, arith::CmpFPredicate::OLT,
                  arith::CmpFPredicate::OLE, /*reluAtZero=*/false);
}
Adjoints rule(arith::MinNumFOp op, Math &m, Value dy, Wanted wanted) {
  return extremum(op, m, dy, wanted, arith::CmpFPredicate::OLT,
                  arith::CmpFPredicate::OLE, /*reluAtZero=*/false);
}

Adjoints rule(arith::SelectOp op, Math &m, Value dy, Wanted wanted) {
  return {Value(), wanted[1] ? m.where(op.getCondition(), dy) : Value(),
          wanted[2] ? m.unless(op.getCondition(), dy) : Value()};
}

Adjoints rule(arith::ExtFOp op, Math &m, Value dy, Wanted) {
  if (!isa<RankedTensorType>(dy.getType()))
    return {m.b.create<arith::TruncFOp>(m.loc, op.getIn().getType(), dy)};
  return {nn::castElements(m.b, m.loc, dy, getElementTypeOrSelf(op.getIn().getType()))};
}

/// Whether a value is a parameter, or a view of one.
bool isParameter(Value v) {
  while (isa_and_nonnull<nn::ReshapeOp, nn::TransposeOp, nn::SliceOp, nn::BroadcastOp>(
      v.getDefiningOp()))
    v = v.getDefiningOp()->getOperand(0);
  return isa_and_nonnull<pipe::ReadOp>(v.getDefiningOp());
}

/// The cotangent is widened again. One that was rounded just before is taken as it
/// was where nothing is gained by the rounding: at a parameter, whose gradient is
/// f32, and unless it comes from a product, which rounds in passing.
Adjoints rule(arith::TruncFOp op, Math &m, Value dy, Wanted) {
  if (auto rounding = dy.getDefiningOp<arith::TruncFOp>();
      rounding && rounding.getIn().getType() == op.getIn().getType()) {
    Operation *source = rounding.getIn().getDefiningOp();
    if (isParameter(op.getIn()) || !isa_and_nonnull<nn::MatmulOp, nn::GroupedMatmulOp>(source))
      return {rounding.getIn()};
  }
  return {m.b.create<arith::ExtFOp>(m.loc, op.getIn().getType(), dy)};
}

Adjoints rule(math::ExpOp op, Math &m, Value dy, Wanted) {
  return {m.mul(dy, op.getResult())};
}
Adjoints rule(math::Exp2Op op, Math &m, Value dy, Wanted) {
  return {m.mul(dy, m.scale(op.getResult(), M_LN2))};
}
Adjoints rule(math::ExpM1Op op, Math &m, Value dy, Wanted) {
  return {m.mul(dy, m.add(op.getResult(), m.constant(dy, 1)))};
}
Adjoints rule(math::LogOp op, Math &m, Value dy, Wanted) {
  return {m.div(dy, op.getOperand())};
}
Adjoints rule(math::Log2Op op, Math &m, Value dy, Wanted) {
  return {m.div(dy, m.scale(op.getOperand(), M_LN2))};
}
Adjoints rule(math::Log10Op op, Math &m, Value dy, Wanted) {
  return {m.div(dy, m.scale(op.getOperand(), M_LN10))};
}
Adjoints rule(math::Log1pOp op, Math &m, Value dy, Wanted) {
  return {m.div(dy, m.add(op.getOperand(), m.constant(dy, 1)))};
}
Adjoints rule(math::SqrtOp op, Math &m, Value dy, Wanted) {
  return {m.div(m.scale(dy, 0.5), op.getResult())};
}
Adjoints rule(math::RsqrtOp op, Math &m, Value dy, Wanted) {
  // -y^3 / 2
  Value y = op.getResult();
  return {m.mul(m.scale(dy, -0.5), m.mul(y, m.mul(y, y)))};
}
Adjoints rule(math::TanhOp op, Math &m, Value dy, Wanted) {
  Value y = op.getResult();
  return {m.mul(dy, m.sub(m.constant(y, 1), m.mul(y, y)))};
}
Adjoints rule(math::ErfOp op, Math &m, Value dy, Wanted) {
  // 2 / sqrt(pi) * exp(-x^2)
  Value x = op.getOperand();
  Value bell = m.apply<math::ExpOp>(m.neg(m.mul(x, x)));
  return {m.mul(dy, m.scale(bell, M_2_SQRTPI))};
}
Adjoints rule(math::SinOp op, Math &m, Value dy, Wanted) {
  return {m.mul(dy, m.apply<math::CosOp>(op.getOperand()))};
}
Adjoints rule(math::CosOp op, Math &m, Value dy, Wanted) {
  return {m.neg(m.mul(dy, m.apply<math::SinOp>(op.getOperand())))};
}
Adjoints rule(math::TanOp op, Math &m, Value dy, Wanted) {
  Value y = op.getResult();
  return {m.mul(dy, m.add(m.constant(y, 1), m.mul(y, y)))};
}
Adjoints rule(math::AtanOp op, Math &m, Value dy, Wanted) {
  Value x = op.getOperand();
  return {m.div(dy, m.add(m.constant(x, 1), m.mul(x, x)))};
}
Adjoints rule(math::SinhOp op, Math &m, Value dy, Wanted) {
  return {m.mul(dy, m.apply<math::CoshOp>(op.getOperand()))};
}
Adjoints rule(math::CoshOp op, Math &m, Value dy, Wanted) {
  return {m.mul(dy, m.apply<math::SinhOp>(op.getOperand()))};
}
Adjoints rule(math::AbsFOp op, Math &m, Value dy, Wanted) {
  Value x = op.getOperand(), zero = m.constant(x, 0);
  Value negative = m.compare(arith::CmpFPredicate::OLT, x, zero);
  Value positive = m.compare(arith::CmpFPredicate::OGT, x, zero);
  return {m.select(positive, dy, m.where(negative, m.neg(dy)))};
}

Adjoints rule(math::PowFOp op, Math &m, Value dy, Wanted wanted) {
  Value x = op.getLhs(), p = op.getRhs(), dx, dp;
  if (wanted[0]) {
    auto constant = constantOf(p);
    if (constant && *constant == 0)
      dx = Value();
    else if (constant && *constant == 1)
      dx = dy;
    else if (constant && *constant == 2)
      dx = m.mul(dy, m.scale(x, 2));
    else {
      // Where the exponent is 0 the derivative is 0, also at x = 0.
      Value less = m.sub(p, m.constant(p, 1));
      Value slope = m.mul(p, m.make<math::PowFOp>(x, less));
      if (!constant)
        slope = m.unless(m.compare(arith::CmpFPredicate::OEQ, p, m.constant(p, 0)),
                         slope);
      dx = m.mul(dy, slope);
    }
  }
  if (wanted[1]) {
    // y * log(x), and 0 rather than 0 * -inf at x = 0.
    Value slope = m.mul(op.getResult(), m.apply<math::LogOp>(x));
    Value atZero = m.compare(arith::CmpFPredicate::OEQ, x, m.constant(x, 0));
    dp = m.mul(dy, m.unless(atZero, slope));
  }
  return {dx, dp};
}

Adjoints rule(math::FmaOp op, Math &m, Value dy, Wanted wanted) {
  return {wanted[0] ? m.mul(dy, op.getB()) : Value(),
          wanted[1] ? m.mul(dy, op.getA()) : Value(), dy};
}

// Steps: flat wherever they have a derivative.
Adjoints flat(Operation *op) { return Adjoints(op->getNumOperands()); }
Adjoints rule(math::FloorOp op, Math &, Value, Wanted) { return flat(op); }
Adjoints rule(math::CeilOp op, Math &, Value, Wanted) { return flat(op); }
Adjoints rule(math::RoundOp op, Math &, Value, Wanted) { return flat(op); }
Adjoints rule(math::RoundEvenOp op, Math &, Value, Wanted) { return flat(op); }
Adjoints rule(math::TruncOp op, Math &, Value, Wanted) { return flat(op); }

//===----------------------------------------------------------------------===//
// Registration
//===----------------------------------------------------------------------===//

template <typename OpTy>
struct Model : nn::DifferentiableOpInterface::ExternalModel<Model<OpTy>, OpTy> {
  SmallVector<Value> buildAdjoint(Operation *op, OpBuilder &builder,
                                  ArrayRef<Value> cotangents,
                                  Wanted wanted) const {
    Math math{builder, op->getLoc()};
    return rule(cast<OpTy>(op), math, cotangents[0], wanted);
  }
};

template <typename... Ops>
void attach(MLIRContext *context) {
  (Ops::template attachInterface<Model<Ops>>(*context), ...);
}

} // namespace

void train::registerDifferentiableExternalModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, arith::ArithDialect *) {
    attach<arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp,
           arith::RemFOp, arith::NegFOp, arith::MaximumFOp, arith::MaxNumFOp,
           arith::MinimumFOp, arith::MinNumFOp, arith::SelectOp, arith::ExtFOp,
           arith::TruncFOp>(context);
  });
  registry.addExtension(+[](MLIRContext *context, math::MathDialect *) {
    attach<math::ExpOp, math::Exp2Op, math::ExpM1Op, math::LogOp, math::Log2Op,
           math::Log10Op, math::Log1pOp, math::SqrtOp, math::RsqrtOp,
           math::TanhOp, math::ErfOp, math::SinOp, math::CosOp, math::TanOp,
           math::AtanOp, math::SinhOp, math::CoshOp, math::AbsFOp,
           math::PowFOp, math::FmaOp, math::FloorOp, math::CeilOp,
           math::RoundOp, math::RoundEvenOp, math::TruncOp>(context);
  });
}
