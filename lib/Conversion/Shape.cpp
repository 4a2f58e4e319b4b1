//===- Shape.cpp - What follows from shapes, and reshaping ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Node.h"
#include "moire/Support/Recipes.h"

using namespace mlir;
using namespace moire;
using namespace moire::conversion;

/// Shape-15 has start and end, clamped to the rank.
static LogicalResult convertShape(Node &n) {
  Dims shape = n.shape(0);
  auto clamp = [&](int64_t v) {
    return std::clamp<int64_t>(v < 0 ? v + n.rank(0) : v, 0, n.rank(0));
  };
  int64_t start = clamp(n.getInt("start", 0)), end = clamp(n.getInt("end", n.rank(0)));
  return n.give(n.e.ints(shape.slice(start, std::max<int64_t>(end - start, 0))));
}

static LogicalResult convertSize(Node &n) {
  return n.give(n.e.ints({product(n.shape(0))}, {}));
}

static LogicalResult convertReshape(Node &n) {
  auto shape = n.constInts(1, "the shape");
  if (failed(shape))
    return failure();
  bool zeros = n.getInt("allowzero", 0);
  DimVector out(*shape);
  int64_t open = -1, known = 1;
  for (auto [i, d] : llvm::enumerate(out)) {
    if (d == 0 && !zeros) {
      if ((int64_t)i >= n.rank(0))
        return n.fail("shape " + str(*shape) + " copies dim " + Twine(i) +
                      " of an input of rank " + Twine(n.rank(0)));
      d = n.shape(0)[i];
    }
    if (d == -1 && open >= 0)
      return n.fail("shape " + str(*shape) + " leaves more than one dim open");
    if (d < -1)
      return n.fail("shape " + str(*shape) + " has a negative dim");
    if (d == -1)
      open = i;
    else
      known *= d;
  }
  int64_t total = product(n.shape(0));
  if (open >= 0) {
    if (known == 0 || total % known)
      return n.fail("shape " + str(*shape) + " does not divide the " + Twine(total) +
                    " elements of " + str(n.shape(0)));
    out[open] = total / known;
  }
  if (product(out) != total)
    return n.fail("shape " + str(*shape) + " does not hold the " + Twine(total) +
                  " elements of " + str(n.shape(0)));
  return n.give(n.e.reshape(n.in(0), out));
}

static LogicalResult convertFlatten(Node &n) {
  int64_t axis = n.getInt("axis", 1), rank = n.rank(0);
  axis += axis < 0 ? rank : 0;
  if (axis < 0 || axis > rank)
    return n.fail("axis " + Twine(n.getInt("axis", 1)) + " must lie in " + Twine(-rank) + ".." +
                  Twine(rank));
  return n.give(n.e.flatten(n.in(0), axis));
}

static LogicalResult convertSqueeze(Node &n) {
  auto given = n.intsOf("axes", 1);
  if (failed(given))
    return failure();
  DimVector drop;
  if (*given) {
    auto axes = n.axes(**given, n.rank(0));
    if (failed(axes))
      return failure();
    drop = *axes;
    for (int64_t a : drop)
      if (n.shape(0)[a] != 1)
        return n.fail("dim " + Twine(a) + " of size " + Twine(n.shape(0)[a]) +
                      " cannot be removed; only dims of size 1 can");
  } else {
    for (auto [i, d] : llvm::enumerate(n.shape(0)))
      if (d == 1)
        drop.push_back(i);
  }
  DimVector out;
  for (auto [i, d] : llvm::enumerate(n.shape(0)))
    if (!llvm::is_contained(drop, (int64_t)i))
      out.push_back(d);
  return n.give(n.e.reshape(n.in(0), out));
}

static LogicalResult convertUnsqueeze(Node &n) {
  auto given = n.intsOf("axes", 1);
  if (failed(given))
    return failure();
  if (!*given)
    return n.fail("axes is missing");
  int64_t rank = n.rank(0) + (*given)->size();
  auto axes = n.axes(**given, rank);
  if (failed(axes))
    return failure();
  DimVector out;
  Dims rest = n.shape(0);
  for (int64_t i = 0; i < rank; ++i) {
    if (llvm::is_contained(*axes, i)) {
      out.push_back(1);
    } else {
      out.push_back(rest.front());
      rest = rest.drop_front();
    }
  }
  return n.give(n.e.reshape(n.in(0), out));
}

static LogicalResult convertTranspose(Node &n) {
  DimVector perm = upTo(n.rank(0));
  std::reverse(perm.begin(), perm.end());
  return n.give(n.e.transpose(n.in(0), n.getInts("perm").value_or(perm)));
}

static LogicalResult convertExpand(Node &n) {
  auto wanted = n.constInts(1, "the shape");
  if (failed(wanted))
    return failure();
  auto shape = broadcastShape(n.shape(0), *wanted);
  if (!shape)
    return n.fail("shape " + str(n.shape(0)) + " cannot be broadcast to " + str(*wanted));
  return n.give(n.e.broadcastTo(n.in(0), *shape));
}

static LogicalResult convertConstantOfShape(Node &n) {
  auto shape = n.constInts(0, "the shape");
  if (failed(shape))
    return failure();
  if (llvm::any_of(*shape, [](int64_t d) { return d < 0; }))
    return n.fail("shape " + str(*shape) + " has a negative dim");
  auto value = n.op.getAttribute<DenseElementsAttr>("value");
  Type element = n.e.f32();
  double fill = 0;
  if (value) {
    element = value.getElementType();
    if (isa<FloatType>(element))
      fill = (*value.getValues<APFloat>().begin()).convertToDouble();
    else if (isa<IntegerType>(element))
      fill = element.isInteger(1) || element.isUnsignedInteger()
                 ? (int64_t)(*value.getValues<APInt>().begin()).getZExtValue()
                 : (*value.getValues<APInt>().begin()).getSExtValue();
    else
      return n.fail("the value's element type has no arithmetic here");
  }
  if (isa<IntegerType>(element) && !element.isInteger(1))
    element = n.e.i64();
  if (element.isF16() || element.isBF16())
    element = n.e.f32();
  return n.give(n.e.splat(*shape, element, fill));
}

static LogicalResult convertRange(Node &n) {
  std::optional<double> v[3];
  for (int i = 0; i < 3; ++i)
    if (!(v[i] = n.number(i)))
      return n.fail(Twine(i == 0   ? "start"
                          : i == 1 ? "limit"
                                   : "delta") +
                    " is computed from data, but only what follows from the shapes can be "
                    "compiled" +
                    recipe("shapes-from-data"));
  if (*v[2] == 0)
    return n.fail("delta must not be 0");
  int64_t size = std::max(0.0, std::ceil((*v[1] - *v[0]) / *v[2]));
  Type element = elementOf(n.in(0));
  Value i = n.e.iota({size}, 0, element);
  return n.give(n.e.shift(n.e.scale(i, *v[2]), *v[0]));
}

static LogicalResult convertEyeLike(Node &n) {
  if (n.rank(0) != 2)
    return n.fail("the input must have rank 2, not " + Twine(n.rank(0)));
  Emitter &e = n.e;
  Dims shape = n.shape(0);
  Value row = e.shift(e.iota(shape, 0, e.i64()), n.getInt("k", 0)), column = e.iota(shape, 1, e.i64());
  Value eye = e.compare(arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq, row, column);
  Type element = elementOf(n.in(0));
  if (int64_t to = n.getInt("dtype", 0))
    element = to == 11 ? Type(e.builder.getF64Type())
              : to == 1 || to == 10 || to == 16 ? e.f32() : to == 9 ? e.i1() : e.i64();
  return n.give(e.cast(eye, element));
}

/// blocksize^2 channels become a block of pixels (DCR or CRD order).
static LogicalResult convertDepthToSpace(Node &n) {
  if (n.rank(0) != 4)
    return n.fail("the input must have rank 4, not " + Twine(n.rank(0)));
  Dims s = n.shape(0);
  int64_t b = n.getInt("blocksize", 1);
  if (b < 1 || s[1] % (b * b))
    return n.fail("blocksize " + Twine(b) + " does not divide the " + Twine(s[1]) + " channels");
  int64_t c = s[1] / (b * b);
  bool crd = n.getString("mode", "DCR") == "CRD";
  Emitter &e = n.e;
  Value v = crd ? e.transpose(e.reshape(n.in(0), {s[0], c, b, b, s[2], s[3]}), {0, 1, 4, 2, 5, 3})
                : e.transpose(e.reshape(n.in(0), {s[0], b, b, c, s[2], s[3]}), {0, 3, 4, 1, 5, 2});
  return n.give(e.reshape(v, {s[0], c, s[2] * b, s[3] * b}));
}
static LogicalResult convertSpaceToDepth(Node &n) {
  if (n.rank(0) != 4)
    return n.fail("the input must have rank 4, not " + Twine(n.rank(0)));
  Dims s = n.shape(0);
  int64_t b = n.getInt("blocksize", 1);
  if (b < 1 || s[2] % b || s[3] % b)
    return n.fail("blocksize " + Twine(b) + " does not divide the image of " + str(s));
  Emitter &e = n.e;
  Value v = e.reshape(n.in(0), {s[0], s[1], s[2] / b, b, s[3] / b, b});
  return n.give(e.reshape(e.transpose(v, {0, 3, 5, 1, 2, 4}), {s[0], s[1] * b * b, s[2] / b, s[3] / b}));
}

void conversion::addShape(HandlerTable &t) {
  t.add("Shape", 1, convertShape);
  t.add("Size", 1, convertSize);
  t.add("Reshape", 1, convertReshape);
  t.add("Flatten", 1, convertFlatten);
  t.add("Squeeze", 1, convertSqueeze);
  t.add("Unsqueeze", 1, convertUnsqueeze);
  t.add("Transpose", 1, convertTranspose);
  t.add("Expand", 2, convertExpand);
  t.add("ConstantOfShape", 1, convertConstantOfShape);
  t.add("Range", 3, convertRange);
  t.add("EyeLike", 1, convertEyeLike);
  t.add("DepthToSpace", 1, convertDepthToSpace);
  t.add("SpaceToDepth", 1, convertSpaceToDepth);
}
