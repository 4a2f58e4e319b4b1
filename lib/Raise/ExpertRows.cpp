//===- ExpertRows.cpp - A function of experts, rebuilt on routed rows ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "ExpertRows.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace moire;
using namespace moire::raise;

Value ExpertRows::reshape(Value v, ArrayRef<int64_t> shape) {
  auto type = RankedTensorType::get(shape, tensorType(v).getElementType());
  return v.getType() == type ? v : builder.create<nn::ReshapeOp>(loc, type, v).getResult();
}

/// `factor` times the function.
static void scale(Layout &l, int64_t factor) {
  l.offset *= factor;
  for (Mode &mode : l.dims)
    for (Factor &f : mode)
      f.stride *= factor;
}

//===----------------------------------------------------------------------===//
// Ids
//===----------------------------------------------------------------------===//

std::optional<ExpertRows::Ids> ExpertRows::findIds(const View &pairs) const {
  llvm::DenseSet<Operation *> seen;
  SmallVector<Value> todo = {pairs.base};
  std::optional<Ids> found;
  while (!todo.empty()) {
    Operation *def = todo.pop_back_val().getDefiningOp();
    if (!def || !seen.insert(def).second)
      continue;
    if (auto gather = dyn_cast<nn::GatherOp>(def)) {
      // Matrices of stacked experts at one id per pair.
      if (shapeOf(gather.getTable()).size() < 3 ||
          tensorType(gather.getIndices()).getNumElements() != tokens * k)
        continue;
      View view{gather.getIndices(), {}};
      view.layout.dims = {{{tokens, k}}, {{k, 1}}};
      Ids ids{symbols.of(view), shapeOf(gather.getTable())[0]};
      if (found && found->id != ids.id)
        return std::nullopt;
      found = ids;
      continue;
    }
    // What mixes rows ends the search; `rebuild` will refuse it.
    if (isa<nn::MatmulOp, nn::ReshapeOp, nn::TransposeOp, nn::SliceOp, nn::BroadcastOp,
            nn::ConcatOp, nn::SigmoidOp, nn::SoftmaxOp, nn::RMSNormOp, nn::LayerNormOp>(def) ||
        def->hasTrait<OpTrait::Elementwise>())
      todo.append(def->operand_begin(), def->operand_end());
  }
  return found;
}

void ExpertRows::route(const Ids &found, Value value) {
  ids = found.id;
  idsValue = value;
  SmallVector<Value> from;
  symbols.leaves(ids, from);
  if (from.size() == 1)
    idsOrigin = from[0].getDefiningOp();
  auto type = nn::RoutingType::get(builder.getContext(), tokens, k, found.experts);
  routingValue = builder.create<nn::RouteOp>(loc, type, idsValue);
}

bool ExpertRows::dependsOnExperts(Value v) {
  auto [it, isNew] = onExperts.try_emplace(v, false);
  if (!isNew)
    return it->second;
  Operation *def = v.getDefiningOp();
  if (!def || (idsOrigin && def->isBeforeInBlock(idsOrigin)))
    return false;
  bool depends = false;
  if (auto gather = dyn_cast<nn::GatherOp>(def)) {
    auto type = tensorType(gather.getIndices());
    View at{gather.getIndices(), {}};
    at.layout.dims = {{{tokens, k}}, {{k, 1}}};
    depends = type.getNumElements() == tokens * k && symbols.of(at) == ids;
  }
  for (Value operand : def->getOperands())
    depends |= dependsOnExperts(operand);
  return onExperts[v] = depends;
}

/// Rows that differ between a token's choices but not by the experts'
/// parameters: each pair is a token of its own, routed to the same rows.
Value ExpertRows::sorted(const View &pairs) {
  Value v = materialize(builder, loc, pairs);
  if (!v || !isa<FloatType>(tensorType(v).getElementType()))
    return {};
  SmallVector<int64_t> shape = {tokens * k};
  llvm::append_range(shape, shapeOf(v).drop_front(2));
  if (!pairRouting) {
    auto type = cast<nn::RoutingType>(routingValue.getType());
    pairRouting = builder.create<nn::RouteOp>(
        loc, nn::RoutingType::get(builder.getContext(), tokens * k, 1, type.getExperts()),
        reshape(idsValue, {tokens * k, 1}));
  }
  v = reshape(v, {tokens * k, tensorType(v).getNumElements() / (tokens * k)});
  return reshape(builder.create<nn::DispatchOp>(loc, v, pairRouting), shape);
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

std::optional<ExpertRows::RowView> ExpertRows::splitRows(const Layout &layout, int64_t size) {
  RowView view;
  view.rows.offset = layout.offset / size;
  view.rest.offset = layout.offset % size;
  for (auto [d, mode] : llvm::enumerate(layout.dims)) {
    if (d >= 2) {
      view.rest.dims.push_back(mode);
      continue;
    }
    view.rows.dims.push_back(mode);
    for (Factor &f : view.rows.dims.back()) {
      if (f.stride % size)
        return std::nullopt;
      f.stride /= size;
    }
  }
  auto [lo, hi] = view.rest.range();
  if (lo < 0 || hi >= size)
    return std::nullopt;
  return view;
}

/// rows [R, size] -> the elements that `rest` picks of each row.
Value ExpertRows::pick(Value rows, const Layout &rest) {
  View view{rows, rest};
  view.layout.dims.insert(view.layout.dims.begin(),
                          Mode{{tokens * k, shapeOf(rows).back()}});
  return materialize(builder, loc, view);
}

/// Builds what a row-wise op gives on all rows, once.
Value ExpertRows::whole(Operation *op, const Layout &rows, llvm::function_ref<Value()> build) {
  for (const Known &one : known)
    if (one.op == op && one.layout == rows)
      return one.rows;
  Value v = build();
  known.push_back({op, rows, v});
  return v;
}

Value ExpertRows::broadcastRows(Value v) {
  SmallVector<int64_t> shape = {tokens * k}, dims;
  for (auto [i, n] : llvm::enumerate(shapeOf(v))) {
    shape.push_back(n);
    dims.push_back(i + 1);
  }
  auto type = RankedTensorType::get(shape, tensorType(v).getElementType());
  return builder.create<nn::BroadcastOp>(loc, type, v, dims);
}

nn::GatherOp ExpertRows::gatherAtIds(const View &view, RowView &at) {
  auto gather = view.base.getDefiningOp<nn::GatherOp>();
  if (!gather)
    return {};
  auto table = tensorType(gather.getTable());
  auto split = splitRows(view.layout, table.getNumElements() / table.getDimSize(0));
  auto type = cast<nn::RoutingType>(routingValue.getType());
  if (!split || table.getDimSize(0) != type.getExperts() ||
      symbols.of(View{gather.getIndices(), split->rows}) != ids)
    return {};
  at = *split;
  return gather;
}

Value ExpertRows::rebuild(View pairs) {
  pairs = symbols.peel(pairs);
  const Layout &layout = pairs.layout;
  SmallVector<int64_t> shape = layout.shape();
  SmallVector<int64_t> rowShape = {tokens * k};
  rowShape.append(shape.begin() + 2, shape.end());

  // 1. The same number everywhere, the same row everywhere, the same row for
  // all choices of a token.
  DenseElementsAttr constant;
  if (matchPattern(pairs.base, m_Constant(&constant)) && constant.isSplat()) {
    auto type = RankedTensorType::get(rowShape, tensorType(pairs.base).getElementType());
    return builder.create<arith::ConstantOp>(loc, type, constant.resizeSplat(type));
  }
  bool byExpert = dependsOnExperts(pairs.base);
  if (!byExpert && isConstant(layout.dims[1])) {
    View token = pairs;
    token.layout.dims.erase(token.layout.dims.begin() + 1);
    // What one token alone has is that token's: its gradient sums over the choices.
    bool sameForTokens = tokens > 1 && isConstant(layout.dims[0]);
    if (sameForTokens)
      token.layout.dims.erase(token.layout.dims.begin());
    Value v = materialize(builder, loc, token);
    if (!v || sameForTokens)
      return v ? broadcastRows(v) : Value();
    if (!isa<FloatType>(tensorType(v).getElementType()))
      return {};
    v = reshape(v, {tokens, tensorType(v).getNumElements() / tokens});
    return reshape(builder.create<nn::DispatchOp>(loc, v, routingValue), rowShape);
  }
  if (!byExpert)
    return sorted(pairs);

  // 2. What belongs to the experts, and what is computed row by row.
  Operation *def = pairs.base.getDefiningOp();
  if (!def)
    return {};
  if (auto op = dyn_cast<nn::MatmulOp>(def)) {
    auto out = shapeOf(op.getResult());
    auto at = splitRows(layout, out.back() * out[out.size() - 2]);
    if (!at)
      return {};
    Value rows = whole(op, at->rows, [&] { return matmul(op, at->rows); });
    return rows ? pick(rows, at->rest) : Value();
  }
  if (isa<nn::GatherOp>(def)) {
    RowView at;
    nn::GatherOp gather = gatherAtIds(pairs, at);
    // Matrices outside a product would be copied row by row.
    if (!gather || llvm::count_if(shapeOf(gather.getTable()).drop_front(),
                                  [](int64_t n) { return n != 1; }) > 1)
      return {};
    Value rows = whole(gather, at.rows, [&]() -> Value {
      int64_t experts = shapeOf(gather.getTable())[0];
      Value values = reshape(gather.getTable(),
                             {experts, tensorType(gather.getTable()).getNumElements() / experts});
      return builder.create<nn::PerExpertOp>(loc, values, routingValue);
    });
    return pick(rows, at.rest);
  }
  if (auto op = dyn_cast<nn::ConcatOp>(def)) {
    int64_t size = 1;
    for (int64_t n : shapeOf(op.getResult()).drop_front(op.getDim()))
      size *= n;
    auto at = splitRows(layout, size);
    if (!at)
      return {};
    Value rows = whole(op, at->rows, [&] { return concat(op, at->rows); });
    return rows ? pick(rows, at->rest) : Value();
  }
  if (isa<nn::SoftmaxOp, nn::RMSNormOp, nn::LayerNormOp>(def))
    return rowWise(def, pairs);
  if (def->hasTrait<OpTrait::Elementwise>() || isa<nn::SigmoidOp>(def)) {
    // On whole rows, so that halves of a row share it.
    int64_t size = tensorType(pairs.base).getNumElements() / (tokens * k);
    auto at = size ? splitRows(layout, size) : std::nullopt;
    if (!at)
      return {};
    Layout full = at->rows;
    scale(full, size);
    full.dims.push_back({{size, 1}});
    Value rows = whole(def, full, [&] { return elementwise(def, full.coalesced()); });
    return rows ? pick(rows, at->rest) : Value();
  }
  return {};
}

/// A matrix per row times a vector per row, or the vector first.
Value ExpertRows::matmul(nn::MatmulOp op, const Layout &rows) {
  auto lhs = shapeOf(op.getLhs()), rhs = shapeOf(op.getRhs());
  auto out = shapeOf(op.getResult());
  int64_t m = out[out.size() - 2], n = out.back();
  if (lhs.size() != rhs.size() || (m != 1 && n != 1))
    return {};
  // A view over [T, K, a, b] of one side's matrices.
  auto side = [&](Value v, bool transposed) {
    auto shape = shapeOf(v);
    int64_t r = shape[shape.size() - 2], c = shape.back();
    View view{v, rows};
    scale(view.layout, r * c);
    Mode row{{r, c}}, column{{c, 1}};
    view.layout.dims.push_back(transposed ? column : row);
    view.layout.dims.push_back(transposed ? row : column);
    view.layout = view.layout.coalesced();
    return view;
  };
  View left = side(op.getLhs(), op.getTransposeLhs());
  View right = side(op.getRhs(), op.getTransposeRhs());
  // As matrix [T, K, out, in] and vector [T, K, in].
  for (bool matrixFirst : {true, false}) {
    if ((matrixFirst ? n : m) != 1)
      continue;
    View matrix = matrixFirst ? left : right, vector = matrixFirst ? right : left;
    if (!matrixFirst)
      std::swap(matrix.layout.dims[2], matrix.layout.dims[3]);
    vector.layout.dims.erase(vector.layout.dims.begin() + (matrixFirst ? 3 : 2));
    matrix = symbols.peel(matrix);
    RowView at;
    nn::GatherOp gather = gatherAtIds(matrix, at);
    if (!gather)
      continue;
    Value v = rebuild(vector);
    if (!v)
      return {};
    // The experts' matrices in the order in which they lie.
    auto table = tensorType(gather.getTable());
    int64_t experts = table.getDimSize(0);
    View stacked{gather.getTable(), at.rest};
    stacked.layout.dims.insert(stacked.layout.dims.begin(),
                               Mode{{experts, table.getNumElements() / experts}});
    stacked = symbols.peel(stacked);
    auto step = [](const Mode &mode) { return mode.empty() ? 0 : mode.back().stride; };
    bool outFirst = step(stacked.layout.dims[1]) >= step(stacked.layout.dims[2]);
    if (!outFirst)
      std::swap(stacked.layout.dims[1], stacked.layout.dims[2]);
    Value weight = materialize(builder, loc, stacked);
    if (!weight)
      return {};
    return builder.create<nn::GroupedMatmulOp>(loc, v, weight, routingValue,
                                               outFirst ? builder.getUnitAttr() : UnitAttr());
  }
  return {};
}

Value ExpertRows::concat(nn::ConcatOp op, const Layout &rows) {
  SmallVector<Value> inputs;
  for (Value input : op.getInputs()) {
    auto rest = shapeOf(input).drop_front(op.getDim());
    int64_t size = ShapedType::getNumElements(rest);
    View view{input, rows};
    scale(view.layout, size);
    for (const Mode &mode : Layout::rowMajor(rest).dims)
      view.layout.dims.push_back(mode);
    inputs.push_back(rebuild(view));
    if (!inputs.back())
      return {};
  }
  Value v = builder.create<nn::ConcatOp>(loc, inputs, 1);
  return reshape(v, {tokens * k, tensorType(v).getNumElements() / (tokens * k)});
}

/// A norm or softmax whose last dim is a row.
Value ExpertRows::rowWise(Operation *op, const View &pairs) {
  int64_t size = shapeOf(op->getResult(0)).back();
  auto at = splitRows(pairs.layout, size);
  if (!at)
    return {};
  Value rows = whole(op, at->rows, [&]() -> Value {
    Layout full = at->rows;
    scale(full, size);
    full.dims.push_back({{size, 1}});
    Value input = rebuild({op->getOperand(0), full.coalesced()});
    if (!input)
      return {};
    for (Value shared : op->getOperands().drop_front())
      if (dependsOnExperts(shared))
        return {};
    IRMapping mapping;
    mapping.map(op->getOperand(0), input);
    Operation *copy = builder.clone(*op, mapping);
    copy->getResult(0).setType(input.getType());
    return copy->getResult(0);
  });
  return rows ? pick(rows, at->rest) : Value();
}

Value ExpertRows::elementwise(Operation *op, const Layout &layout) {
  SmallVector<Value> operands;
  for (Value operand : op->getOperands()) {
    if (!isa<RankedTensorType>(operand.getType()))
      return {};
    operands.push_back(rebuild({operand, layout}));
    if (!operands.back())
      return {};
  }
  auto type = RankedTensorType::get(shapeOf(operands.back()),
                                    tensorType(op->getResult(0)).getElementType());
  OperationState state(loc, op->getName().getIdentifier(), operands, type, op->getAttrs());
  return builder.create(state)->getResult(0);
}
