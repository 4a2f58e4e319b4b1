//===- Attention.cpp - softmax(q k^T + mask) v to nn.attention -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "AttentionMask.h"
#include "Matchers.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "moire/Raise/Passes.h"

namespace moire::raise {
#define GEN_PASS_DEF_RAISEATTENTION
#include "lib/Raise/Passes.h.inc"
} // namespace moire::raise

using namespace mlir;
using namespace moire;
using namespace moire::raise;

using Id = Symbols::Id;

namespace {
/// What was done to the scores: a number added, or a fill where a condition
/// does not hold. Seen as [N, Sq, Skv], N = all batch dims and heads.
struct MaskPart {
  View view;
  double factor;
  std::optional<double> fill;
  bool negated = false; ///< the condition says what to fill
};

/// The parts of an attention; q [N, Sq, D], k [N, Skv, D], v [N, Skv, Dv].
struct Parts {
  View q, k, v;
  double scale = 1;
  bool guarded = false;
  SmallVector<MaskPart> masks;
};
} // namespace

/// [N, rows, columns] of a tensor [batch..., rows, columns], or of its
/// transposed matrices. A tensor of rank 2 stands for `count` equal matrices.
static View matrices(Value v, bool transposed, int64_t count = 1) {
  auto shape = shapeOf(v);
  int64_t rows = shape[shape.size() - 2], columns = shape.back();
  View view = viewOf(v);
  Mode batch{{tensorType(v).getNumElements() / (rows * columns), rows * columns}};
  if (shape.size() == 2)
    batch = {{count, 0}};
  Mode row{{rows, columns}}, column{{columns, 1}};
  view.layout.dims = {batch, transposed ? column : row, transposed ? row : column};
  view.layout = view.layout.coalesced();
  return view;
}

/// Cuts a mode into an outer part and an inner part of the given size.
static std::optional<std::pair<Mode, Mode>> cut(ArrayRef<Factor> mode, int64_t inner) {
  int64_t outer = inner ? sizeOf(mode) / inner : 0;
  if (outer * inner != sizeOf(mode))
    return std::nullopt;
  auto digits = refine(mode, {Factor{outer, 0}, Factor{inner, 0}});
  if (!digits)
    return std::nullopt;
  std::pair<Mode, Mode> result;
  int64_t left = outer;
  for (const Factor &f : digits->first) {
    (left > 1 ? result.first : result.second).push_back(f);
    if (left > 1)
      left /= f.size;
  }
  return result;
}

/// The view with its first dim N as [N / heads, heads].
static std::optional<View> splitHeads(const View &view, int64_t heads) {
  auto parts = cut(view.layout.dims[0], heads);
  if (!parts)
    return std::nullopt;
  View out = view;
  out.layout.dims[0] = parts->first;
  out.layout.dims.insert(out.layout.dims.begin() + 1, parts->second);
  return out;
}

/// How often each head stands behind itself in a mode of heads.
static int64_t repeats(ArrayRef<Factor> heads) {
  Mode m = coalesce(heads);
  return !m.empty() && m.back().stride == 0 ? m.back().size : 1;
}

namespace {
struct Attention {
  Symbols &symbols;

  /// A view of scores as `factor` * (q k^T) + masks. Fills `parts`.
  bool scores(View view, double factor, Parts &parts, Operation *out, unsigned depth = 0) const {
    view = symbols.peel(view);
    Operation *def = view.base.getDefiningOp();
    if (!def || depth > 16)
      return false;
    auto operand = [&](unsigned i) { return View{def->getOperand(i), view.layout}; };
    auto next = [&](unsigned i, double f) {
      return scores(operand(i), f, parts, out, depth + 1);
    };
    if (auto matmul = dyn_cast<nn::MatmulOp>(def)) {
      if (view.layout != matrices(view.base, false).layout)
        return false;
      int64_t count = sizeOf(view.layout.dims[0]);
      parts.scale = factor;
      parts.q = scaled(matrices(matmul.getLhs(), matmul.getTransposeLhs()), parts.scale);
      parts.k = scaled(matrices(matmul.getRhs(), !matmul.getTransposeRhs(), count),
                       parts.scale);
      return true;
    }
    if (isa<arith::AddFOp, arith::SubFOp>(def))
      for (unsigned i : {0, 1}) {
        bool minus = isa<arith::SubFOp>(def);
        if ((i == 1 && minus) || !next(i, factor))
          continue;
        parts.masks.push_back({operand(1 - i), minus ? -factor : factor, std::nullopt});
        return true;
      }
    if (isa<arith::SelectOp>(def))
      for (unsigned i : {1, 2}) {
        auto fill = splatOf(def->getOperand(3 - i));
        if (!fill || !next(i, factor))
          continue;
        parts.masks.push_back({operand(0), 1, *fill * factor, i == 2});
        return true;
      }
    if (isa<arith::MulFOp>(def))
      for (unsigned i : {0, 1})
        if (auto c = splatOf(def->getOperand(i)))
          return next(1 - i, factor * *c);
    if (isa<arith::DivFOp>(def))
      if (auto c = splatOf(def->getOperand(1)))
        return next(0, factor / *c);
    // A floor under masked scores changes only what is hidden.
    if (isa<arith::MaximumFOp, arith::MaxNumFOp>(def))
      for (unsigned i : {0, 1})
        if (auto c = splatOf(def->getOperand(i)); c && *c * factor < -1e30)
          return next(1 - i, factor);
    return false;
  }

  /// The view behind multiplications by constants, which go to `scale`.
  View scaled(View view, double &scale) const {
    while (true) {
      view = symbols.peel(view);
      Operation *def = view.base.getDefiningOp();
      std::optional<unsigned> rest;
      if (isa_and_present<arith::MulFOp>(def))
        for (unsigned i : {0, 1})
          if (auto c = splatOf(def->getOperand(i)); c && !rest) {
            scale *= *c;
            rest = 1 - i;
          }
      if (isa_and_present<arith::DivFOp>(def))
        if (auto c = splatOf(def->getOperand(1))) {
          scale /= *c;
          rest = 0;
        }
      if (!rest)
        return view;
      view.base = def->getOperand(*rest);
    }
  }

  /// The softmax behind `probabilities`, and whether NaN was replaced by 0.
  nn::SoftmaxOp softmax(const View &probabilities, bool &guarded) const {
    Id id = symbols.of(probabilities);
    if (symbols.isOp(id, "arith.select")) {
      const auto &select = symbols[id];
      Id isNaN = select.operands[0];
      if (!symbols.isOp(isNaN, "arith.cmpf") || symbols.scalar(select.operands[1]) != 0.0)
        return {};
      const auto &compare = symbols[isNaN];
      auto predicate = compare.attributes.getAs<arith::CmpFPredicateAttr>("predicate").getValue();
      if ((predicate != arith::CmpFPredicate::UNO && predicate != arith::CmpFPredicate::UNE) ||
          compare.operands[0] != compare.operands[1] ||
          compare.operands[0] != select.operands[2])
        return {};
      guarded = true;
      id = select.operands[2];
    }
    const auto &n = symbols[id];
    auto op = n.kind == Symbols::Kind::Leaf ? n.base.getDefiningOp<nn::SoftmaxOp>() : nullptr;
    return op && n.layout == matrices(op.getResult(), false).layout ? op : nullptr;
  }

  /// Whether `value` leads to nothing but `out`.
  bool feedsOnly(Value value, Operation *out) const {
    SmallVector<Value> todo = {value};
    while (!todo.empty())
      for (Operation *user : todo.pop_back_val().getUsers()) {
        if (user == out)
          continue;
        if (!isa<nn::ReshapeOp, arith::SelectOp, arith::CmpFOp>(user))
          return false;
        todo.push_back(user->getResult(0));
      }
    return true;
  }

  std::optional<Parts> match(nn::MatmulOp out) const {
    if (out.getTransposeLhs())
      return std::nullopt;
    Parts parts;
    nn::SoftmaxOp op = softmax(matrices(out.getLhs(), false), parts.guarded);
    if (!op || shapeOf(op.getInput()).size() < 2 || !feedsOnly(op, out) ||
        !scores(matrices(op.getInput(), false), 1, parts, out))
      return std::nullopt;
    parts.v = symbols.peel(
        matrices(out.getRhs(), out.getTransposeRhs(), sizeOf(parts.q.layout.dims[0])));
    return parts;
  }

  /// How many of the N = batch x heads are heads: of more than one batch dim
  /// all but the first; else what lies inside one position of the queries.
  int64_t heads(const Parts &parts, ArrayRef<int64_t> outShape) const {
    if (outShape.size() >= 4)
      return ShapedType::getNumElements(outShape.drop_front().drop_back(2));
    for (const View *view : {&parts.q, &parts.k, &parts.v}) {
      const Mode &rows = view->layout.dims[1];
      int64_t inside = 1;
      for (const Factor &f : llvm::reverse(view->layout.dims[0])) {
        if (rows.size() != 1 || f.stride >= rows[0].stride)
          break;
        inside *= f.size;
      }
      if (inside > 1)
        return inside;
    }
    return 1;
  }

  /// Builds nn.attention [B, H, Sq, Dv]; null where it cannot say it.
  nn::AttentionOp build(OpBuilder &b, Location loc, const Parts &parts, int64_t heads) const {
    auto q = splitHeads(parts.q, heads), k = splitHeads(parts.k, heads),
         v = splitHeads(parts.v, heads);
    if (!q || !k || !v)
      return {};
    auto shape = q->layout.shape();
    int64_t scoresShape[] = {shape[0], heads, shape[2], k->layout.shape()[2]};
    // 1. Heads of keys and values that are repeated for neighbouring queries.
    int64_t times = std::min(repeats(k->layout.dims[1]), repeats(v->layout.dims[1]));
    for (auto *side : {&k, &v})
      if (repeats((*side)->layout.dims[1]) % times)
        times = 1;
    for (auto *side : {&k, &v})
      (*side)->layout.dims[1] = cut((*side)->layout.dims[1], times)->first;
    // 2. Masks.
    Type element = tensorType(parts.q.base).getElementType();
    AttentionMask mask(symbols, element, scoresShape, parts.guarded);
    for (const MaskPart &part : parts.masks) {
      auto view = splitHeads(part.view, heads);
      if (!view)
        return {};
      Id id = symbols.of(*view);
      if (!part.fill) {
        mask.add(id, part.factor);
        continue;
      }
      if (part.negated)
        id = symbols.logicalNot(id);
      mask.require(id, *part.fill);
    }
    // 3. Operands.
    Value query = materialize(b, loc, *q), key = materialize(b, loc, *k),
          value = materialize(b, loc, *v), maskValue;
    bool causal = false;
    if (!query || !key || !value || !mask.build(b, loc, causal, maskValue))
      return {};
    return b.create<nn::AttentionOp>(loc, query, key, value, maskValue,
                                     b.getF64FloatAttr(parts.scale),
                                     causal ? b.getUnitAttr() : UnitAttr());
  }

  /// The parts of an nn.attention op that an exporter wrote as one op.
  Parts partsOf(nn::AttentionOp op) const {
    Parts parts;
    parts.q = symbols.peel(matrices(op.getQuery(), false));
    parts.k = matrices(op.getKey(), false);
    parts.v = matrices(op.getValue(), false);
    int64_t heads = shapeOf(op.getQuery())[1], keys = shapeOf(op.getKey())[1];
    // Each key head for its queries.
    for (View *view : {&parts.k, &parts.v})
      if (heads != keys)
        view->layout.dims[0].push_back({heads / keys, 0});
    parts.k = symbols.peel(parts.k);
    parts.v = symbols.peel(parts.v);
    parts.scale = op.getScale().convertToDouble();
    if (Value mask = op.getMask()) {
      auto q = shapeOf(op.getQuery());
      int64_t full[] = {q[0], q[1], q[2], shapeOf(op.getKey())[2]};
      View view = viewOf(mask);
      for (auto [mode, n] : llvm::zip(view.layout.dims, full))
        if (mode.empty() && n != 1)
          mode.push_back({n, 0});
      view.layout.dims[0].append(view.layout.dims[1]);
      view.layout.dims.erase(view.layout.dims.begin() + 1);
      bool isBool = tensorType(mask).getElementType().isInteger(1);
      double infinity = std::numeric_limits<double>::infinity();
      parts.masks.push_back(
          {view, 1, isBool ? std::optional<double>(-infinity) : std::nullopt});
    }
    return parts;
  }
};

struct RaiseAttentionPass : raise::impl::RaiseAttentionBase<RaiseAttentionPass> {
  void runOnOperation() override {
    Symbols symbols;
    Attention attention{symbols};
    SmallVector<Operation *> ops = reversedOps(getOperation());
    for (Operation *op : llvm::reverse(ops)) {
      if (op->use_empty())
        continue;
      if (auto out = dyn_cast<nn::MatmulOp>(op)) {
        if (auto parts = attention.match(out))
          replace(out, attention, *parts);
      } else if (auto old = dyn_cast<nn::AttentionOp>(op)) {
        replace(old, attention);
      }
    }
    eraseDead(getOperation());
  }

  static void replace(nn::MatmulOp out, const Attention &attention, const Parts &parts) {
    OpBuilder b(out);
    auto type = cast<RankedTensorType>(out.getType());
    auto op = attention.build(b, out.getLoc(), parts, attention.heads(parts, type.getShape()));
    if (!op)
      return;
    Value result = op.getResult();
    if (result.getType() != type)
      result = b.create<nn::ReshapeOp>(out.getLoc(), type, result);
    out.getResult().replaceAllUsesWith(result);
  }

  static void replace(nn::AttentionOp old, const Attention &attention) {
    OpBuilder b(old);
    Parts parts = attention.partsOf(old);
    auto op = attention.build(b, old.getLoc(), parts, shapeOf(old.getQuery())[1]);
    if (!op)
      return;
    if (old.getCausal())
      op.setCausal(true);
    old->replaceAllUsesWith(op->getResults());
  }
};
} // namespace
