//===- Rope.cpp - Pairwise rotations to nn.rope --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Matchers.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "moire/Raise/Passes.h"

namespace moire::raise {
#define GEN_PASS_DEF_RAISEROPE
#include "lib/Raise/Passes.h.inc"
} // namespace moire::raise

using namespace mlir;
using namespace moire;
using namespace moire::raise;

using Id = Symbols::Id;

namespace {
/// One of the two products of a rotation's result.
struct Product {
  bool negative;
  View sides[2];
};
using Products = SmallVector<Product, 2>;

/// first = x1*cos - x2*sin, second = x2*cos + x1*sin; `inverse`: with -sin.
struct Rotation {
  View x1, x2;
  Id cos, sin;
  bool inverse;
};

/// The two halves of each rotated pair, as views of the result.
struct Pairs {
  View first, second;
  bool interleaved;
};

struct Rope {
  Symbols &symbols;

  /// `view` as a sum of at most two products.
  bool products(View view, bool negative, Products &out) const {
    view = symbols.peel(view);
    Operation *def = view.base.getDefiningOp();
    if (!def || out.size() > 2)
      return false;
    auto operand = [&](unsigned i) { return View{def->getOperand(i), view.layout}; };
    if (isa<arith::NegFOp>(def))
      return products(operand(0), !negative, out);
    if (isa<arith::AddFOp, arith::SubFOp>(def))
      return products(operand(0), negative, out) &&
             products(operand(1), negative != isa<arith::SubFOp>(def), out);
    if (!isa<arith::MulFOp>(def))
      return false;
    Product p{negative, {}};
    for (unsigned i : {0, 1}) {
      p.sides[i] = symbols.peel(operand(i));
      while (auto neg = p.sides[i].base.getDefiningOp<arith::NegFOp>()) {
        p.negative = !p.negative;
        p.sides[i] = symbols.peel({neg.getOperand(), p.sides[i].layout});
      }
    }
    out.push_back(p);
    return true;
  }

  std::optional<Rotation> rotation(const Pairs &pairs) const {
    Products first, second;
    if (!products(pairs.first, false, first) || first.size() != 2 ||
        !products(pairs.second, false, second) || second.size() != 2)
      return std::nullopt;
    auto id = [&](const View &v) { return symbols.of(v); };
    // Which product has the cosine, and which side of each is the table.
    for (unsigned choice = 0; choice < 32; ++choice) {
      const Product &x1cos = first[choice & 1], &x2sin = first[~choice & 1];
      unsigned c = choice >> 1 & 1, s = choice >> 2 & 1;
      const Product &x2cos = second[choice >> 3 & 1], &x1sin = second[~choice >> 3 & 1];
      Id cos = id(x1cos.sides[c]), sin = id(x2sin.sides[s]);
      Id x1 = id(x1cos.sides[1 - c]), x2 = id(x2sin.sides[1 - s]);
      auto is = [&](const Product &p, Id a, Id b) {
        Id l = id(p.sides[0]), r = id(p.sides[1]);
        return (l == a && r == b) || (l == b && r == a);
      };
      if (!is(x2cos, x2, cos) || !is(x1sin, x1, sin) || x1cos.negative || x2cos.negative ||
          x2sin.negative == x1sin.negative)
        continue;
      Rotation r{x1cos.sides[1 - c], x2sin.sides[1 - s], cos, sin, x1sin.negative};
      if (isTable(cos) && isTable(sin) && r.x1.base == r.x2.base &&
          r.x1.layout.dims == r.x2.layout.dims && r.x1.layout.offset < r.x2.layout.offset)
        return r;
    }
    return std::nullopt;
  }

  /// A table is the same for all heads and gets no derivative.
  bool isTable(Id id) const {
    SmallVector<Value> from;
    symbols.leaves(id, from);
    return headDim(id) && llvm::none_of(from, dependsOnTrained);
  }

  /// The dim of [d0, d1, d2, pair] along which a table does not vary. 3 where
  /// there is no dim of heads: [d0, d1, pair].
  std::optional<unsigned> headDim(Id id) const {
    if (rank == 3)
      return 3;
    for (unsigned d : {1, 2})
      if (!symbols.varies(id, d))
        return d;
    return std::nullopt;
  }

  /// Builds the rotated tensor in the order of `pairs`, as a tensor of shape.
  Value build(OpBuilder &b, Location loc, const Pairs &pairs, Type resultType) {
    rank = pairs.first.layout.dims.size();
    auto r = rotation(pairs);
    if (!r)
      return {};
    unsigned heads = *headDim(r->cos);
    if (*headDim(r->sin) != heads) {
      // Tables of one position fit either dim.
      if (symbols.varies(r->cos, 3 - heads) || symbols.varies(r->sin, heads))
        return {};
    }
    // 1. [B, H, S, D] of the rotated tensor: both halves of each pair.
    SmallVector<int64_t> full = pairs.first.layout.shape();
    Layout x = r->x1.layout;
    Factor both{2, r->x2.layout.offset - r->x1.layout.offset};
    Mode &pair = x.dims.back();
    pair.insert(pairs.interleaved ? pair.end() : pair.begin(), both);
    SmallVector<int64_t> order = {0, 1, 2, 3};
    if (rank == 3) {
      x.dims.insert(x.dims.begin() + 1, Mode());
      full.insert(full.begin() + 1, 1);
    } else if (heads == 2) {
      std::swap(x.dims[1], x.dims[2]);
      std::swap(order[1], order[2]);
    }
    // 2. The tables, [B or 1, S, D/2].
    int64_t positions = full[heads == 2 ? 1 : 2], batch = 1;
    if (symbols.varies(r->cos, 0) || symbols.varies(r->sin, 0))
      batch = full[0];
    unsigned positionDim = rank == 3 || heads == 2 ? 1 : 2;
    auto table = [&](Id id) {
      return symbols.materialize(b, loc, id, {batch, positions, full.back()},
                                 {0, positionDim, rank - 1});
    };
    Value input = materialize(b, loc, {r->x1.base, x});
    Value cos = table(r->cos), sin = table(r->sin);
    if (!input || !cos || !sin)
      return {};
    Value y = b.create<nn::RopeOp>(loc, input, cos, sin,
                                   pairs.interleaved ? b.getUnitAttr() : UnitAttr(),
                                   r->inverse ? b.getUnitAttr() : UnitAttr());
    // 3. Back in the order of the ops replaced.
    if (heads == 2)
      y = b.create<nn::TransposeOp>(loc, y, order);
    return y.getType() == resultType ? y : b.create<nn::ReshapeOp>(loc, resultType, y).getResult();
  }

  unsigned rank = 0;
};

struct RaiseRopePass : raise::impl::RaiseRopeBase<RaiseRopePass> {
  void runOnOperation() override {
    Symbols symbols;
    for (Operation *op : reversedOps(getOperation())) {
      if (!isa<arith::AddFOp, nn::ConcatOp>(op) || op->use_empty())
        continue;
      auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
      if (!type || !isa<FloatType>(type.getElementType()))
        continue;
      if (Value raised = raiseResult(op, type, symbols))
        op->getResult(0).replaceAllUsesWith(raised);
    }
    eraseDead(getOperation());
  }

  static Value raiseResult(Operation *op, RankedTensorType type, Symbols &symbols) {
    Value v = op->getResult(0);
    OpBuilder builder(op);
    Rope rope{symbols};
    int64_t rank = type.getRank();
    auto attempt = [&](Layout first, int64_t distance, bool interleaved) -> Value {
      Layout second = first;
      second.offset += distance;
      return rope.build(builder, op->getLoc(), {{v, first}, {v, second}, interleaved}, type);
    };
    // Pairs (i, i + D/2) or (2i, 2i + 1) of the last dim.
    if ((rank == 3 || rank == 4) && type.getShape().back() % 2 == 0 &&
        type.getShape().back() > 2) {
      int64_t half = type.getShape().back() / 2;
      Layout halves = Layout::rowMajor(type.getShape());
      halves.dims.back() = {{half, 1}};
      if (Value y = attempt(halves, half, false))
        return y;
      Layout even = Layout::rowMajor(type.getShape());
      even.dims.back() = {{half, 2}};
      if (Value y = attempt(even, 1, true))
        return y;
    }
    // Pairs stacked along a last dim of their own.
    if ((rank == 4 || rank == 5) && type.getShape().back() == 2) {
      Layout stacked = Layout::rowMajor(type.getShape());
      stacked.dims.pop_back();
      if (Value y = attempt(stacked, 1, true))
        return y;
    }
    return {};
  }
};
} // namespace
