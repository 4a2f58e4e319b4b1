//===- Norms.cpp - RMS norm and layer norm from their parts --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Matchers.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "moire/Raise/Passes.h"

namespace moire::raise {
#define GEN_PASS_DEF_RAISENORMS
#include "lib/Raise/Passes.h.inc"
} // namespace moire::raise

using namespace mlir;
using namespace moire;
using namespace moire::raise;

using Id = Symbols::Id;

namespace {
/// 1 / sqrt(mean(input^2) + epsilon), found in a product.
struct InverseRoot {
  Id input;         ///< x
  View inputView;   ///< where x was squared
  double epsilon;
};

/// One factor of a product; `inverse`: a divisor.
struct Factored {
  Id id;
  bool inverse;
};

struct Norms {
  Symbols &symbols;
  unsigned last; ///< the normalized dim of the value at hand
  int64_t size;  ///< its size

  bool isVector(Id id) const { return (symbols[id].varying & ~(1ull << last)) == 0; }
  bool isPerRow(Id id) const { return !symbols.varies(id, last); }

  /// The factors of `id`, of which `stop` is not taken apart.
  void factors(Id id, std::optional<Id> stop, bool inverse, SmallVectorImpl<Factored> &out) const {
    const auto &n = symbols[id];
    if (id != stop && out.size() < 8) {
      if (symbols.isOp(id, "arith.mulf")) {
        factors(n.operands[0], stop, inverse, out);
        factors(n.operands[1], stop, inverse, out);
        return;
      }
      if (symbols.isOp(id, "arith.divf")) {
        factors(n.operands[0], stop, inverse, out);
        factors(n.operands[1], stop, !inverse, out);
        return;
      }
    }
    if (symbols.scalar(id) != 1.0)
      out.push_back({id, inverse});
  }

  /// What `id` is the mean of over the last dim.
  std::optional<View> meanOf(Id id) const {
    double divisor = 1;
    for (unsigned i : {0, 1}) {
      if (!symbols.isOp(id, "arith.mulf") && !symbols.isOp(id, "arith.divf"))
        return std::nullopt;
      const auto &n = symbols[id];
      auto c = symbols.scalar(n.operands[1 - i]);
      if (!c || (i == 1 && symbols.isOp(id, "arith.divf")))
        continue;
      divisor = symbols.isOp(id, "arith.divf") ? *c : 1 / *c;
      id = n.operands[i];
      break;
    }
    const auto &n = symbols[id];
    if (n.kind != Symbols::Kind::Leaf || std::abs(divisor / size - 1) > 1e-5)
      return std::nullopt;
    auto reduce = n.base.getDefiningOp<nn::ReduceOp>();
    if (!reduce || reduce.getKind() != nn::ReduceKind::sum)
      return std::nullopt;
    View row{n.base, n.layout};
    if (row.layout.dims.size() != last + 1)
      return std::nullopt;
    row.layout.dims.pop_back();
    auto view = reducedView(row, reduce);
    if (!view || sizeOf(view->layout.dims.back()) != size)
      return std::nullopt;
    return view;
  }

  /// What is squared, where `view` holds squares.
  std::optional<View> squared(View view) const {
    view = symbols.peel(view);
    Operation *def = view.base.getDefiningOp();
    if (!def)
      return std::nullopt;
    if (auto mul = dyn_cast<arith::MulFOp>(def)) {
      View a = symbols.peel({mul.getLhs(), view.layout});
      if (symbols.of(a) == symbols.of(View{mul.getRhs(), view.layout}))
        return a;
    }
    if (def->getName().getStringRef() == "math.powf" && splatOf(def->getOperand(1)) == 2.0)
      return symbols.peel({def->getOperand(0), view.layout});
    return std::nullopt;
  }

  /// The inverse root that `f` is.
  std::optional<InverseRoot> inverseRoot(const Factored &f) const {
    const auto &n = symbols[f.id];
    if (!isPerRow(f.id) || n.kind != Symbols::Kind::Op)
      return std::nullopt;
    auto power = [&](double p) {
      return symbols.isOp(f.id, "math.powf") && symbols.scalar(n.operands[1]) == p;
    };
    std::optional<Id> sum;
    if (f.inverse ? symbols.isOp(f.id, "math.sqrt") || power(0.5)
                  : symbols.isOp(f.id, "math.rsqrt") || power(-0.5))
      sum = n.operands[0];
    // sqrt(1 / s)
    if (!f.inverse && symbols.isOp(f.id, "math.sqrt") &&
        symbols.isOp(n.operands[0], "arith.divf") &&
        symbols.scalar(symbols[n.operands[0]].operands[0]) == 1.0)
      sum = symbols[n.operands[0]].operands[1];
    if (!sum || !symbols.isOp(*sum, "arith.addf"))
      return std::nullopt;
    for (unsigned i : {0, 1}) {
      auto epsilon = symbols.scalar(symbols[*sum].operands[i]);
      if (!epsilon || !(*epsilon > 0))
        continue;
      auto squares = meanOf(symbols[*sum].operands[1 - i]);
      auto input = squares ? squared(*squares) : std::nullopt;
      if (!input)
        return std::nullopt;
      return InverseRoot{symbols.of(*input), *input, *epsilon};
    }
    return std::nullopt;
  }

  /// x, where `view` is x - mean(x).
  std::optional<View> centred(const View &view) const {
    auto sub = view.base.getDefiningOp<arith::SubFOp>();
    if (!sub)
      return std::nullopt;
    auto mean = meanOf(symbols.of(View{sub.getRhs(), view.layout}));
    View x = symbols.peel({sub.getLhs(), view.layout});
    if (!mean || symbols.of(*mean) != symbols.of(x))
      return std::nullopt;
    return x;
  }

  /// One row's worth of a value that is the same in all rows.
  Value vector(OpBuilder &b, Location loc, Id id) const {
    return symbols.materialize(b, loc, id, {size}, {last});
  }

  /// The normalization that the product `id` is, with `bias` added.
  Value build(OpBuilder &b, Operation *root, Id id, std::optional<Id> bias) const {
    // 1. The inverse root says what x is.
    SmallVector<Factored> all;
    factors(id, std::nullopt, false, all);
    std::optional<InverseRoot> inverse;
    Id rootId = 0;
    for (const Factored &f : all)
      if (!inverse && (inverse = inverseRoot(f)))
        rootId = f.id;
    if (!inverse)
      return {};
    // 2. x once, the root once, vectors otherwise.
    SmallVector<Factored> exact;
    factors(id, inverse->input, false, exact);
    SmallVector<Id> scales;
    bool sawInput = false, sawRoot = false;
    for (const Factored &f : exact) {
      if (!sawInput && f.id == inverse->input && !f.inverse)
        sawInput = true;
      else if (!sawRoot && f.id == rootId)
        sawRoot = true;
      else if (isVector(f.id) && !f.inverse && !symbols.scalar(f.id))
        scales.push_back(f.id);
      else
        return {};
    }
    auto x = centred(inverse->inputView);
    if (!sawInput || !sawRoot || scales.size() > 1 || (bias && !x))
      return {};
    // 3. Build it.
    Location loc = root->getLoc();
    Value result = root->getResult(0);
    Value input = materialize(b, loc, x ? *x : inverse->inputView);
    Value scale = scales.empty() ? Value() : vector(b, loc, scales[0]);
    Value shift = bias ? vector(b, loc, *bias) : Value();
    if (!input || (!scales.empty() && !scale) || (bias && !shift))
      return {};
    if (input.getType() != result.getType())
      return {};
    auto epsilon = b.getF64FloatAttr(inverse->epsilon);
    if (x)
      return b.create<nn::LayerNormOp>(loc, input, scale, shift, epsilon);
    return b.create<nn::RMSNormOp>(loc, input, scale, epsilon);
  }
};

struct RaiseNormsPass : raise::impl::RaiseNormsBase<RaiseNormsPass> {
  void runOnOperation() override {
    Symbols symbols;
    // From the end, so that a product is met with all its factors.
    for (Operation *op : reversedOps(getOperation())) {
      if (!isa<arith::MulFOp, arith::DivFOp, arith::AddFOp>(op) || op->use_empty())
        continue;
      auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
      if (!type || type.getRank() < 1)
        continue;
      Norms norms{symbols, (unsigned)type.getRank() - 1, type.getShape().back()};
      OpBuilder builder(op);
      Id id = symbols.of(op->getResult(0));
      Value raised;
      if (isa<arith::AddFOp>(op)) {
        if (!symbols.isOp(id, "arith.addf"))
          continue;
        for (unsigned i : {0, 1}) {
          Id bias = symbols[id].operands[1 - i];
          if (!raised && norms.isVector(bias) && !symbols.scalar(bias))
            raised = norms.build(builder, op, symbols[id].operands[i], bias);
        }
      } else {
        raised = norms.build(builder, op, id, std::nullopt);
      }
      if (raised)
        op->getResult(0).replaceAllUsesWith(raised);
    }
    eraseDead(getOperation());
  }
};
} // namespace
