//===- NNShapes.cpp - Result types and verifiers of the nn ops -----------===//
//
// An op's result type is computed here once; the same computation is the
// verifier's shape check, because a different written type is an error.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"
#include "dialects/nn/NNTypes.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace moire::nn;

using Types = SmallVectorImpl<Type>;
using Loc = std::optional<Location>;

static Type elementOf(Value v) { return typeOf(v).getElementType(); }
static RankedTensorType withShape(Value v, ArrayRef<int64_t> shape) {
  return RankedTensorType::get(shape, elementOf(v));
}
/// The same with elements in which sums and statistics are.
static RankedTensorType wideWithShape(Value v, ArrayRef<int64_t> shape) {
  return RankedTensorType::get(shape, wideElement(elementOf(v)));
}
static std::string str(ArrayRef<int64_t> dims) {
  std::string s;
  llvm::raw_string_ostream os(s);
  os << "[";
  llvm::interleaveComma(dims, os);
  os << "]";
  return s;
}

/// Dims must be strictly increasing and inside 0..rank-1.
static LogicalResult checkDims(Loc loc, ArrayRef<int64_t> dims, int64_t rank, StringRef what) {
  int64_t last = -1;
  for (int64_t d : dims) {
    if (d <= last || d >= rank)
      return emitOptionalError(loc, what, " ", str(dims),
                               " must be strictly increasing and lie in 0..", rank - 1);
    last = d;
  }
  return success();
}

#define INFER(OP)                                                                        \
  LogicalResult OP::inferReturnTypes(MLIRContext *ctx, std::optional<Location> loc,      \
                                     ValueRange operands, DictionaryAttr attributes,     \
                                     OpaqueProperties properties, RegionRange regions,   \
                                     Types &types)
// The adaptor gives the operands and attributes by name.
#define ADAPT(OP) OP::Adaptor op(operands, attributes, properties, regions); (void)ctx

//===----------------------------------------------------------------------===//
// Data movement
//===----------------------------------------------------------------------===//

LogicalResult ReshapeOp::verify() {
  auto in = getInput().getType(), out = getType();
  if (in.getElementType() != out.getElementType())
    return emitOpError("element type ") << out.getElementType() << " must be the input's "
                                        << in.getElementType();
  if (in.getNumElements() != out.getNumElements())
    return emitOpError("result has ") << out.getNumElements() << " elements but the input has "
                                      << in.getNumElements();
  return success();
}

INFER(TransposeOp) {
  ADAPT(TransposeOp);
  auto shape = shapeOf(op.getInput());
  auto perm = op.getPermutation();
  SmallVector<bool> seen(shape.size(), false);
  SmallVector<int64_t> out;
  for (int64_t p : perm) {
    if (p < 0 || p >= (int64_t)shape.size() || seen[p])
      return emitOptionalError(loc, "permutation ", str(perm), " must hold each of 0..",
                               (int64_t)shape.size() - 1, " once");
    seen[p] = true;
    out.push_back(shape[p]);
  }
  if (perm.size() != shape.size())
    return emitOptionalError(loc, "permutation has ", perm.size(), " entries but the input has rank ",
                             shape.size());
  types.push_back(withShape(op.getInput(), out));
  return success();
}

LogicalResult BroadcastOp::verify() {
  auto in = getInput().getType(), out = getType();
  auto dims = getDimensions();
  if (in.getElementType() != out.getElementType())
    return emitOpError("element type ") << out.getElementType() << " must be the input's "
                                        << in.getElementType();
  if ((int64_t)dims.size() != in.getRank())
    return emitOpError("dimensions has ") << dims.size() << " entries but the input has rank "
                                          << in.getRank();
  if (failed(checkDims(getLoc(), dims, out.getRank(), "dimensions")))
    return failure();
  for (auto [i, d] : llvm::enumerate(dims))
    if (in.getDimSize(i) != out.getDimSize(d))
      return emitOpError("input dim ") << i << " of size " << in.getDimSize(i)
                                       << " does not match result dim " << d << " of size "
                                       << out.getDimSize(d);
  return success();
}

INFER(SliceOp) {
  ADAPT(SliceOp);
  auto shape = shapeOf(op.getInput());
  auto starts = op.getStarts(), limits = op.getLimits(), strides = op.getStrides();
  if (starts.size() != shape.size() || limits.size() != shape.size() ||
      strides.size() != shape.size())
    return emitOptionalError(loc, "starts, limits and strides must have ", shape.size(),
                             " entries each, one per dim");
  SmallVector<int64_t> out;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (starts[i] < 0 || limits[i] < starts[i] || limits[i] > shape[i] || strides[i] < 1)
      return emitOptionalError(loc, "window ", starts[i], "..", limits[i], " by ", strides[i],
                               " does not lie in dim ", i, " of size ", shape[i]);
    out.push_back((limits[i] - starts[i] + strides[i] - 1) / strides[i]);
  }
  types.push_back(withShape(op.getInput(), out));
  return success();
}

INFER(PadOp) {
  ADAPT(PadOp);
  auto shape = shapeOf(op.getInput());
  auto low = op.getLow(), high = op.getHigh(), interior = op.getInterior();
  if (low.size() != shape.size() || high.size() != shape.size() || interior.size() != shape.size())
    return emitOptionalError(loc, "low, high and interior must have ", shape.size(),
                             " entries each, one per dim");
  SmallVector<int64_t> out;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (low[i] < 0 || high[i] < 0 || interior[i] < 0)
      return emitOptionalError(loc, "padding of dim ", i, " must not be negative");
    out.push_back(low[i] + high[i] + shape[i] + std::max<int64_t>(0, shape[i] - 1) * interior[i]);
  }
  types.push_back(withShape(op.getInput(), out));
  return success();
}

INFER(ConcatOp) {
  ADAPT(ConcatOp);
  if (op.getInputs().empty())
    return emitOptionalError(loc, "needs at least one input");
  Value first = op.getInputs().front();
  SmallVector<int64_t> out(shapeOf(first));
  int64_t dim = op.getDim();
  if (dim < 0 || dim >= (int64_t)out.size())
    return emitOptionalError(loc, "dim ", dim, " must lie in 0..", (int64_t)out.size() - 1);
  for (Value v : op.getInputs().drop_front()) {
    auto shape = shapeOf(v);
    bool same = shape.size() == out.size() && elementOf(v) == elementOf(first);
    for (size_t i = 0; same && i < out.size(); ++i)
      same = (int64_t)i == dim || shape[i] == out[i];
    if (!same)
      return emitOptionalError(loc, "input ", v.getType(), " does not join ", first.getType(),
                               " along dim ", dim);
    out[dim] += shape[dim];
  }
  types.push_back(withShape(first, out));
  return success();
}

INFER(ReverseOp) {
  ADAPT(ReverseOp);
  if (failed(checkDims(loc, op.getDims(), shapeOf(op.getInput()).size(), "dims")))
    return failure();
  types.push_back(op.getInput().getType());
  return success();
}

LogicalResult IotaOp::verify() {
  int64_t rank = cast<RankedTensorType>(getType()).getRank();
  int64_t dim = getDim();
  if (dim < 0 || dim >= rank)
    return emitOpError("dim ") << dim << " must lie in 0.." << rank - 1;
  return success();
}

INFER(GatherOp) {
  ADAPT(GatherOp);
  auto table = shapeOf(op.getTable());
  if (table.empty())
    return emitOptionalError(loc, "table must have rank 1 or more");
  SmallVector<int64_t> out(shapeOf(op.getIndices()));
  llvm::append_range(out, table.drop_front());
  types.push_back(withShape(op.getTable(), out));
  return success();
}

INFER(ScatterOp) {
  ADAPT(ScatterOp);
  auto base = shapeOf(op.getBase());
  if (base.empty())
    return emitOptionalError(loc, "base must have rank 1 or more");
  SmallVector<int64_t> want(shapeOf(op.getIndices()));
  llvm::append_range(want, base.drop_front());
  if (op.getUpdates().getType() != withShape(op.getBase(), want))
    return emitOptionalError(loc, "updates of type ", op.getUpdates().getType(), " must be ",
                             withShape(op.getBase(), want));
  types.push_back(op.getBase().getType());
  return success();
}

INFER(GatherElementsOp) {
  ADAPT(GatherElementsOp);
  auto in = shapeOf(op.getInput()), idx = shapeOf(op.getIndices());
  int64_t axis = op.getAxis();
  if (in.size() != idx.size() || axis < 0 || axis >= (int64_t)in.size())
    return emitOptionalError(loc, "indices of rank ", idx.size(), " and axis ", axis,
                             " do not fit an input of rank ", in.size());
  for (size_t i = 0; i < in.size(); ++i)
    if ((int64_t)i != axis && idx[i] > in[i])
      return emitOptionalError(loc, "indices dim ", i, " of size ", idx[i],
                               " exceeds the input's size ", in[i]);
  types.push_back(withShape(op.getInput(), idx));
  return success();
}

INFER(ScatterElementsOp) {
  ADAPT(ScatterElementsOp);
  auto idx = shapeOf(op.getIndices());
  int64_t axis = op.getAxis(), rank = shapeOf(op.getBase()).size();
  if (op.getUpdates().getType() != withShape(op.getBase(), idx))
    return emitOptionalError(loc, "updates of type ", op.getUpdates().getType(), " must be ",
                             withShape(op.getBase(), idx));
  if ((int64_t)idx.size() != rank || axis < 0 || axis >= rank)
    return emitOptionalError(loc, "indices of rank ", idx.size(), " and axis ", axis,
                             " do not fit a base of rank ", rank);
  for (auto [i, size] : llvm::enumerate(idx))
    if ((int64_t)i != axis && size > shapeOf(op.getBase())[i])
      return emitOptionalError(loc, "indices dim ", i, " of size ", size,
                               " exceeds the base's size ", shapeOf(op.getBase())[i]);
  types.push_back(op.getBase().getType());
  return success();
}

//===----------------------------------------------------------------------===//
// Contractions, reductions, order
//===----------------------------------------------------------------------===//

INFER(MatmulOp) {
  ADAPT(MatmulOp);
  auto l = shapeOf(op.getLhs()), r = shapeOf(op.getRhs());
  if (l.size() < 2 || r.size() < 2)
    return emitOptionalError(loc, "both sides must have rank 2 or more");
  if (elementOf(op.getLhs()) != elementOf(op.getRhs()))
    return emitOptionalError(loc, "element types ", elementOf(op.getLhs()), " and ",
                             elementOf(op.getRhs()), " must be equal");
  bool linear = r.size() == 2;
  if (!linear && l.drop_back(2) != r.drop_back(2))
    return emitOptionalError(loc, "batch dims ", str(l.drop_back(2)), " and ",
                             str(r.drop_back(2)), " must be equal");
  if (linear && l.size() > 2 && op.getTransposeLhs())
    return emitOptionalError(loc, "transpose_lhs with a rank-2 rhs wants a rank-2 lhs, not rank ",
                             l.size());
  int64_t m = l[l.size() - 2], k = l.back(), k2 = r[r.size() - 2], n = r.back();
  if (op.getTransposeLhs())
    std::swap(m, k);
  if (op.getTransposeRhs())
    std::swap(k2, n);
  if (k != k2)
    return emitOptionalError(loc, "inner sizes ", k, " and ", k2, " must be equal");
  SmallVector<int64_t> out(l.drop_back(2));
  out.append({m, n});
  types.push_back(withShape(op.getLhs(), out));
  return success();
}

INFER(ReduceOp) {
  ADAPT(ReduceOp);
  auto shape = shapeOf(op.getInput());
  if (failed(checkDims(loc, op.getDims(), shape.size(), "dims")))
    return failure();
  SmallVector<int64_t> out;
  for (auto [i, d] : llvm::enumerate(shape))
    if (!llvm::is_contained(op.getDims(), (int64_t)i))
      out.push_back(d);
  types.push_back(withShape(op.getInput(), out));
  return success();
}

INFER(TopKOp) {
  ADAPT(TopKOp);
  SmallVector<int64_t> out(shapeOf(op.getInput()));
  int64_t k = op.getK();
  if (out.empty() || k < 1 || k > out.back())
    return emitOptionalError(loc, "k = ", k, " must lie in 1..", out.empty() ? 0 : out.back(),
                             ", the size of the last dim");
  out.back() = k;
  types.push_back(withShape(op.getInput(), out));
  types.push_back(RankedTensorType::get(out, IntegerType::get(ctx, 64)));
  return success();
}

INFER(CumsumOp) {
  ADAPT(CumsumOp);
  int64_t axis = op.getAxis(), rank = shapeOf(op.getInput()).size();
  if (axis < 0 || axis >= rank)
    return emitOptionalError(loc, "axis ", axis, " must lie in 0..", rank - 1);
  types.push_back(op.getInput().getType());
  return success();
}

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

#define INFER_SAME(OP, FIELD)                                                            \
  INFER(OP) {                                                                            \
    ADAPT(OP);                                                                           \
    types.push_back(op.FIELD().getType());                                               \
    return success();                                                                    \
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

//===----------------------------------------------------------------------===//
// Mixture of experts
//===----------------------------------------------------------------------===//

INFER(RouterOp) {
  ADAPT(RouterOp);
  auto logits = shapeOf(op.getLogits());
  int64_t k = op.getK();
  if (logits.size() != 2)
    return emitOptionalError(loc, "logits must have shape [tokens, experts], not ",
                             op.getLogits().getType());
  if (k < 1 || k > logits[1])
    return emitOptionalError(loc, "k = ", k, " must lie in 1..", logits[1],
                             ", the number of experts");
  if (op.getSelectionBias() && shapeOf(op.getSelectionBias()) != logits.drop_front())
    return emitOptionalError(loc, "bias must have shape [", logits[1], "]");
  types.push_back(withShape(op.getLogits(), {logits[0], k}));
  types.push_back(RankedTensorType::get({logits[0], k}, IntegerType::get(ctx, 64)));
  return success();
}

INFER(RouterGradOp) {
  ADAPT(RouterGradOp);
  auto logits = shapeOf(op.getLogits()), ids = shapeOf(op.getIds());
  if (logits.size() != 2 || ids.size() != 2 || ids[0] != logits[0] ||
      shapeOf(op.getCotangent()) != ids)
    return emitOptionalError(loc, "logits ", op.getLogits().getType(), ", ids ",
                             op.getIds().getType(), " and cotangent ",
                             op.getCotangent().getType(),
                             " must have shapes [T, E], [T, k] and [T, k]");
  types.push_back(op.getLogits().getType());
  return success();
}

LogicalResult RouteOp::verify() {
  auto r = getRouting().getType();
  int64_t want[] = {r.getTokens(), r.getK()};
  if (shapeOf(getIds()) != ArrayRef<int64_t>(want))
    return emitOpError("ids ") << getIds().getType() << " must have the routing's shape "
                               << str(want);
  return success();
}

static RoutingType routingOf(Value v) { return cast<RoutingType>(v.getType()); }

/// A tensor that must have `rows` (or tokens, or experts) as its first size.
static LogicalResult checkFirst(Loc loc, Value v, int64_t rank, int64_t first, StringRef what) {
  auto shape = shapeOf(v);
  if ((int64_t)shape.size() != rank || shape[0] != first)
    return emitOptionalError(loc, what, " ", v.getType(), " must have rank ", rank,
                             " and first size ", first);
  return success();
}

INFER(DispatchOp) {
  ADAPT(DispatchOp);
  auto r = routingOf(op.getRouting());
  if (failed(checkFirst(loc, op.getInput(), 2, r.getTokens(), "input")))
    return failure();
  types.push_back(withShape(op.getInput(), {r.getRows(), shapeOf(op.getInput())[1]}));
  return success();
}

static LogicalResult checkWeights(Loc loc, Value weights, RoutingType r) {
  int64_t want[] = {r.getTokens(), r.getK()};
  if (weights && shapeOf(weights) != ArrayRef<int64_t>(want))
    return emitOptionalError(loc, "weights ", weights.getType(), " must have shape ", str(want));
  return success();
}

INFER(CombineOp) {
  ADAPT(CombineOp);
  auto r = routingOf(op.getRouting());
  if (failed(checkFirst(loc, op.getRows(), 2, r.getRows(), "rows")) ||
      failed(checkWeights(loc, op.getWeights(), r)))
    return failure();
  types.push_back(withShape(op.getRows(), {r.getTokens(), shapeOf(op.getRows())[1]}));
  return success();
}

INFER(CombineGradOp) {
  ADAPT(CombineGradOp);
  auto r = routingOf(op.getRouting());
  if (failed(checkFirst(loc, op.getRows(), 2, r.getRows(), "rows")) ||
      failed(checkFirst(loc, op.getCotangent(), 2, r.getTokens(), "cotangent")) ||
      failed(checkWeights(loc, op.getWeights(), r)))
    return failure();
  types.append({op.getRows().getType(), op.getWeights().getType()});
  return success();
}

INFER(GroupedMatmulOp) {
  ADAPT(GroupedMatmulOp);
  auto r = routingOf(op.getRouting());
  if (failed(checkFirst(loc, op.getRows(), 2, r.getRows(), "rows")) ||
      failed(checkFirst(loc, op.getWeight(), 3, r.getExperts(), "weight")))
    return failure();
  if (elementOf(op.getRows()) != elementOf(op.getWeight()))
    return emitOptionalError(loc, "element types ", elementOf(op.getRows()), " and ",
                             elementOf(op.getWeight()), " must be equal");
  auto w = shapeOf(op.getWeight());
  int64_t k = w[1], n = w[2];
  if (op.getTransposeWeight())
    std::swap(k, n);
  if (shapeOf(op.getRows())[1] != k)
    return emitOptionalError(loc, "inner sizes ", shapeOf(op.getRows())[1], " and ", k,
                             " must be equal");
  types.push_back(withShape(op.getRows(), {r.getRows(), n}));
  return success();
}

INFER(GroupedMatmulGradWeightOp) {
  ADAPT(GroupedMatmulGradWeightOp);
  auto r = routingOf(op.getRouting());
  if (failed(checkFirst(loc, op.getLhs(), 2, r.getRows(), "lhs")) ||
      failed(checkFirst(loc, op.getRhs(), 2, r.getRows(), "rhs")))
    return failure();
  if (elementOf(op.getLhs()) != elementOf(op.getRhs()))
    return emitOptionalError(loc, "element types ", elementOf(op.getLhs()), " and ",
                             elementOf(op.getRhs()), " must be equal");
  types.push_back(
      withShape(op.getLhs(), {r.getExperts(), shapeOf(op.getLhs())[1], shapeOf(op.getRhs())[1]}));
  return success();
}

INFER(PerExpertOp) {
  ADAPT(PerExpertOp);
  auto r = routingOf(op.getRouting());
  if (failed(checkFirst(loc, op.getValues(), 2, r.getExperts(), "values")))
    return failure();
  types.push_back(withShape(op.getValues(), {r.getRows(), shapeOf(op.getValues())[1]}));
  return success();
}

INFER(PerExpertSumOp) {
  ADAPT(PerExpertSumOp);
  auto r = routingOf(op.getRouting());
  if (failed(checkFirst(loc, op.getRows(), 2, r.getRows(), "rows")))
    return failure();
  types.push_back(withShape(op.getRows(), {r.getExperts(), shapeOf(op.getRows())[1]}));
  return success();
}
