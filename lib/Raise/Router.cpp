//===- Router.cpp - Scores, choice and weights to nn.router --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "ExpertRows.h"

using namespace mlir;
using namespace moire;
using namespace moire::raise;

using Id = Symbols::Id;

namespace {
/// nn.router's operands and attributes.
struct Router {
  Value logits; ///< [T, E], perhaps with more dims in front
  std::optional<Id> bias;
  nn::Scoring scoring = nn::Scoring::softmax;
  bool normalize = false;
  double epsilon = 0;
  double scale = 1;
};

struct RouterMatcher {
  Symbols &symbols;
  int64_t tokens, k;

  /// The op of type OpTy of whose result (the first, [T, n]) `id` is the whole.
  template <typename OpTy>
  OpTy whole(Id id) const {
    const auto &n = symbols[id];
    if (n.kind != Symbols::Kind::Leaf)
      return {};
    auto op = n.base.getDefiningOp<OpTy>();
    auto shape = n.layout.shape();
    return op && n.base == op->getResult(0) && n.layout == Layout::rowMajor(shape) &&
                   tensorType(n.base).getNumElements() == ShapedType::getNumElements(shape)
               ? op
               : nullptr;
  }

  /// `v`, whose last dim has size n, over [T, n].
  View flat(Value v) const {
    int64_t n = shapeOf(v).back();
    return {v, Layout::rowMajor({tensorType(v).getNumElements() / n, n})};
  }

  /// `sum` is the sum of `id` over the choices, plus an epsilon.
  bool isSumOf(Id sum, Id id, double &epsilon) const {
    if (symbols.isOp(sum, "arith.addf"))
      for (unsigned i : {0, 1})
        if (auto c = symbols.scalar(symbols[sum].operands[i])) {
          epsilon = *c;
          sum = symbols[sum].operands[1 - i];
          break;
        }
    const auto &n = symbols[sum];
    auto reduce = n.kind == Symbols::Kind::Leaf ? n.base.getDefiningOp<nn::ReduceOp>() : nullptr;
    if (!reduce || reduce.getKind() != nn::ReduceKind::sum || symbols.varies(sum, 1))
      return false;
    View row{n.base, n.layout};
    row.layout.dims.pop_back();
    auto input = reducedView(row, reduce);
    return input && symbols.of(*input) == id;
  }

  /// Takes off the scale and the normalization; what is left is the score.
  Id score(Id id, Router &router) const {
    while (symbols.isOp(id, "arith.mulf")) {
      const auto &n = symbols[id];
      std::optional<Id> rest;
      for (unsigned i : {0, 1})
        if (auto c = symbols.scalar(n.operands[i]); c && !rest) {
          router.scale *= *c;
          rest = n.operands[1 - i];
        }
      if (!rest)
        break;
      id = *rest;
    }
    double epsilon = 0;
    if (symbols.isOp(id, "arith.divf") &&
        isSumOf(symbols[id].operands[1], symbols[id].operands[0], epsilon)) {
      router.normalize = true;
      router.epsilon = epsilon;
      return symbols[id].operands[0];
    }
    if (symbols.isOp(id, "arith.mulf"))
      for (unsigned i : {0, 1}) {
        Id value = symbols[id].operands[i], inverse = symbols[id].operands[1 - i];
        if (symbols.isOp(inverse, "arith.divf") &&
            symbols.scalar(symbols[inverse].operands[0]) == 1.0 &&
            isSumOf(symbols[inverse].operands[1], value, epsilon)) {
          router.normalize = true;
          router.epsilon = epsilon;
          return value;
        }
      }
    return id;
  }

  /// What the scores over all experts are made of.
  bool scores(Id id, Router &router) const {
    if (auto softmax = whole<nn::SoftmaxOp>(id)) {
      router.scoring = nn::Scoring::softmax;
      router.logits = softmax.getInput();
      return true;
    }
    if (symbols.isOp(id, "nn.sigmoid")) {
      router.scoring = nn::Scoring::sigmoid;
      const View &origin = symbols[id].origin;
      auto sigmoid = origin.base ? origin.base.getDefiningOp<nn::SigmoidOp>() : nullptr;
      if (!sigmoid || origin.layout != flat(sigmoid.getResult()).layout.coalesced())
        return false;
      router.logits = sigmoid.getInput();
      return true;
    }
    return false;
  }

  std::optional<Router> match(Id weights, Id ids) const {
    // 1. The choice.
    const auto &chosen = symbols[ids];
    auto top = chosen.kind == Symbols::Kind::Leaf ? chosen.base.getDefiningOp<nn::TopKOp>()
                                                  : nullptr;
    if (!top || chosen.base != top.getIndices() || top.getSmallest() ||
        (int64_t)top.getK() != k || chosen.layout != flat(top.getIndices()).layout.coalesced())
      return std::nullopt;
    Router router;
    Id value = score(weights, router);
    Id ranked = symbols.of(flat(top.getInput()));
    // 2. The weights are the chosen scores themselves,
    if (whole<nn::TopKOp>(value) == top)
      return scores(ranked, router) ? std::optional(router) : std::nullopt;
    // the softmax over the chosen logits,
    if (auto softmax = whole<nn::SoftmaxOp>(value)) {
      if (whole<nn::TopKOp>(symbols.of(flat(softmax.getInput()))) != top)
        return std::nullopt;
      router.scoring = nn::Scoring::softmax_selected;
      router.logits = top.getInput();
      return router;
    }
    // or looked up among scores, while the choice saw a bias too.
    auto lookup = whole<nn::GatherElementsOp>(value);
    if (!lookup || (int64_t)lookup.getAxis() != tensorType(lookup.getInput()).getRank() - 1 ||
        symbols.of(flat(lookup.getIndices())) != ids)
      return std::nullopt;
    Id plain = symbols.of(flat(lookup.getInput()));
    if (!scores(plain, router))
      return std::nullopt;
    if (ranked == plain)
      return router;
    if (symbols.isOp(ranked, "arith.addf"))
      for (unsigned i : {0, 1})
        if (symbols[ranked].operands[i] == plain &&
            !symbols.varies(symbols[ranked].operands[1 - i], 0)) {
          router.bias = symbols[ranked].operands[1 - i];
          return router;
        }
    return std::nullopt;
  }
};
} // namespace

RouterValues moire::raise::raiseRouter(Symbols &symbols, OpBuilder &b, Location loc, Id weights,
                                       Id ids, int64_t tokens, int64_t k) {
  RouterMatcher matcher{symbols, tokens, k};
  auto router = matcher.match(weights, ids);
  if (!router || !(router->epsilon >= 0))
    return {};
  Value logits = materialize(b, loc, matcher.flat(router->logits));
  int64_t experts = shapeOf(logits)[1];
  Value bias;
  if (router->bias && !(bias = symbols.materialize(b, loc, *router->bias, {experts}, {1})))
    return {};
  if (shapeOf(logits)[0] != tokens)
    return {};
  auto op = b.create<nn::RouterOp>(
      loc, logits, bias, b.getI64IntegerAttr(k),
      nn::ScoringAttr::get(b.getContext(), router->scoring),
      router->normalize ? b.getUnitAttr() : UnitAttr(), b.getF64FloatAttr(router->epsilon),
      b.getF64FloatAttr(router->scale));
  return {op.getWeights(), op.getIds()};
}
