//===- MoE.cpp - com.microsoft::MoE --------------------------------------===//
//
// Semantics as ONNX Runtime's kernel has them: `router_probs` are logits; the
// weights are their softmax over all experts, the k largest of which are kept
// and, with normalize_routing_weights, divided by their sum.
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

/// Whether weights [E, a, b] map `in` to a (the layout from ONNX Runtime 1.23
/// on) or to b (before); nothing where the shape does not fit or does not tell.
static std::optional<bool> outFirst(Dims w, int64_t in) {
  if ((w[2] == in) == (w[1] == in))
    return std::nullopt;
  return w[2] == in;
}

namespace {
struct Experts {
  Emitter &e;
  Value routing;
  bool transposed;
  /// rows times each expert's matrix, plus its bias.
  Value linear(Value rows, Value weight, Value bias) {
    if (!rows || !weight)
      return {};
    Value y = e.infer<nn::GroupedMatmulOp>(rows, weight, routing, transposed);
    return bias ? e.add(y, e.infer<nn::PerExpertOp>(bias, routing)) : y;
  }
};
} // namespace

static Value clampTo(Emitter &e, Value v, std::optional<double> low, double high) {
  v = e.select(e.compare(FPred::OGT, IPred::sgt, v, e.like(v, high)), e.like(v, high), v);
  if (low)
    v = e.select(e.compare(FPred::OLT, IPred::slt, v, e.like(v, *low)), e.like(v, *low), v);
  return v;
}

static FailureOr<Value> activate(Node &n, StringRef kind, Value x) {
  Emitter &e = n.e;
  if (kind == "identity")
    return x;
  if (kind == "relu")
    return e.select(e.compare(FPred::OLE, IPred::sle, x, e.like(x, 0)), e.like(x, 0), x);
  if (kind == "silu")
    return e.mul(x, e.sigmoid(x));
  if (kind == "gelu") { // the tanh form, as the kernel
    Value inner = e.add(x, e.scale(e.mul(x, e.mul(x, x)), 0.044715));
    Value tanh = e.unary<math::TanhOp>(e.scale(inner, std::sqrt(2 / M_PI)));
    return e.mul(e.scale(x, 0.5), e.shift(tanh, 1));
  }
  return n.fail("activation_type \"" + kind + "\" must be relu, gelu, silu, swiglu or identity");
}

/// Inputs: input, router_probs, fc1, fc1_bias, fc2, fc2_bias, fc3, fc3_bias.
static LogicalResult convertMoE(Node &n) {
  Emitter &e = n.e;
  Value x = n.in(0), logits = n.in(1), fc1 = n.in(2), fc2 = n.in(4), fc3 = n.in(6);
  if (!fc2 || rankOf(x) < 2 || rankOf(logits) < 2 || rankOf(fc1) != 3 || rankOf(fc2) != 3 ||
      (fc3 && rankOf(fc3) != 3))
    return n.fail("inputs must be tokens [T, H], logits [T, E] and experts' weights of rank 3");
  if (n.getInt("use_sparse_mixer", 0))
    return n.fail("use_sparse_mixer is not supported");
  DimVector shape(n.shape(0));
  int64_t hidden = shape.back(), tokens = product(shape) / std::max<int64_t>(hidden, 1);
  int64_t experts = shapeOf(logits).back(), k = n.getInt("k", 1);
  for (Value w : {fc1, fc2, fc3})
    if (w && shapeOf(w)[0] != experts)
      return n.fail("weights of " + Twine(shapeOf(w)[0]) + " experts for logits of " + Twine(experts));
  if (k < 1 || k > experts)
    return n.fail("k = " + Twine(k) + " must lie in 1.." + Twine(experts));

  // 1. The layout: fc1 tells, or fc2 where fc1 is square.
  auto newer = outFirst(shapeOf(fc1), hidden);
  if (!newer) {
    Dims w = shapeOf(fc2);
    if (w[1] == w[2] || (w[1] != hidden && w[2] != hidden))
      return n.fail("weights of shapes " + str(shapeOf(fc1)) + " and " + str(w) +
                    " do not tell whether they are stored [E, out, in] or [E, in, out] for " +
                    Twine(hidden) + " features");
    newer = w[1] == hidden;
  }

  // 2. Route.
  x = e.reshape(x, {tokens, hidden});
  logits = e.reshape(logits, {tokens, experts});
  if (!x || !logits)
    return failure();
  bool normalized = n.getInt("normalize_routing_weights", 0);
  auto chosen = e.inferAll<nn::RouterOp>(2, logits, Value(), e.builder.getI64IntegerAttr(k),
                                         nn::ScoringAttr::get(e.builder.getContext(), nn::Scoring::softmax),
                                         normalized ? e.builder.getUnitAttr() : UnitAttr(),
                                         e.builder.getF64FloatAttr(0), e.builder.getF64FloatAttr(1));
  auto type = nn::RoutingType::get(e.builder.getContext(), tokens, k, experts);
  Value routing = e.create<nn::RouteOp>(type, chosen[1]);
  Experts ex{e, routing, *newer};
  Value rows = e.infer<nn::DispatchOp>(x, routing);

  // 3. The experts.
  Value h = ex.linear(rows, fc1, n.in(3)), up = ex.linear(rows, fc3, n.in(7));
  if (!h || (fc3 && !up))
    return failure();
  StringRef kind = n.getString("activation_type", "relu");
  if (kind == "swiglu") {
    int64_t fusion = n.getInt("swiglu_fusion", 0), width = shapeOf(h)[1];
    Value gate = h;
    if (fusion == 1 && width % 2 == 0) {
      gate = e.sliceDim(h, 1, 0, width, 2);
      up = e.sliceDim(h, 1, 1, width, 2);
    } else if (fusion == 2 && width % 2 == 0) {
      gate = e.sliceDim(h, 1, 0, width / 2);
      up = e.sliceDim(h, 1, width / 2, width);
    } else if (fusion != 0 || !up) {
      return n.fail("swiglu_fusion " + Twine(fusion) + " does not fit; use 1 or 2 with an even first "
                    "layer, or 0 with the third input of weights");
    }
    if (n.hasAttr("swiglu_limit")) {
      double limit = n.getFloat("swiglu_limit", 0);
      gate = clampTo(e, gate, std::nullopt, limit);
      up = clampTo(e, up, -limit, limit);
    }
    Value sigmoid = e.sigmoid(e.scale(gate, n.getFloat("activation_alpha", 1)));
    h = e.mul(e.mul(gate, sigmoid), e.shift(up, n.getFloat("activation_beta", 0)));
  } else {
    auto act = activate(n, kind, h);
    if (failed(act))
      return failure();
    h = up ? e.mul(*act, up) : *act;
  }
  Value y = ex.linear(h, fc2, n.in(5));

  // 4. Back to the tokens.
  if (!y)
    return failure();
  return n.give(e.reshape(e.infer<nn::CombineOp>(y, chosen[0], routing), shape));
}

static LogicalResult refuseQuantized(Node &n) {
  return n.fail("quantized experts cannot be trained; export the model in float32" +
                recipe("weights"));
}

void conversion::addMoE(HandlerTable &t) {
  t.add("com.microsoft::MoE", 3, convertMoE);
  t.add("com.microsoft::QMoE", 0, refuseQuantized);
}
