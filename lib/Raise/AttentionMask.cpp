//===- AttentionMask.cpp - What a mask hides, taken apart ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "AttentionMask.h"
#include "Matchers.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace moire;
using namespace moire::raise;

using Id = Symbols::Id;

/// Numbers below this hide: a score of usual size added to one is lost in
/// rounding, and its exponential is 0 beside any other.
static constexpr double kHides = -1e30;

void AttentionMask::add(Id id, double factor) { added.push_back({id, factor}); }
void AttentionMask::require(Id id, double fill) { required.push_back({id, fill}); }

void AttentionMask::conjuncts(Id id, SmallVectorImpl<Id> &out) {
  // A copy: new nodes may come.
  auto operands = symbols[id].operands;
  if (symbols.isOp(id, "arith.andi")) {
    for (Id o : operands)
      conjuncts(o, out);
    return;
  }
  // not (a or b): not a, not b
  if (symbols.isOp(id, "arith.xori"))
    for (unsigned i : {0, 1})
      if (symbols.scalar(operands[i]) == 1.0 && symbols.isOp(operands[1 - i], "arith.ori")) {
        auto either = symbols[operands[1 - i]].operands;
        for (Id o : either)
          conjuncts(symbols.logicalNot(o), out);
        return;
      }
  if (symbols.scalar(id) != 1.0 && !llvm::is_contained(out, id)) {
    out.push_back(id);
  }
}

/// Takes the conditions out of a number that is added.
void AttentionMask::split(Id id, double factor, SmallVectorImpl<Condition> &conditions,
                          SmallVectorImpl<Addend> &rest) {
  const auto n = symbols[id];
  // The same number everywhere changes no softmax.
  if (auto c = symbols.scalar(id); c && std::isfinite(*c * factor))
    return;
  if (symbols.isOp(id, "arith.addf")) {
    split(n.operands[0], factor, conditions, rest);
    split(n.operands[1], factor, conditions, rest);
    return;
  }
  if (symbols.isOp(id, "arith.select"))
    for (unsigned i : {1, 2})
      if (auto fill = symbols.scalar(n.operands[i]); fill && *fill * factor < kHides) {
        Id where = i == 2 ? n.operands[0] : symbols.logicalNot(n.operands[0]);
        conditions.push_back({where, *fill * factor});
        split(n.operands[3 - i], factor, conditions, rest);
        return;
      }
  if (symbols.isOp(id, "arith.mulf"))
    for (unsigned i : {0, 1})
      if (auto c = symbols.scalar(n.operands[i])) {
        split(n.operands[1 - i], *c * factor, conditions, rest);
        return;
      }
  rest.push_back({id, factor});
}

/// j <= i, exactly.
bool AttentionMask::isCausal(Id id) const {
  const auto &n = symbols[id];
  Layout want;
  want.dims = {{}, {}, coalesce({{scores[2], 1}}), coalesce({{scores[3], -1}})};
  Layout have = n.layout;
  for (Mode &m : have.dims)
    if (isConstant(m))
      m.clear();
  return n.kind == Symbols::Kind::NonNegative && have == want;
}

/// Query i may attend to key i, for all i.
bool AttentionMask::seesItself(Id id) const {
  const auto &n = symbols[id];
  if (n.kind != Symbols::Kind::NonNegative || scores[2] > scores[3])
    return false;
  const Layout &l = n.layout;
  auto stride = [&](unsigned d) -> std::optional<int64_t> {
    if (isConstant(l.dims[d]))
      return 0;
    return l.dims[d].size() == 1 ? std::optional(l.dims[d][0].stride) : std::nullopt;
  };
  auto q = stride(2), k = stride(3);
  if (symbols.varies(id, 0) || symbols.varies(id, 1) || !q || !k)
    return false;
  return l.offset >= 0 && l.offset + (scores[2] - 1) * (*q + *k) >= 0;
}

SmallVector<int64_t> AttentionMask::shapeFor(ArrayRef<Id> ids) const {
  SmallVector<int64_t> shape(4, 1);
  for (Id id : ids)
    for (unsigned d = 0; d < 4; ++d)
      if (symbols.varies(id, d))
        shape[d] = scores[d];
  return shape;
}

Id AttentionMask::combine(StringRef name, Type type, ArrayRef<Id> ids) {
  Id all = ids.front();
  for (Id id : ids.drop_front())
    all = symbols.op(OperationName(name, type.getContext()), DictionaryAttr::get(type.getContext()),
                     type, {all, id});
  return all;
}

bool AttentionMask::build(OpBuilder &b, Location loc, bool &causal, Value &mask) {
  // A weaker fill than the customary -10000 is not meant to hide.
  if (llvm::any_of(required, [](const Condition &c) { return !(c.fill <= -1e4); }))
    return false;
  // 1. Take the addends apart.
  SmallVector<Condition> conditions(required.begin(), required.end());
  SmallVector<Addend> rest;
  for (const Addend &a : added)
    split(a.id, a.factor, conditions, rest);
  SmallVector<Id> hard;
  bool finite = false, sees = rest.empty();
  for (const Condition &c : conditions) {
    finite |= std::isfinite(c.fill);
    conjuncts(c.id, hard);
  }
  for (Id id : hard)
    sees &= seesItself(id);
  // 2. Finite numbers are conditions only where no row is hidden entirely, or
  // where such a row gives 0 anyway; else they are added as they stand.
  Type i1 = b.getI1Type();
  if (finite && !guarded && !sees) {
    hard.clear();
    rest.clear();
    llvm::append_range(rest, added);
    for (const Condition &c : required) {
      // Absorbed by rounding, so that adding is replacing.
      if (!(c.fill < kHides))
        return false;
      auto number = [&](double v) { return symbols.constant(FloatAttr::get(element, v)); };
      Id id = symbols.op(OperationName("arith.select", b.getContext()), b.getDictionaryAttr({}),
                         element, {c.id, number(0), number(c.fill)});
      rest.push_back({id, 1});
    }
  }
  // 3. The causal triangle. What else is required is so only within it.
  causal = false;
  SmallVector<Id> within;
  for (Id id : hard)
    causal |= isCausal(id);
  for (Id id : hard) {
    if (isCausal(id))
      continue;
    for (Id triangle : hard)
      if (isCausal(triangle))
        id = symbols.substitute(id, triangle, symbols.constant(b.getBoolAttr(true)));
    conjuncts(id, within);
  }
  hard = within;
  // 4. The rest along the dims that it needs.
  SmallVector<Id> sum;
  for (const Addend &a : rest) {
    SmallVector<Value> from;
    symbols.leaves(a.id, from);
    if (llvm::any_of(from, dependsOnTrained))
      return false;
    Id factor = symbols.constant(FloatAttr::get(element, a.factor));
    sum.push_back(a.factor == 1 ? a.id : combine("arith.mulf", element, {a.id, factor}));
  }
  mask = {};
  if (hard.empty() && sum.empty())
    return true;
  Id all;
  if (sum.empty()) {
    all = combine("arith.andi", i1, hard);
  } else {
    all = combine("arith.addf", element, sum);
    if (!hard.empty()) {
      double infinity = std::numeric_limits<double>::infinity();
      all = symbols.op(OperationName("arith.select", b.getContext()), b.getDictionaryAttr({}),
                       element,
                       {combine("arith.andi", i1, hard), all,
                        symbols.constant(FloatAttr::get(element, -infinity))});
    }
  }
  mask = symbols.materialize(b, loc, all, shapeFor({all}), {0, 1, 2, 3});
  return (bool)mask;
}
