//===- NNLayerShapes.cpp - Types of norms, attention, losses -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NNInfer.h"

using namespace mlir;
using namespace moire::nn;

//===----------------------------------------------------------------------===//
// Normalizations
//===----------------------------------------------------------------------===//

/// Scale and bias must be vectors of the input's last dim, never narrow.
static LogicalResult checkVector(Loc loc, Value v, Value input, StringRef what) {
  auto shape = shapeOf(input);
  if (shape.empty())
    return emitOptionalError(loc, "input must have rank 1 or more");
  if (v && v.getType() != wideWithShape(input, shape.back()))
    return emitOptionalError(loc, what, " of type ", v.getType(), " must be ",
                             wideWithShape(input, shape.back()));
  return success();
}

INFER_SAME(SigmoidOp, getInput)
INFER_SAME(CrossEntropyGradOp, getLogits)

INFER(SoftmaxOp) {
  ADAPT(SoftmaxOp);
  if (failed(checkVector(loc, {}, op.getInput(), "")))
    return failure();
  types.push_back(op.getInput().getType());
  return success();
}

INFER(SoftmaxGradOp) {
  ADAPT(SoftmaxGradOp);
  if (op.getOutput().getType() != op.getCotangent().getType())
    return emitOptionalError(loc, "cotangent of type ", op.getCotangent().getType(), " must be ",
                             op.getOutput().getType());
  types.push_back(op.getOutput().getType());
  return success();
}

INFER(LayerNormOp) {
  ADAPT(LayerNormOp);
  if (failed(checkVector(loc, op.getScale(), op.getInput(), "scale")) ||
      failed(checkVector(loc, op.getBias(), op.getInput(), "bias")))
    return failure();
  types.push_back(op.getInput().getType());
  return success();
}

INFER(RMSNormOp) {
  ADAPT(RMSNormOp);
  if (failed(checkVector(loc, op.getScale(), op.getInput(), "scale")))
    return failure();
  types.push_back(op.getInput().getType());
  return success();
}

template <typename OpTy>
static LogicalResult verifyNormGrad(OpTy op) {
  Type type = op.getInput().getType();
  if ((op.getCotangent().getType() != type && !isNarrowed(type, op.getCotangent().getType())) ||
      op.getDInput().getType() != type)
    return op.emitOpError("cotangent and input cotangent must have the input's type ") << type;
  if (failed(checkVector(op.getLoc(), op.getScale(), op.getInput(), "scale")) ||
      failed(checkVector(op.getLoc(), op.getDScale(), op.getInput(), "scale cotangent")))
    return failure();
  return success();
}
LogicalResult RMSNormGradOp::verify() { return verifyNormGrad(*this); }
LogicalResult LayerNormGradOp::verify() {
  if (failed(verifyNormGrad(*this)))
    return failure();
  return checkVector(getLoc(), getDBias(), getInput(), "bias cotangent");
}

//===----------------------------------------------------------------------===//
// Attention and loss
//===----------------------------------------------------------------------===//

INFER_SAME(RopeOp, getInput)
LogicalResult RopeOp::verify() {
  auto x = shapeOf(getInput()), c = shapeOf(getCos());
  if (x.size() != 4 || x[3] % 2)
    return emitOpError("input must have rank 4 and an even last dim, not ") << getInput().getType();
  if (getCos().getType() != getSin().getType() || c.size() != 3 || (c[0] != 1 && c[0] != x[0]) ||
      c[1] != x[2] || c[2] * 2 != x[3])
    return emitOpError("tables ") << getCos().getType() << " and " << getSin().getType()
                                  << " must both have shape [1 or " << x[0] << ", " << x[2]
                                  << ", " << x[3] / 2 << "]";
  return success();
}

template <typename Adaptor>
static LogicalResult checkAttention(Loc loc, Adaptor op) {
  if (elementOf(op.getQuery()) != elementOf(op.getKey()) ||
      elementOf(op.getQuery()) != elementOf(op.getValue()))
    return emitOptionalError(loc, "element types of query, key and value must be equal");
  auto q = shapeOf(op.getQuery()), k = shapeOf(op.getKey()), v = shapeOf(op.getValue());
  if (q.size() != 4 || k.size() != 4 || v.size() != 4)
    return emitOptionalError(loc, "query, key and value must have rank 4");
  if (k[1] == 0 || q[1] % k[1])
    return emitOptionalError(loc, q[1], " query heads must be a multiple of ", k[1], " key heads");
  if (q[0] != k[0] || k.drop_back() != v.drop_back() || q[3] != k[3])
    return emitOptionalError(loc, "query ", op.getQuery().getType(), ", key ",
                             op.getKey().getType(), " and value ", op.getValue().getType(),
                             " do not fit");
  if (Value mask = op.getMask()) {
    auto m = shapeOf(mask);
    int64_t full[] = {q[0], q[1], q[2], k[2]};
    bool fits = m.size() == 4;
    for (size_t i = 0; fits && i < 4; ++i)
      fits = m[i] == 1 || m[i] == full[i];
    if (!fits)
      return emitOptionalError(loc, "mask ", mask.getType(), " must have shape ", str(full),
                               " or 1 in place of a size");
  }
  return success();
}

INFER(AttentionOp) {
  ADAPT(AttentionOp);
  if (failed(checkAttention(loc, op)))
    return failure();
  auto q = shapeOf(op.getQuery()), v = shapeOf(op.getValue());
  types.push_back(withShape(op.getQuery(), {q[0], q[1], q[2], v[3]}));
  types.push_back(wideWithShape(op.getQuery(), q.drop_back()));
  return success();
}

INFER(AttentionGradOp) {
  ADAPT(AttentionGradOp);
  if (failed(checkAttention(loc, op)))
    return failure();
  auto q = shapeOf(op.getQuery()), v = shapeOf(op.getValue());
  Type out = withShape(op.getQuery(), {q[0], q[1], q[2], v[3]});
  if (op.getOutput().getType() != out || op.getCotangent().getType() != out ||
      op.getLse().getType() != wideWithShape(op.getQuery(), q.drop_back()))
    return emitOptionalError(loc, "output and cotangent must be ", out, " and lse ",
                             wideWithShape(op.getQuery(), q.drop_back()));
  types.append({op.getQuery().getType(), op.getKey().getType(), op.getValue().getType()});
  return success();
}

INFER(CrossEntropyOp) {
  ADAPT(CrossEntropyOp);
  auto logits = shapeOf(op.getLogits()), labels = shapeOf(op.getLabels());
  if (logits.size() != 2 || labels != logits.drop_back())
    return emitOptionalError(loc, "logits ", op.getLogits().getType(), " and labels ",
                             op.getLabels().getType(), " must have shapes [N, V] and [N]");
  types.append(2, wideWithShape(op.getLogits(), labels));
  return success();
}
LogicalResult CrossEntropyGradOp::verify() {
  auto logits = shapeOf(getLogits());
  if (logits.size() != 2 || shapeOf(getLabels()) != logits.drop_back() ||
      shapeOf(getLse()) != logits.drop_back() || shapeOf(getCotangent()) != logits.drop_back())
    return emitOpError("logits must have shape [N, V] and labels, lse and cotangent [N]");
  return success();
}
