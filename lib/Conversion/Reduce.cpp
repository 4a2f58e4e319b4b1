//===- Reduce.cpp - Reductions, ArgMax, global pooling -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Node.h"

using namespace mlir;
using namespace moire;
using namespace moire::conversion;
using nn::ReduceKind;

/// The dims to reduce: attribute `axes` or, from opset 13 (ReduceSum) or 18 on,
/// input 1; all where none is given, unless noop_with_empty_axes.
static FailureOr<DimVector> reducedAxes(Node &n) {
  auto given = n.intsOf("axes", 1);
  if (failed(given))
    return failure();
  if (*given && !(*given)->empty())
    return n.axes(**given, n.rank(0));
  return n.getInt("noop_with_empty_axes", 0) ? DimVector() : upTo(n.rank(0));
}

template <Value (*build)(Emitter &, Value, Dims)>
static LogicalResult convertReduce(Node &n) {
  auto axes = reducedAxes(n);
  if (failed(axes))
    return failure();
  Value v = build(n.e, n.in(0), *axes);
  if (!v || !n.getInt("keepdims", 1))
    return n.give(v);
  DimVector kept(n.shape(0));
  for (int64_t a : *axes)
    kept[a] = 1;
  return n.give(n.e.reshape(v, kept));
}

/// Also on bools, where max is "or".
template <ReduceKind kind>
static Value plain(Emitter &e, Value x, Dims axes) {
  if (!isBool(x))
    return e.reduce(kind, x, axes);
  Value v = e.reduce(kind, e.cast(x, e.i64()), axes);
  // Nothing reduced is the least or the largest integer.
  return v ? e.compare(arith::CmpFPredicate::OGT, arith::CmpIPredicate::sgt, v, e.like(v, 0)) : v;
}
static Value sum(Emitter &e, Value x, Dims axes) { return e.reduce(ReduceKind::sum, x, axes); }
static Value mean(Emitter &e, Value x, Dims axes) { return e.mean(x, axes); }
static Value absolute(Emitter &e, Value x) {
  return isFloat(x) ? e.create<math::AbsFOp>(x) : e.create<math::AbsIOp>(x);
}
static Value l1(Emitter &e, Value x, Dims axes) { return sum(e, absolute(e, x), axes); }
static Value sumSquare(Emitter &e, Value x, Dims axes) { return sum(e, e.mul(x, x), axes); }
static Value l2(Emitter &e, Value x, Dims axes) {
  Value squares = sumSquare(e, x, axes);
  if (isFloat(x))
    return e.unary<math::SqrtOp>(squares);
  return e.cast(e.unary<math::SqrtOp>(e.cast(squares, e.builder.getF64Type())), elementOf(x));
}
static Value logSum(Emitter &e, Value x, Dims axes) {
  return e.unary<math::LogOp>(sum(e, x, axes));
}
/// log(sum(exp(x - max))) + max; a maximum of -inf or inf is not subtracted.
static Value logSumExp(Emitter &e, Value x, Dims axes) {
  Value max = e.reduce(ReduceKind::max, x, axes, /*keep=*/true);
  Value size = e.unary<math::AbsFOp>(max);
  Value infinite = e.compare(arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq, size,
                             e.like(max, std::numeric_limits<double>::infinity()));
  Value safe = e.select(infinite, e.like(max, 0), max);
  Value total = sum(e, e.unary<math::ExpOp>(e.sub(x, safe)), axes);
  return e.add(e.unary<math::LogOp>(total), e.reshape(safe, shapeOf(total)));
}

/// The first (or last) position of the extreme along an axis.
template <bool isMin>
static LogicalResult convertArg(Node &n) {
  Emitter &e = n.e;
  auto axis = n.axisAttr("axis", 0);
  if (failed(axis))
    return failure();
  int64_t size = n.shape(0)[*axis];
  if (size == 0)
    return n.fail("axis " + Twine(*axis) + " is empty");
  bool last = n.getInt("select_last_index", 0);
  Value x = e.moveToLast(n.in(0), *axis);
  if (last)
    x = e.infer<nn::ReverseOp>(x, Dims{rankOf(x) - 1});
  Value index = e.inferAll<nn::TopKOp>(2, x, e.builder.getI64IntegerAttr(1),
                                       isMin ? e.builder.getUnitAttr() : UnitAttr())[1];
  if (last)
    index = e.sub(e.like(index, size - 1), index);
  index = e.moveFromLast(index, *axis);
  if (n.getInt("keepdims", 1))
    return n.give(index);
  DimVector out(n.shape(0));
  out.erase(out.begin() + *axis);
  return n.give(e.reshape(index, out));
}

template <ReduceKind kind>
static LogicalResult convertGlobalPool(Node &n) {
  if (n.rank(0) < 3)
    return n.fail("the input must have rank 3 or more, not " + Twine(n.rank(0)));
  DimVector dims = upTo(n.rank(0));
  Dims spatial = Dims(dims).drop_front(2);
  return n.give(kind == ReduceKind::max ? n.e.reduce(kind, n.in(0), spatial, true)
                                        : n.e.mean(n.in(0), spatial, true));
}

void conversion::addReduce(HandlerTable &t) {
  t.add("ReduceSum", 1, convertReduce<sum>);
  t.add("ReduceMean", 1, convertReduce<mean>);
  t.add("ReduceMax", 1, convertReduce<plain<ReduceKind::max>>);
  t.add("ReduceMin", 1, convertReduce<plain<ReduceKind::min>>);
  t.add("ReduceProd", 1, convertReduce<plain<ReduceKind::prod>>);
  t.add("ReduceL1", 1, convertReduce<l1>);
  t.add("ReduceL2", 1, convertReduce<l2>);
  t.add("ReduceSumSquare", 1, convertReduce<sumSquare>);
  t.add("ReduceLogSum", 1, convertReduce<logSum>);
  t.add("ReduceLogSumExp", 1, convertReduce<logSumExp>);
  t.add("ArgMax", 1, convertArg<false>);
  t.add("ArgMin", 1, convertArg<true>);
  t.add("GlobalAveragePool", 1, convertGlobalPool<ReduceKind::sum>);
  t.add("GlobalMaxPool", 1, convertGlobalPool<ReduceKind::max>);
}
