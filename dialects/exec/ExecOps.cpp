//===- ExecOps.cpp - Verifiers of the statements of exec -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/exec/Exec.h"

using namespace mlir;
using namespace moire;
using namespace moire::exec;

using Shape = SmallVector<int64_t>;

static MemRefType typeOf(Value place) { return cast<MemRefType>(place.getType()); }
static ArrayRef<int64_t> shapeOf(Value place) { return typeOf(place).getShape(); }
static nn::RoutingType routingOf(Value v) { return cast<nn::RoutingType>(v.getType()); }

static std::string str(ArrayRef<int64_t> dims) {
  std::string s;
  llvm::raw_string_ostream os(s);
  os << "[";
  llvm::interleaveComma(dims, os);
  os << "]";
  return s;
}

/// An absent place is right, a present one must have this shape.
static LogicalResult expect(Operation *op, StringRef what, Value place, ArrayRef<int64_t> shape) {
  if (!place || shapeOf(place) == shape)
    return success();
  return op->emitOpError() << what << " has shape " << str(shapeOf(place)) << " but must have "
                           << str(shape);
}

static LogicalResult expectElement(Operation *op, StringRef what, Value place, Value other) {
  if (typeOf(place).getElementType() == typeOf(other).getElementType())
    return success();
  return op->emitOpError() << what << " has element type " << typeOf(place).getElementType()
                           << " but must have " << typeOf(other).getElementType();
}

/// Absent places are right.
static LogicalResult expectElements(Operation *op, Value other,
                                    ArrayRef<std::pair<StringRef, Value>> places) {
  for (auto [what, place] : places)
    if (place && failed(expectElement(op, what, place, other)))
      return failure();
  return success();
}

/// `wide` may be f32 where the other is bf16.
static LogicalResult expectElementOrF32(Operation *op, StringRef what, Value wide, Value other) {
  return typeOf(wide).getElementType().isF32() ? success() : expectElement(op, what, wide, other);
}

static LogicalResult expectRank(Operation *op, StringRef what, Value place, int64_t rank) {
  if (typeOf(place).getRank() == rank)
    return success();
  return op->emitOpError() << what << " has rank " << typeOf(place).getRank() << " but must have "
                           << rank;
}

static LogicalResult expectUnitStride(Operation *op, StringRef what, Value place) {
  auto type = typeOf(place);
  if (type.getShape().back() == 1 || stridesOf(type).back() == 1)
    return success();
  return op->emitOpError() << what << " must have unit stride in the last dim, not "
                           << stridesOf(type).back();
}

static LogicalResult expectFloatUnlessOverwrite(Operation *op, Value place, Mode mode) {
  if (mode == Mode::overwrite || typeOf(place).getElementType().isF32())
    return success();
  return op->emitOpError() << "adds to elements of type " << typeOf(place).getElementType()
                           << " but only f32 can be added to";
}

static Shape concat(ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
  Shape result(a);
  llvm::append_range(result, b);
  return result;
}

//===----------------------------------------------------------------------===//
// Data movement
//===----------------------------------------------------------------------===//

LogicalResult CopyOp::verify() {
  if (typeOf(getSource()).getRank() > 8)
    return emitOpError("has rank ")
           << typeOf(getSource()).getRank() << " but at most 8 are possible";
  if (failed(expect(*this, "target", getTarget(), shapeOf(getSource()))) ||
      failed(expectElement(*this, "target", getTarget(), getSource())))
    return failure();
  return expectFloatUnlessOverwrite(*this, getTarget(), getMode());
}

LogicalResult RoundOp::verify() {
  return expect(*this, "target", getTarget(), shapeOf(getSource()));
}

LogicalResult FillOp::verify() {
  auto value = cast<TypedAttr>(getValue());
  if (value.getType() != typeOf(getTarget()).getElementType())
    return emitOpError("value of type ")
           << value.getType() << " does not fit " << getTarget().getType();
  if (getMode() == Mode::add)
    return emitOpError("cannot add: its modes are overwrite and add_after_first");
  return success();
}

/// `rows` is [indices..., rest...] where the table is [N, rest...].
static LogicalResult verifyRows(Operation *op, StringRef what, Value table, Value indices,
                                Value rows) {
  if (typeOf(table).getRank() < 1)
    return op->emitOpError("needs a table of rank 1 or more");
  if (failed(expect(op, what, rows, concat(shapeOf(indices), shapeOf(table).drop_front()))))
    return failure();
  return expectElement(op, what, rows, table);
}

LogicalResult GatherOp::verify() {
  return verifyRows(*this, "result", getTable(), getIndices(), getResult());
}
LogicalResult ScatterAddOp::verify() {
  return verifyRows(*this, "updates", getResult(), getIndices(), getUpdates());
}
LogicalResult ScatterOp::verify() {
  return verifyRows(*this, "updates", getResult(), getIndices(), getUpdates());
}

static LogicalResult verifyElements(Operation *op, StringRef what, Value whole, Value indices,
                                    Value part, int64_t axis) {
  if (axis < 0 || axis >= typeOf(whole).getRank())
    return op->emitOpError("axis ") << axis << " must lie in 0.." << typeOf(whole).getRank() - 1;
  if (failed(expectRank(op, "indices", indices, typeOf(whole).getRank())) ||
      failed(expect(op, what, part, shapeOf(indices))))
    return failure();
  return expectElement(op, what, part, whole);
}

LogicalResult GatherElementsOp::verify() {
  return verifyElements(*this, "result", getInput(), getIndices(), getResult(), getAxis());
}
LogicalResult ScatterElementsOp::verify() {
  return verifyElements(*this, "updates", getResult(), getIndices(), getUpdates(), getAxis());
}

//===----------------------------------------------------------------------===//
// Contractions, reductions, order
//===----------------------------------------------------------------------===//

/// One of the last two dims is contiguous (or has one element).
static LogicalResult expectMatrix(Operation *op, StringRef what, Value place) {
  auto type = typeOf(place);
  auto strides = stridesOf(type);
  int64_t rank = type.getRank();
  for (int64_t d = rank - 2; d < rank; ++d)
    if (strides[d] == 1 || type.getDimSize(d) == 1)
      return success();
  return op->emitOpError() << what << " must have unit stride in one of its last two dims, not "
                           << str(strides);
}

LogicalResult GemmOp::verify() {
  int64_t rank = typeOf(getResult()).getRank();
  if (rank != 2 && rank != 3)
    return emitOpError("result has rank ") << rank << " but must have 2, or 3 with a batch";
  if (failed(expectRank(*this, "lhs", getLhs(), rank)) ||
      failed(expectRank(*this, "rhs", getRhs(), rank)))
    return failure();
  auto c = shapeOf(getResult()), a = shapeOf(getLhs());
  Shape batch(c.drop_back(2));
  if (failed(expect(*this, "lhs", getLhs(), concat(batch, {c[rank - 2], a[rank - 1]}))) ||
      failed(expect(*this, "rhs", getRhs(), concat(batch, {a[rank - 1], c[rank - 1]}))) ||
      failed(expect(*this, "bias", getBias(), {c[rank - 1]})) ||
      failed(expectMatrix(*this, "lhs", getLhs())) ||
      failed(expectMatrix(*this, "rhs", getRhs())) ||
      failed(expectUnitStride(*this, "result", getResult())) ||
      failed(expectElement(*this, "rhs", getRhs(), getLhs())) ||
      failed(expectElementOrF32(*this, "result", getResult(), getLhs())) ||
      failed(expectFloatUnlessOverwrite(*this, getResult(), getMode())))
    return failure();
  if (getBias() && getMode() != Mode::overwrite)
    return emitOpError("with a bias cannot add to the result");
  if (getAux() && !getGelu())
    return emitOpError("has aux without gelu; only what a gelu is taken of is kept");
  if (!hasEpilogue())
    return success();
  if (getGelu() && getResidual())
    return emitOpError("has gelu and a residual but may have one of them");
  if (rank != 2 || !isDense(getResult().getType()) || getMode() != Mode::overwrite)
    return emitOpError("with gelu or a residual needs a dense result of rank 2 and mode overwrite");
  for (auto [what, place] : {std::pair("residual", getResidual()), {"aux", getAux()}})
    if (failed(expect(*this, what, place, c)) ||
        (place && failed(expectElement(*this, what, place, getResult()))))
      return failure();
  return success();
}

/// How many rows an operand has that may be gathered.
static int64_t rowsOf(nn::RoutingType r, bool gathered) {
  return gathered ? r.getTokens() : r.getRows();
}

LogicalResult GroupedGemmOp::verify() {
  if (failed(expectRank(*this, "rows", getRows(), 2)) ||
      failed(expectRank(*this, "result", getResult(), 2)))
    return failure();
  auto routing = routingOf(getRouting());
  int64_t k = shapeOf(getRows())[1], n = shapeOf(getResult())[1];
  Shape weight{routing.getExperts(), k, n};
  if (getTransposeWeight())
    std::swap(weight[1], weight[2]);
  if (failed(expect(*this, "rows", getRows(), {rowsOf(routing, getGatherRows()), k})) ||
      failed(expect(*this, "result", getResult(), {routing.getRows(), n})) ||
      failed(expect(*this, "weight", getWeight(), weight)) ||
      failed(expectElement(*this, "weight", getWeight(), getRows())))
    return failure();
  if (failed(expect(*this, "bias", getBias(), {routing.getExperts(), n})))
    return failure();
  if (getGated() && getBias())
    return emitOpError("has a bias and swiglu; one of them can be in a product");
  if (getGated() && n % 2 != 0)
    return emitOpError("has ") << n << " columns but swiglu needs two halves";
  if (failed(expect(*this, "swiglu", getGated(), {routing.getRows(), n / 2})) ||
      failed(expectElements(*this, getResult(), {{"swiglu", getGated()}})))
    return failure();
  return expectElementOrF32(*this, "result", getResult(), getRows());
}

LogicalResult GroupedGemmGradWeightOp::verify() {
  if (failed(expectRank(*this, "lhs", getLhs(), 2)) ||
      failed(expectRank(*this, "rhs", getRhs(), 2)))
    return failure();
  auto routing = routingOf(getRouting());
  int64_t k = shapeOf(getLhs())[1], n = shapeOf(getRhs())[1];
  if (getGatherLhs() && getGatherRhs())
    return emitOpError("gathers both sides, of which one at most can be tokens");
  if (failed(expect(*this, "lhs", getLhs(), {rowsOf(routing, getGatherLhs()), k})) ||
      failed(expect(*this, "rhs", getRhs(), {rowsOf(routing, getGatherRhs()), n})) ||
      failed(expectElement(*this, "rhs", getRhs(), getLhs())))
    return failure();
  return expect(*this, "result", getResult(), {routing.getExperts(), k, n});
}

LogicalResult ReduceOp::verify() {
  auto shape = shapeOf(getInput());
  Shape rest;
  int64_t last = -1;
  for (int64_t d : getDims()) {
    if (d <= last || d >= (int64_t)shape.size())
      return emitOpError("dims ") << str(getDims()) << " must be strictly increasing and lie in 0.."
                                  << (int64_t)shape.size() - 1;
    last = d;
  }
  for (auto [i, size] : llvm::enumerate(shape))
    if (!llvm::is_contained(getDims(), (int64_t)i))
      rest.push_back(size);
  bool widens = getKind() == nn::ReduceKind::sum && typeOf(getInput()).getElementType().isBF16() &&
                typeOf(getResult()).getElementType().isF32();
  if (failed(expect(*this, "result", getResult(), rest)) ||
      (!widens && failed(expectElement(*this, "result", getResult(), getInput()))))
    return failure();
  if (getMode() != Mode::overwrite && getKind() != nn::ReduceKind::sum)
    return emitOpError("of kind ")
           << nn::stringifyReduceKind(getKind()) << " cannot add to the result: only sums can";
  return expectFloatUnlessOverwrite(*this, getResult(), getMode());
}

LogicalResult TopKOp::verify() {
  if (typeOf(getInput()).getRank() < 1)
    return emitOpError("needs an input of rank 1 or more");
  Shape shape(shapeOf(getInput()));
  if (typeOf(getIds()).getRank() != (int64_t)shape.size())
    return expect(*this, "ids", getIds(), shape);
  shape.back() = shapeOf(getIds()).back();
  if (failed(expect(*this, "ids", getIds(), shape)) ||
      failed(expect(*this, "values", getValues(), shape)) ||
      failed(expectElement(*this, "values", getValues(), getInput())))
    return failure();
  if (shape.back() < 1 || shape.back() > shapeOf(getInput()).back())
    return emitOpError("k of ") << shape.back() << " must lie in 1.." << shapeOf(getInput()).back();
  return success();
}

LogicalResult CumsumOp::verify() {
  int64_t rank = typeOf(getInput()).getRank();
  if ((int64_t)getAxis() < 0 || (int64_t)getAxis() >= rank)
    return emitOpError("axis ") << (int64_t)getAxis() << " must lie in 0.." << rank - 1;
  if (failed(expect(*this, "result", getResult(), shapeOf(getInput()))))
    return failure();
  return expectElement(*this, "result", getResult(), getInput());
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// All `places` have the input's shape [..., D], all `vectors` [D]. The first of
/// the places may be bf16 where the input is f32, the others have its elements.
static LogicalResult verifyNorm(Operation *op, Value input,
                                ArrayRef<std::pair<StringRef, Value>> places,
                                ArrayRef<std::pair<StringRef, Value>> vectors) {
  bool narrows = typeOf(places.front().second).getElementType().isBF16();
  if (failed(expectElements(op, input, places.drop_front(narrows))))
    return failure();
  if (typeOf(input).getRank() < 1)
    return op->emitOpError("needs an input of rank 1 or more");
  for (auto [what, place] : places)
    if (failed(expect(op, what, place, shapeOf(input))))
      return failure();
  for (auto [what, vector] : vectors)
    if (failed(expect(op, what, vector, {shapeOf(input).back()})))
      return failure();
  return success();
}

static LogicalResult comeTogether(Operation *op, StringRef a, Value x, StringRef b, Value y) {
  if (!x == !y)
    return success();
  return op->emitOpError() << "has one of " << a << " and " << b << " but needs both or neither";
}

LogicalResult LayerNormOp::verify() {
  if (failed(comeTogether(*this, "residual", getResidual(), "sum", getSum())))
    return failure();
  return verifyNorm(*this, getInput(),
                    {{"result", getResult()}, {"residual", getResidual()}, {"sum", getSum()}},
                    {{"scale", getScale()}, {"bias", getBias()}});
}

LogicalResult RMSNormOp::verify() {
  if (failed(comeTogether(*this, "residual", getResidual(), "sum", getSum())))
    return failure();
  return verifyNorm(*this, getInput(),
                    {{"result", getResult()}, {"residual", getResidual()}, {"sum", getSum()}},
                    {{"scale", getScale()}});
}

LogicalResult LayerNormGradOp::verify() {
  if (!getDInput() && !getDScale() && !getDBias())
    return emitOpError("needs at least one result");
  return verifyNorm(*this, getInput(),
                    {{"cotangent", getCotangent()}, {"add", getAdd()}, {"d_input", getDInput()}},
                    {{"scale", getScale()}, {"d_scale", getDScale()}, {"d_bias", getDBias()}});
}

LogicalResult RMSNormGradOp::verify() {
  if (!getDInput() && !getDScale())
    return emitOpError("needs at least one result");
  return verifyNorm(*this, getInput(),
                    {{"cotangent", getCotangent()}, {"add", getAdd()}, {"d_input", getDInput()}},
                    {{"scale", getScale()}, {"d_scale", getDScale()}});
}

LogicalResult SoftmaxOp::verify() {
  return verifyNorm(*this, getInput(), {{"result", getResult()}}, {});
}
LogicalResult SoftmaxGradOp::verify() {
  return verifyNorm(*this, getOutput(), {{"cotangent", getCotangent()}, {"result", getResult()}},
                    {});
}

LogicalResult CrossEntropyOp::verify() {
  if (failed(expectRank(*this, "logits", getLogits(), 2)) ||
      failed(comeTogether(*this, "cotangent", getCotangent(), "d_logits", getDLogits())))
    return failure();
  Shape rows{shapeOf(getLogits())[0]};
  if (failed(expect(*this, "labels", getLabels(), rows)) ||
      failed(expect(*this, "losses", getLosses(), rows)) ||
      failed(expect(*this, "lse", getLse(), rows)) ||
      failed(expect(*this, "cotangent", getCotangent(), {})))
    return failure();
  if (getDLogits() && failed(expectElement(*this, "d_logits", getDLogits(), getLogits())))
    return failure();
  return expect(*this, "d_logits", getDLogits(), shapeOf(getLogits()));
}

LogicalResult CrossEntropyGradOp::verify() {
  if (failed(expectRank(*this, "logits", getLogits(), 2)) ||
      failed(expectElement(*this, "d_logits", getDLogits(), getLogits())))
    return failure();
  Shape rows{shapeOf(getLogits())[0]};
  if (failed(expect(*this, "labels", getLabels(), rows)) ||
      failed(expect(*this, "lse", getLse(), rows)) ||
      failed(expect(*this, "cotangent", getCotangent(), rows)))
    return failure();
  return expect(*this, "d_logits", getDLogits(), shapeOf(getLogits()));
}

LogicalResult LossOp::verify() { return expect(*this, "value", getValue(), {}); }

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

LogicalResult RopeOp::verify() {
  if (failed(expectRank(*this, "input", getInput(), 4)) ||
      failed(expect(*this, "result", getResult(), shapeOf(getInput()))) ||
      failed(expectElement(*this, "result", getResult(), getInput())) ||
      failed(expectRank(*this, "cos", getCos(), 3)))
    return failure();
  auto x = shapeOf(getInput());
  int64_t batch = shapeOf(getCos())[0] == 1 ? 1 : x[0];
  if (failed(expect(*this, "cos", getCos(), {batch, x[2], x[3] / 2})) ||
      failed(expect(*this, "sin", getSin(), {batch, x[2], x[3] / 2})) ||
      failed(expectUnitStride(*this, "input", getInput())))
    return failure();
  return expectUnitStride(*this, "result", getResult());
}

/// Shapes and unit strides of what attention and its gradient share.
static LogicalResult verifyAttention(Operation *op, Value q, Value k, Value v, Value mask,
                                     Value result, Value lse) {
  for (auto [what, place] : {std::pair<StringRef, Value>{"query", q}, {"key", k}, {"value", v}})
    if (failed(expectRank(op, what, place, 4)) || failed(expectUnitStride(op, what, place)))
      return failure();
  auto qs = shapeOf(q), vs = shapeOf(v);
  int64_t batch = qs[0], heads = qs[1], queries = qs[2], kvHeads = vs[1], keys = vs[2];
  if (kvHeads == 0 || heads % kvHeads)
    return op->emitOpError("has ")
           << heads << " query heads, which must be a multiple of the " << kvHeads << " key heads";
  if (failed(expect(op, "key", k, {batch, kvHeads, keys, qs[3]})) ||
      failed(expect(op, "value", v, {batch, kvHeads, keys, vs[3]})) ||
      failed(expect(op, "result", result, {batch, heads, queries, vs[3]})) ||
      failed(expect(op, "lse", lse, {batch, heads, queries})) ||
      failed(expect(op, "mask", mask, {batch, heads, queries, keys})) ||
      failed(expectElements(op, q, {{"key", k}, {"value", v}, {"result", result}})))
    return failure();
  return expectUnitStride(op, "result", result);
}

LogicalResult AttentionOp::verify() {
  return verifyAttention(*this, getQuery(), getKey(), getValue(), getMask(), getResult(), getLse());
}

LogicalResult AttentionGradOp::verify() {
  if (failed(verifyAttention(*this, getQuery(), getKey(), getValue(), getMask(), getOutput(),
                             getLse())) ||
      failed(expect(*this, "cotangent", getCotangent(), shapeOf(getOutput()))) ||
      failed(expect(*this, "d_query", getDQuery(), shapeOf(getQuery()))) ||
      failed(expect(*this, "d_key", getDKey(), shapeOf(getKey()))) ||
      failed(expect(*this, "d_value", getDValue(), shapeOf(getValue()))))
    return failure();
  for (auto [what, place] : {std::pair<StringRef, Value>{"cotangent", getCotangent()},
                             {"d_query", getDQuery()},
                             {"d_key", getDKey()},
                             {"d_value", getDValue()}})
    if (failed(expectUnitStride(*this, what, place)) ||
        failed(expectElement(*this, what, place, getQuery())))
      return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// Mixture of experts
//===----------------------------------------------------------------------===//

static LogicalResult verifyRouter(Operation *op, Value logits, Value weights, Value ids) {
  if (failed(expectRank(op, "logits", logits, 2)) || failed(expectRank(op, "ids", ids, 2)))
    return failure();
  int64_t tokens = shapeOf(logits)[0], k = shapeOf(ids)[1];
  if (k < 1 || k > shapeOf(logits)[1])
    return op->emitOpError("chooses ") << k << " of " << shapeOf(logits)[1] << " experts";
  if (failed(expect(op, "ids", ids, {tokens, k})))
    return failure();
  return expect(op, "weights", weights, {tokens, k});
}

LogicalResult RouterOp::verify() {
  if (failed(verifyRouter(*this, getLogits(), getWeights(), getIds())))
    return failure();
  return expect(*this, "bias", getSelectionBias(), {shapeOf(getLogits())[1]});
}
LogicalResult RouterGradOp::verify() {
  if (failed(verifyRouter(*this, getLogits(), getCotangent(), getIds())))
    return failure();
  return expect(*this, "d_logits", getDLogits(), shapeOf(getLogits()));
}

LogicalResult RouteOp::verify() {
  auto routing = routingOf(getRouting());
  return expect(*this, "ids", getIds(), {routing.getTokens(), routing.getK()});
}

LogicalResult ChoiceCountsOp::verify() {
  if (failed(expectRank(*this, "ids", getIds(), 2)) ||
      failed(expectRank(*this, "counts", getCounts(), 2)))
    return failure();
  return expect(*this, "counts", getCounts(), {shapeOf(getIds())[1], shapeOf(getCounts())[1]});
}

LogicalResult CapacityOp::verify() {
  if (failed(expectRank(*this, "ids", getIds(), 2)) ||
      failed(expectRank(*this, "counts", getCounts(), 3)) ||
      failed(expect(*this, "kept", getKept(), shapeOf(getIds()))) ||
      failed(expect(*this, "shard", getShard(), {})))
    return failure();
  auto counts = shapeOf(getCounts());
  return expect(*this, "counts", getCounts(), {counts[0], shapeOf(getIds())[1], counts[2]});
}

/// Rows [R, width] on one side, tokens [T, width] on the other.
static LogicalResult verifyRouted(Operation *op, Value routing, StringRef rowsName, Value rows,
                                  StringRef tokensName, Value tokens) {
  auto type = routingOf(routing);
  if (failed(expectRank(op, rowsName, rows, 2)))
    return failure();
  int64_t width = shapeOf(rows)[1];
  if (failed(expect(op, rowsName, rows, {type.getRows(), width})))
    return failure();
  return expect(op, tokensName, tokens, {type.getTokens(), width});
}

LogicalResult DispatchOp::verify() {
  if (failed(expectElement(*this, "rows", getRows(), getInput())))
    return failure();
  return verifyRouted(*this, getRouting(), "rows", getRows(), "input", getInput());
}

LogicalResult CombineOp::verify() {
  auto type = routingOf(getRouting());
  if (failed(verifyRouted(*this, getRouting(), "rows", getRows(), "result", getResult())) ||
      failed(expectElement(*this, "result", getResult(), getRows())))
    return failure();
  return expect(*this, "weights", getWeights(), {type.getTokens(), type.getK()});
}

LogicalResult CombineGradOp::verify() {
  auto type = routingOf(getRouting());
  if (!getDRows() && !getDWeights())
    return emitOpError("needs at least one result");
  if (failed(expectElements(*this, getRows(),
                            {{"cotangent", getCotangent()}, {"d_rows", getDRows()}})) ||
      failed(verifyRouted(*this, getRouting(), "rows", getRows(), "cotangent", getCotangent())) ||
      failed(expect(*this, "weights", getWeights(), {type.getTokens(), type.getK()})) ||
      failed(expect(*this, "d_weights", getDWeights(), {type.getTokens(), type.getK()})))
    return failure();
  return expect(*this, "d_rows", getDRows(), shapeOf(getRows()));
}

/// Rows [R, width] on one side, experts [E, width] on the other.
static LogicalResult verifyPerExpert(Operation *op, Value routing, Value rows, StringRef name,
                                     Value values) {
  auto type = routingOf(routing);
  if (failed(expectRank(op, "rows", rows, 2)))
    return failure();
  int64_t width = shapeOf(rows)[1];
  if (failed(expect(op, "rows", rows, {type.getRows(), width})))
    return failure();
  return expect(op, name, values, {type.getExperts(), width});
}

LogicalResult PerExpertOp::verify() {
  if (failed(verifyPerExpert(*this, getRouting(), getRows(), "values", getValues())))
    return failure();
  return expect(*this, "add", getAdd(), shapeOf(getRows()));
}
LogicalResult PerExpertSumOp::verify() {
  return verifyPerExpert(*this, getRouting(), getRows(), "sums", getSums());
}
