//===- Loss.cpp - SoftmaxCrossEntropyLoss and NegativeLogLikelihoodLoss --===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Node.h"

using namespace mlir;
using namespace moire;
using namespace moire::conversion;

/// Scores [N, C, d...] as rows [N * d..., C].
static Value rowsOf(Emitter &e, Value scores) {
  Value last = e.moveToLast(scores, 1);
  return last ? e.reshape(last, {product(shapeOf(last).drop_back()), shapeOf(last).back()}) : last;
}

static LogicalResult convertLoss(Node &n, bool fromScores) {
  Emitter &e = n.e;
  Dims scores = n.shape(0);
  DimVector labelShape;
  if (scores.size() >= 2) {
    labelShape.push_back(scores[0]);
    llvm::append_range(labelShape, scores.drop_front(2));
  }
  if (scores.size() < 2 || n.shape(1) != Dims(labelShape))
    return n.fail("scores of shape " + str(scores) + " and labels of shape " + str(n.shape(1)) +
                  " must be [N, C, d...] and [N, d...]");
  StringRef reduction = n.getString("reduction", "mean");
  if (reduction != "none" && reduction != "sum" && reduction != "mean")
    return n.fail("reduction \"" + reduction + "\" must be none, sum or mean");
  bool ignores = n.hasAttr("ignore_index");
  int64_t ignored = n.getInt("ignore_index", -100), count = product(labelShape);
  Value rows = rowsOf(e, n.in(0)), labels = e.reshape(e.cast(n.in(1), e.i64()), {count});
  if (!rows || !labels)
    return failure();
  Value counts; // bool [rows]: which labels count; null for all
  Value known = labels;
  if (ignores) {
    counts = e.compare(arith::CmpFPredicate::UNE, arith::CmpIPredicate::ne, labels,
                       e.like(labels, ignored));
    known = e.select(counts, labels, e.like(labels, 0));
  }
  Value losses;
  if (fromScores) {
    losses = e.inferAll<nn::CrossEntropyOp>(2, rows, labels, e.builder.getI64IntegerAttr(ignored))[0];
    if (n.wants(1))
      n.set(1, e.logSoftmax(n.in(0), 1));
  } else {
    losses = e.infer<nn::GatherElementsOp>(rows, e.reshape(known, {count, 1}),
                                           e.builder.getI64IntegerAttr(1));
    losses = e.negate(e.reshape(losses, {count}));
    if (counts)
      losses = e.select(counts, losses, e.like(losses, 0));
  }
  Type element = elementOf(n.in(0));
  Value weights;
  if (n.has(2)) {
    weights = e.infer<nn::GatherOp>(n.in(2), known);
    if (weights && counts)
      weights = e.select(counts, weights, e.like(weights, 0));
    losses = e.mul(losses, weights);
  }
  if (reduction == "none")
    return n.give(e.reshape(losses, labelShape));
  Value sum = e.reduce(nn::ReduceKind::sum, losses, {0});
  if (reduction == "sum")
    return n.give(sum);
  // Mean over what counts; nothing that counts gives 0/0, as PyTorch does.
  Value total = weights ? weights : counts ? e.cast(counts, element) : Value();
  if (!total)
    return n.give(e.scale(sum, 1.0 / count));
  return n.give(e.div(sum, e.reduce(nn::ReduceKind::sum, total, {0})));
}

static LogicalResult convertCrossEntropy(Node &n) { return convertLoss(n, true); }
static LogicalResult convertLogLikelihood(Node &n) { return convertLoss(n, false); }

void conversion::addLoss(HandlerTable &t) {
  t.add("SoftmaxCrossEntropyLoss", 2, convertCrossEntropy);
  t.add("NegativeLogLikelihoodLoss", 2, convertLogLikelihood);
}
