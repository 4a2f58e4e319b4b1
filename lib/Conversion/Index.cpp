//===- Index.cpp - Gathers, scatters, order and one-hot ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Node.h"
#include "dialects/pipe/Pipe.h"
#include "moire/Support/Recipes.h"

using namespace mlir;
using namespace moire;
using namespace moire::conversion;
using FPred = arith::CmpFPredicate;
using IPred = arith::CmpIPredicate;

//===----------------------------------------------------------------------===//
// Indices
//===----------------------------------------------------------------------===//

/// What layout ops make of one value, looked through.
static Value source(Value v) {
  while (Operation *op = v.getDefiningOp()) {
    if (!isa<nn::ReshapeOp, nn::TransposeOp, nn::BroadcastOp, nn::SliceOp>(op))
      break;
    v = op->getOperand(0);
  }
  return v;
}

/// Indices into a dim of `size`, negative ones counted from the end. An input
/// of the model that looks up a weight (token ids, positions) is not wrapped:
/// there a negative index is the data's mistake and the runtime reports it.
static Value wrapped(Node &n, Value indices, Value table, int64_t size) {
  Emitter &e = n.e;
  indices = e.cast(indices, e.i64());
  if (!indices || isNonNegative(indices))
    return indices;
  if (auto values = intsOf(indices)) {
    for (int64_t v : *values)
      if (v < -size || v >= size) {
        (void)n.fail("index " + Twine(v) + " must lie in " + Twine(-size) + ".." + Twine(size - 1));
        return {};
      }
  }
  Operation *weight = source(table).getDefiningOp();
  if (isa<BlockArgument>(source(indices)) &&
      isa_and_present<pipe::ReadOp, arith::ConstantOp>(weight))
    return indices;
  Value negative = e.compare(FPred::OLT, IPred::slt, indices, e.like(indices, 0));
  return e.select(negative, e.shift(indices, size), indices);
}

/// start, start + step, ... of constant indices in row-major order.
struct Progression {
  int64_t start, step;
};
static std::optional<Progression> progressionOf(Value indices) {
  auto v = intsOf(indices);
  if (!v || v->empty())
    return std::nullopt;
  Progression p{v->front(), v->size() > 1 ? (*v)[1] - (*v)[0] : 1};
  for (size_t i = 1; i < v->size(); ++i)
    if ((*v)[i] - (*v)[i - 1] != p.step)
      return std::nullopt;
  if (p.step < 1)
    return std::nullopt;
  return p;
}

/// table[..., indices, ...] along `axis`: the axis becomes the indices' dims.
/// Known equidistant indices are a slice.
static Value gather(Node &n, Value table, Value indices, int64_t axis) {
  Emitter &e = n.e;
  int64_t size = shapeOf(table)[axis], rank = rankOf(table);
  indices = wrapped(n, indices, table, size);
  if (!indices)
    return {};
  DimVector out(shapeOf(table).take_front(axis));
  llvm::append_range(out, shapeOf(indices));
  llvm::append_range(out, shapeOf(table).drop_front(axis + 1));
  if (auto p = progressionOf(indices)) {
    int64_t last = p->start + p->step * (typeOf(indices).getNumElements() - 1);
    if (last >= size) {
      (void)n.fail("index " + Twine(last) + " must be below " + Twine(size));
      return {};
    }
    return e.reshape(e.sliceDim(table, axis, p->start, last + 1, p->step), out);
  }
  DimVector toFront{axis}, back;
  for (int64_t i = 0; i < rank; ++i)
    if (i != axis)
      toFront.push_back(i);
  // [indices..., before..., after...] -> [before..., indices..., after...]
  int64_t inner = rankOf(indices);
  for (int64_t i = 0; i < axis; ++i)
    back.push_back(inner + i);
  for (int64_t i = 0; i < inner; ++i)
    back.push_back(i);
  for (int64_t i = axis + 1; i < rank; ++i)
    back.push_back(inner + i - 1);
  return e.transpose(e.infer<nn::GatherOp>(e.transpose(table, toFront), indices), back);
}

/// Row numbers in [batch..., d_1..d_r] flattened, from indices [..., r].
static Value linearIndices(Node &n, Value indices, Value data, int64_t batchDims) {
  Emitter &e = n.e;
  Dims idx = shapeOf(indices), shape = shapeOf(data);
  int64_t r = idx.back(), count = product(idx.drop_back());
  Dims indexed = shape.slice(batchDims, r);
  Value flat = e.reshape(indices, {count, r}), linear;
  for (int64_t i = 0; i < r; ++i) {
    Value part = e.reshape(e.sliceDim(flat, 1, i, i + 1), {count});
    part = wrapped(n, part, data, indexed[i]);
    part = e.scale(part, product(indexed.drop_front(i + 1)));
    linear = linear ? e.add(linear, part) : part;
  }
  if (batchDims) {
    int64_t batch = product(shape.take_front(batchDims));
    Value number = e.reshape(e.iota({batch, batch ? count / batch : 0}, 0, e.i64()), {count});
    linear = e.add(linear, e.scale(number, product(indexed)));
  }
  return e.reshape(linear, idx.drop_back());
}

//===----------------------------------------------------------------------===//
// Gathers and scatters
//===----------------------------------------------------------------------===//

static LogicalResult convertGather(Node &n) {
  auto axis = n.axisAttr("axis", 0);
  return failed(axis) ? failure() : n.give(gather(n, n.in(0), n.in(1), *axis));
}

static LogicalResult convertGatherND(Node &n) {
  Emitter &e = n.e;
  Value data = n.in(0), indices = n.in(1);
  int64_t batchDims = n.getInt("batch_dims", 0);
  Dims idx = n.shape(1), shape = n.shape(0);
  if (idx.empty() || batchDims < 0 || batchDims >= (int64_t)idx.size() || idx.back() < 1 ||
      batchDims + idx.back() > (int64_t)shape.size() ||
      idx.take_front(batchDims) != shape.take_front(batchDims))
    return n.fail("indices of shape " + str(idx) + " and batch_dims " + Twine(batchDims) +
                  " do not fit data of shape " + str(shape));
  int64_t r = idx.back();
  Value linear = linearIndices(n, indices, data, batchDims);
  Dims rest = shape.drop_front(batchDims + r);
  DimVector table{product(shape.drop_back(rest.size()))};
  llvm::append_range(table, rest);
  return n.give(linear ? gather(n, e.reshape(data, table), linear, 0) : linear);
}

static FailureOr<nn::ScatterKind> scatterKind(Node &n) {
  StringRef reduction = n.getString("reduction", "none");
  if (reduction == "none")
    return nn::ScatterKind::set;
  if (reduction == "add")
    return nn::ScatterKind::add;
  return n.fail("reduction \"" + reduction + "\" is not supported; use \"none\" or \"add\"");
}

static LogicalResult convertScatterND(Node &n) {
  Emitter &e = n.e;
  auto kind = scatterKind(n);
  if (failed(kind))
    return failure();
  Dims idx = n.shape(1), shape = n.shape(0);
  if (idx.empty() || idx.back() < 1 || idx.back() > (int64_t)shape.size())
    return n.fail("indices of shape " + str(idx) + " do not fit data of shape " + str(shape));
  Value linear = linearIndices(n, n.in(1), n.in(0), 0);
  if (!linear)
    return failure();
  Dims rest = shape.drop_front(idx.back());
  DimVector table{product(shape.take_front(idx.back()))}, rows(idx.drop_back());
  llvm::append_range(table, rest);
  llvm::append_range(rows, rest);
  Value result = e.infer<nn::ScatterOp>(e.reshape(n.in(0), table), linear,
                                        e.reshape(n.in(2), rows), *kind);
  return n.give(e.reshape(result, shape));
}

static LogicalResult convertGatherElements(Node &n) {
  auto axis = n.axisAttr("axis", 0);
  if (failed(axis))
    return failure();
  Value indices = wrapped(n, n.in(1), n.in(0), n.shape(0)[*axis]);
  return n.give(
      n.e.infer<nn::GatherElementsOp>(n.in(0), indices, n.e.builder.getI64IntegerAttr(*axis)));
}

static LogicalResult convertScatterElements(Node &n) {
  auto axis = n.axisAttr("axis", 0);
  auto kind = scatterKind(n);
  if (failed(axis) || failed(kind))
    return failure();
  Value indices = wrapped(n, n.in(1), n.in(0), n.shape(0)[*axis]);
  return n.give(n.e.infer<nn::ScatterElementsOp>(n.in(0), indices, n.in(2), *axis, *kind));
}

//===----------------------------------------------------------------------===//
// Order, counting, masks
//===----------------------------------------------------------------------===//

static LogicalResult convertTopK(Node &n) {
  auto axis = n.axisAttr("axis", -1);
  if (failed(axis))
    return failure();
  auto k = n.hasAttr("k") ? FailureOr<int64_t>(n.getInt("k", 1)) : n.constInt(1, "k");
  if (failed(k))
    return failure();
  if (*k < 1 || *k > n.shape(0)[*axis])
    return n.fail("k = " + Twine(*k) + " must lie in 1.." + Twine(n.shape(0)[*axis]) +
                  ", the size of axis " + Twine(*axis));
  auto both = n.e.inferAll<nn::TopKOp>(2, n.e.moveToLast(n.in(0), *axis),
                                       n.e.builder.getI64IntegerAttr(*k),
                                       n.getInt("largest", 1) ? UnitAttr() : n.e.builder.getUnitAttr());
  n.set(0, n.e.moveFromLast(both[0], *axis));
  n.set(1, n.e.moveFromLast(both[1], *axis));
  return success((bool)both[0]);
}

/// The number of results' columns depends on the values, so they must be known.
static LogicalResult convertNonZero(Node &n) {
  auto values = constantOf(n.in(0));
  if (!values)
    return n.fail("how many elements are not zero depends on the data, so that the result has no "
                  "shape at compile time" +
                  recipe("shapes-from-data"));
  SmallVector<DimVector> columns;
  DimVector index(n.rank(0), 0);
  auto visit = [&](bool nonZero) {
    if (nonZero)
      columns.push_back(index);
    for (int64_t d = n.rank(0) - 1; d >= 0 && ++index[d] == n.shape(0)[d]; --d)
      index[d] = 0;
  };
  if (isFloat(n.in(0)))
    for (const APFloat &v : values.getValues<APFloat>())
      visit(!v.isZero());
  else
    for (const APInt &v : values.getValues<APInt>())
      visit(!v.isZero());
  DimVector flat;
  for (int64_t d = 0; d < n.rank(0); ++d)
    for (const DimVector &c : columns)
      flat.push_back(c[d]);
  return n.give(n.e.ints(flat, {n.rank(0), (int64_t)columns.size()}));
}

static LogicalResult convertOneHot(Node &n) {
  Emitter &e = n.e;
  auto depth = n.number(1);
  if (!depth)
    return n.fail("the depth is computed from data, but only what follows from the shapes can be "
                  "compiled" +
                  recipe("shapes-from-data"));
  if (*depth < 0)
    return n.fail("the depth must not be negative");
  auto axis = n.axis(n.getInt("axis", -1), n.rank(0) + 1);
  if (failed(axis))
    return failure();
  if (n.rank(2) != 1 || n.shape(2)[0] != 2)
    return n.fail("values of shape " + str(n.shape(2)) + " must be [off, on]");
  DimVector open(n.shape(0)), full;
  open.insert(open.begin() + *axis, 1);
  full = open;
  full[*axis] = *depth;
  Value indices = e.cast(n.in(0), e.i64());
  if (!isNonNegative(indices))
    indices = e.select(e.compare(FPred::OLT, IPred::slt, indices, e.like(indices, 0)),
                       e.shift(indices, *depth), indices);
  Value hot = e.compare(FPred::OEQ, IPred::eq, e.broadcastTo(e.reshape(indices, open), full),
                        e.iota(full, *axis, e.i64()));
  Value off = e.reshape(e.sliceDim(n.in(2), 0, 0, 1), {});
  Value on = e.reshape(e.sliceDim(n.in(2), 0, 1, 2), {});
  return n.give(e.select(hot, on, off));
}

static LogicalResult convertTrilu(Node &n) {
  Emitter &e = n.e;
  if (n.rank(0) < 2)
    return n.fail("the input must have rank 2 or more, not " + Twine(n.rank(0)));
  auto k = n.has(1) ? n.constInt(1, "k") : FailureOr<int64_t>(0);
  if (failed(k))
    return failure();
  Dims matrix = n.shape(0).take_back(2);
  Value row = e.iota(matrix, 0, e.i64()), column = e.iota(matrix, 1, e.i64());
  Value diagonal = e.shift(row, *k);
  Value keep = n.getInt("upper", 1) ? e.compare(FPred::OGE, IPred::sge, column, diagonal)
                                    : e.compare(FPred::OLE, IPred::sle, column, diagonal);
  return n.give(e.select(keep, n.in(0), e.like(n.in(0), 0)));
}

static LogicalResult convertCumSum(Node &n) {
  auto given = n.constInt(1, "the axis");
  if (failed(given))
    return failure();
  auto axis = n.axis(*given, n.rank(0));
  if (failed(axis))
    return failure();
  auto flag = [&](StringRef name) {
    return n.getInt(name, 0) ? n.e.builder.getUnitAttr() : UnitAttr();
  };
  return n.give(n.e.infer<nn::CumsumOp>(n.in(0), n.e.builder.getI64IntegerAttr(*axis),
                                        flag("exclusive"), flag("reverse")));
}

void conversion::addIndex(HandlerTable &t) {
  t.add("Gather", 2, convertGather);
  t.add("GatherND", 2, convertGatherND);
  t.add("GatherElements", 2, convertGatherElements);
  t.add("ScatterND", 3, convertScatterND);
  t.add("ScatterElements", 3, convertScatterElements);
  t.add("Scatter", 3, convertScatterElements);
  t.add("TopK", 1, convertTopK);
  t.add("NonZero", 1, convertNonZero);
  t.add("OneHot", 3, convertOneHot);
  t.add("Trilu", 1, convertTrilu);
  t.add("CumSum", 2, convertCumSum);
}
