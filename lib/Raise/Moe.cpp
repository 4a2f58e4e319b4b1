//===- Moe.cpp - Experts' matrices gathered per token to routed rows -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "ExpertRows.h"
#include "dialects/pipe/Pipe.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "moire/Raise/Passes.h"
#include "moire/Support/Recipes.h"

namespace moire::raise {
#define GEN_PASS_DEF_RAISEMOE
#include "lib/Raise/Passes.h.inc"
} // namespace moire::raise

using namespace mlir;
using namespace moire;
using namespace moire::raise;

using Id = Symbols::Id;

namespace {
/// A sum over choices as a form's matcher found it: `rows` over [T, K, H], the
/// factors over [T, K] that weight them, and the op whose result it is.
struct Combine {
  Operation *root;
  int64_t tokens, k;
  View rows;
  SmallVector<View> weights;
};
} // namespace

/// Moves factors that are the same along a row from `rows` to `weights`.
static void splitWeights(Symbols &symbols, Combine &c) {
  while (true) {
    c.rows = symbols.peel(c.rows);
    auto mul = c.rows.base.getDefiningOp<arith::MulFOp>();
    if (!mul)
      return;
    bool found = false;
    for (Value side : {mul.getLhs(), mul.getRhs()}) {
      View view = symbols.peel({side, c.rows.layout});
      if (found || !isConstant(view.layout.dims[2]))
        continue;
      found = true;
      view.layout.dims.pop_back();
      c.weights.push_back(view);
      c.rows = {side == mul.getLhs() ? mul.getRhs() : mul.getLhs(), c.rows.layout};
    }
    if (!found)
      return;
  }
}

/// The batched form: sum over one dim of a tensor [..., k, ..., H].
static std::optional<Combine> matchSum(Symbols &symbols, nn::ReduceOp reduce) {
  auto shape = shapeOf(reduce.getInput());
  if (reduce.getKind() != nn::ReduceKind::sum || reduce.getDims().size() != 1 ||
      shape.size() < 3 || !isa<FloatType>(tensorType(reduce.getResult()).getElementType()))
    return std::nullopt;
  int64_t dim = reduce.getDims()[0], rank = shape.size();
  if (dim == rank - 1)
    return std::nullopt;
  Layout whole = Layout::rowMajor(shape), layout;
  layout.dims.resize(3);
  for (int64_t d = 0; d + 1 < rank; ++d)
    llvm::append_range(layout.dims[d == dim], whole.dims[d]);
  layout.dims[2] = whole.dims.back();
  Combine c{reduce, 0, shape[dim], {reduce.getInput(), layout.coalesced()}, {}};
  c.tokens = sizeOf(c.rows.layout.dims[0]);
  splitWeights(symbols, c);
  return c;
}

/// The same as a product: weights [T, 1, K] x rows [T, K, H].
static std::optional<Combine> matchProduct(Symbols &symbols, nn::MatmulOp op) {
  auto lhs = shapeOf(op.getLhs()), rhs = shapeOf(op.getRhs()), out = shapeOf(op.getResult());
  if (lhs.size() != rhs.size() || lhs.size() < 3 || out[out.size() - 2] != 1)
    return std::nullopt;
  int64_t k = lhs[lhs.size() - (op.getTransposeLhs() ? 2 : 1)], h = out.back();
  int64_t tokens = tensorType(op.getLhs()).getNumElements() / k;
  Combine c{op, tokens, k, {op.getRhs(), {}}, {}};
  Mode row{{k, op.getTransposeRhs() ? 1 : h}}, column{{h, op.getTransposeRhs() ? k : 1}};
  c.rows.layout.dims = {{{tokens, k * h}}, row, column};
  c.rows.layout = c.rows.layout.coalesced();
  splitWeights(symbols, c);
  c.weights.push_back({op.getLhs(), Layout::rowMajor({tokens, k})});
  return c;
}

namespace {
struct RaiseMoePass : raise::impl::RaiseMoeBase<RaiseMoePass> {
  void runOnOperation() override {
    Symbols symbols;
    for (Operation *op : reversedOps(getOperation())) {
      std::optional<Combine> combine;
      if (auto reduce = dyn_cast<nn::ReduceOp>(op))
        combine = matchSum(symbols, reduce);
      else if (auto matmul = dyn_cast<nn::MatmulOp>(op))
        combine = matchProduct(symbols, matmul);
      if (combine && !op->use_empty())
        if (Value raised = build(symbols, *combine))
          op->getResult(0).replaceAllUsesWith(raised);
    }
    eraseDead(getOperation());
    for (Operation &op : getOperation().getBody().front())
      if (auto gather = dyn_cast<nn::GatherOp>(op))
        report(symbols, gather);
  }

  /// Rebuilds the experts on routed rows; null where they do not fit.
  static Value build(Symbols &symbols, const Combine &c) {
    OpBuilder b(c.root);
    Location loc = c.root->getLoc();
    ExpertRows rows(symbols, b, loc, c.tokens, c.k);
    auto ids = rows.findIds(c.rows);
    if (!ids)
      return {};
    // 1. The weights: all factors, as one expression over [T, K].
    std::optional<Id> weights;
    for (const View &view : c.weights) {
      Id id = symbols.of(view);
      weights = weights ? symbols.op(OperationName(arith::MulFOp::getOperationName(),
                                                   b.getContext()),
                                     b.getDictionaryAttr({}), symbols[id].type, {*weights, id})
                        : id;
    }
    // 2. The router, or its parts as they are.
    RouterValues router;
    if (weights)
      router = raiseRouter(symbols, b, loc, *weights, ids->id, c.tokens, c.k);
    if (!router.ids) {
      router.ids = symbols.materialize(b, loc, ids->id, {c.tokens, c.k}, {0, 1});
      if (weights)
        router.weights = symbols.materialize(b, loc, *weights, {c.tokens, c.k}, {0, 1});
      if (!router.ids || (weights && !router.weights))
        return {};
    }
    // 3. The experts.
    rows.route(*ids, router.ids);
    Value y = rows.rebuild(c.rows);
    if (!y)
      return {};
    Value result = b.create<nn::CombineOp>(loc, y, router.weights, rows.routing());
    Type type = c.root->getResult(0).getType();
    return result.getType() == type ? result : b.create<nn::ReshapeOp>(loc, type, result);
  }

  /// Warns of experts' matrices that are copied once per token.
  static void report(Symbols &symbols, nn::GatherOp gather) {
    auto table = tensorType(gather.getTable());
    if (table.getRank() < 3)
      return;
    View source = symbols.peel(viewOf(gather.getTable()));
    auto read = source.base.getDefiningOp<pipe::ReadOp>();
    SmallVector<Value> from;
    symbols.leaves(symbols.of(gather.getIndices()), from);
    bool routed = llvm::any_of(from, [](Value v) {
      return isa_and_present<nn::TopKOp, nn::RouterOp>(v.getDefiningOp());
    });
    if (read && routed)
      gather.emitWarning() << "the matrices of the " << table.getDimSize(0) << " experts in '"
                           << read.getParameter() << "' are copied for each of "
                           << tensorType(gather.getIndices()).getNumElements()
                           << " tokens and choices, because what follows is not recognised as a "
                              "mixture of experts; export the model with batched experts"
                           << recipe("experts");
  }
};
} // namespace
