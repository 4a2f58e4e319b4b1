//===- SymbolicFolds.cpp - What index and mask arithmetic comes to -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"
#include "moire/Raise/Symbolic.h"

using namespace mlir;
using namespace moire;
using namespace moire::raise;

using Id = Symbols::Id;
using Bounds = std::pair<int64_t, int64_t>;

Id Symbols::boolean(MLIRContext *context, bool value) {
  return constant(IntegerAttr::get(IntegerType::get(context, 1), value ? 1 : 0));
}

Id Symbols::nonNegative(const Layout &layout, MLIRContext *context) {
  Layout l = layout.coalesced();
  auto [lo, hi] = l.range();
  if (lo >= 0 || hi < 0)
    return boolean(context, lo >= 0);
  Node n;
  n.kind = Kind::NonNegative;
  n.type = IntegerType::get(context, 1);
  n.layout = std::move(l);
  return intern(std::move(n));
}

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

namespace {
/// A band of a matrix: row - column + upper >= 0 and column - row + lower >= 0.
/// A missing bound holds everywhere.
struct Band {
  std::optional<int64_t> upper;
  std::optional<int64_t> lower;
};
} // namespace

/// The band in which `inside` (rows x columns, row-major) is true.
static std::optional<Band> bandOf(ArrayRef<bool> inside, int64_t rows, int64_t columns) {
  Band band;
  SmallVector<Bounds> windows;
  for (int64_t r = 0; r < rows; ++r) {
    auto row = inside.slice(r * columns, columns);
    int64_t first = std::find(row.begin(), row.end(), true) - row.begin();
    int64_t last = columns - 1;
    while (last >= 0 && !row[last])
      --last;
    if (llvm::count(row, true) != std::max<int64_t>(0, last - first + 1))
      return std::nullopt;
    windows.push_back({first, last});
    // A bound that cuts a row and is not the matrix's edge tells the band's.
    if (first <= last && last < columns - 1)
      band.upper = last - r;
    if (first <= last && first > 0)
      band.lower = r - first;
  }
  for (int64_t r = 0; r < rows; ++r) {
    auto [first, last] = windows[r];
    int64_t lo = band.lower ? std::max<int64_t>(0, r - *band.lower) : 0;
    int64_t hi = band.upper ? std::min(columns - 1, r + *band.upper) : columns - 1;
    if (first > last ? lo <= hi : (lo != first || hi != last))
      return std::nullopt;
  }
  return band;
}

Id Symbols::expandConstant(Operation *def, const View &view) {
  auto type = cast<RankedTensorType>(view.base.getType());
  Type element = type.getElementType();
  MLIRContext *context = type.getContext();
  Id whole = leaf(view);
  DenseElementsAttr dense;
  if (!matchPattern(def, m_Constant(&dense)))
    return whole;
  if (dense.isSplat())
    return constant(cast<TypedAttr>(dense.getSplatValue<Attribute>()));

  if (element.isInteger(64)) {
    SmallVector<int64_t> values(dense.getValues<int64_t>());
    if (auto d = digitsOf(values))
      if (auto l = compose(view.layout, d->second, d->first))
        return index(*l, element);
    return whole;
  }
  // A matrix of two values, one of them inside a band.
  if (type.getRank() < 2)
    return whole;
  int64_t rows = type.getDimSize(type.getRank() - 2), columns = type.getShape().back();
  if (rows * columns != type.getNumElements())
    return whole;
  SmallVector<Factor> rowMinusColumn = {{rows, 1}, {columns, -1}};
  SmallVector<Factor> columnMinusRow = {{rows, -1}, {columns, 1}};
  auto inBand = [&](ArrayRef<bool> inside) -> std::optional<Id> {
    auto band = bandOf(inside, rows, columns);
    if (!band)
      return std::nullopt;
    Id all = boolean(context, true);
    auto andName = OperationName(arith::AndIOp::getOperationName(), context);
    auto none = DictionaryAttr::get(context);
    for (auto [bound, inner] : {std::make_pair(band->upper, rowMinusColumn),
                                std::make_pair(band->lower, columnMinusRow)}) {
      if (!bound)
        continue;
      auto l = compose(view.layout, inner, *bound);
      if (!l)
        return std::nullopt;
      all = op(andName, none, IntegerType::get(context, 1), {all, nonNegative(*l, context)});
    }
    return all;
  };
  if (element.isInteger(1)) {
    SmallVector<bool> inside(dense.getValues<bool>());
    return inBand(inside).value_or(whole);
  }
  if (isa<FloatType>(element)) {
    auto values = dense.getValues<APFloat>();
    APFloat first = *values.begin();
    std::optional<APFloat> second;
    SmallVector<bool> inside;
    for (const APFloat &v : values) {
      bool isFirst = v.bitwiseIsEqual(first);
      if (!isFirst && !second)
        second = v;
      if (!isFirst && !v.bitwiseIsEqual(*second))
        return whole;
      inside.push_back(isFirst);
    }
    auto select = [&](Id where, const APFloat &yes, const APFloat &no) {
      return op(OperationName(arith::SelectOp::getOperationName(), context),
                DictionaryAttr::get(context), element,
                {where, constant(FloatAttr::get(element, yes)),
                 constant(FloatAttr::get(element, no))});
    };
    if (auto where = inBand(inside))
      return select(*where, first, *second);
    for (bool &b : inside)
      b = !b;
    if (auto where = inBand(inside))
      return select(*where, *second, first);
  }
  return whole;
}

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

std::optional<Bounds> Symbols::range(Id id) const {
  const Node &n = nodes[id];
  if (!n.type.isSignlessInteger(64))
    return std::nullopt;
  switch (n.kind) {
  case Kind::Constant:
    return Bounds{*integer(id), *integer(id)};
  case Kind::Index:
    return n.layout.range();
  case Kind::Leaf:
    if (auto top = n.base.getDefiningOp<nn::TopKOp>())
      return Bounds{0, cast<RankedTensorType>(top.getInput().getType()).getShape().back() - 1};
    if (auto router = n.base.getDefiningOp<nn::RouterOp>())
      return Bounds{0, cast<RankedTensorType>(router.getLogits().getType()).getShape().back() - 1};
    return std::nullopt;
  case Kind::NonNegative:
    return std::nullopt;
  case Kind::Op:
    break;
  }
  StringRef name = n.name->getStringRef();
  SmallVector<Bounds, 3> of;
  for (Id o : n.operands) {
    auto r = range(o);
    of.push_back(r.value_or(Bounds{INT64_MIN, INT64_MAX}));
  }
  // Bounds below 2^31 keep sums away from overflow.
  auto small = [](Bounds r) { return r.first > -(1ll << 31) && r.second < (1ll << 31); };
  if (name == "arith.minsi")
    return Bounds{std::min(of[0].first, of[1].first), std::min(of[0].second, of[1].second)};
  if (name == "arith.maxsi")
    return Bounds{std::max(of[0].first, of[1].first), std::max(of[0].second, of[1].second)};
  if (name == "arith.addi" && small(of[0]) && small(of[1]))
    return Bounds{of[0].first + of[1].first, of[0].second + of[1].second};
  if (name == "arith.select")
    return Bounds{std::min(of[1].first, of[2].first), std::max(of[1].second, of[2].second)};
  return std::nullopt;
}

std::optional<Layout> Symbols::asIndex(Id id, const Layout &like) const {
  const Node &n = nodes[id];
  if (n.kind == Kind::Index)
    return n.layout;
  if (n.kind == Kind::Constant && n.type.isSignlessInteger(64))
    return Layout::constant(like.shape(), *integer(id));
  return std::nullopt;
}

/// a op b for integers that are linear in the position.
std::optional<Layout> Symbols::linear(StringRef name, Id a, Id b) const {
  const Layout &like = nodes[a].kind == Kind::Index ? nodes[a].layout : nodes[b].layout;
  auto x = asIndex(a, like), y = asIndex(b, like);
  if (!x || !y)
    return std::nullopt;
  if (name == "arith.addi")
    return combine(*x, 1, *y, 1);
  if (name == "arith.subi")
    return combine(*x, 1, *y, -1);
  if (name == "arith.muli") {
    if (y->isConstant())
      return combine(*x, y->offset, Layout::constant(like.shape(), 0), 0);
    if (x->isConstant())
      return combine(*y, x->offset, Layout::constant(like.shape(), 0), 0);
    return std::nullopt;
  }
  // Quotient and remainder are the outer and the inner digit.
  bool quotient = name == "arith.divsi" || name == "arith.floordivsi" || name == "arith.divui";
  bool remainder = name == "arith.remsi" || name == "arith.remui";
  if ((quotient || remainder) && y->isConstant() && y->offset > 0 && x->range().first >= 0) {
    int64_t c = y->offset, outer = x->range().second / c + 1;
    return compose(*x, {Factor{outer, quotient ? 1 : 0}, Factor{c, quotient ? 0 : 1}});
  }
  return std::nullopt;
}

std::optional<Id> Symbols::simplifyInteger(StringRef name, DictionaryAttr attributes, Type type,
                                           Id a, Id b) {
  MLIRContext *context = nodes[a].type.getContext();
  auto cA = integer(a), cB = integer(b);
  if (cA && cB && type.isSignlessInteger(64)) {
    int64_t x = *cA, y = *cB;
    std::optional<int64_t> v;
    if (name == "arith.addi")
      v = x + y;
    else if (name == "arith.subi")
      v = x - y;
    else if (name == "arith.muli")
      v = x * y;
    else if (name == "arith.maxsi")
      v = std::max(x, y);
    else if (name == "arith.minsi")
      v = std::min(x, y);
    if (v)
      return constant(IntegerAttr::get(type, *v));
  }
  if (auto l = linear(name, a, b))
    return index(*l, type);

  // What bounds decide.
  auto rA = range(a), rB = range(b);
  if (name == "arith.maxsi" || name == "arith.minsi") {
    bool max = name == "arith.maxsi";
    if (a == b)
      return a;
    if (rA && rB && rA->first >= rB->second)
      return max ? a : b;
    if (rA && rB && rB->first >= rA->second)
      return max ? b : a;
  }
  if (name != "arith.cmpi" || !nodes[a].type.isSignlessInteger(64))
    return std::nullopt;
  using P = arith::CmpIPredicate;
  auto predicate = cast<arith::CmpIPredicateAttr>(attributes.get("predicate")).getValue();
  // Everything in terms of x <= y.
  bool negate = false;
  Id x = a, y = b;
  switch (predicate) {
  case P::sle:
    break;
  case P::sge:
    std::swap(x, y);
    break;
  case P::slt:
    std::swap(x, y);
    negate = true;
    break;
  case P::sgt:
    negate = true;
    break;
  case P::eq:
  case P::ne: {
    bool ne = predicate == P::ne;
    if (a == b)
      return boolean(context, !ne);
    if (rA && rB && (rA->first > rB->second || rB->first > rA->second))
      return boolean(context, ne);
    const Layout &like = nodes[a].kind == Kind::Index ? nodes[a].layout : nodes[b].layout;
    auto la = asIndex(a, like), lb = asIndex(b, like);
    if (!la || !lb)
      return std::nullopt;
    auto up = combine(*la, 1, *lb, -1), down = combine(*lb, 1, *la, -1);
    if (!up || !down)
      return std::nullopt;
    Type i1 = IntegerType::get(context, 1);
    auto none = DictionaryAttr::get(context);
    Id equal = op(OperationName(arith::AndIOp::getOperationName(), context), none, i1,
                  {nonNegative(*up, context), nonNegative(*down, context)});
    if (!ne)
      return equal;
    return op(OperationName(arith::XOrIOp::getOperationName(), context), none, i1,
              {equal, boolean(context, true)});
  }
  default:
    return std::nullopt;
  }
  auto rX = range(x), rY = range(y);
  if (x == y || (rX && rY && rX->second <= rY->first))
    return boolean(context, !negate);
  if (rX && rY && rX->first > rY->second)
    return boolean(context, negate);
  const Layout &like = nodes[x].kind == Kind::Index ? nodes[x].layout : nodes[y].layout;
  auto lx = asIndex(x, like), ly = asIndex(y, like);
  if (!lx || !ly)
    return std::nullopt;
  // x <= y: y - x >= 0. Not so: x - y - 1 >= 0.
  auto difference = negate ? combine(*lx, 1, *ly, -1) : combine(*ly, 1, *lx, -1);
  if (!difference)
    return std::nullopt;
  if (negate)
    difference->offset -= 1;
  return nonNegative(*difference, context);
}

//===----------------------------------------------------------------------===//
// Bools and the rest
//===----------------------------------------------------------------------===//

std::optional<Id> Symbols::simplifyBool(StringRef name, Id a, Id b) {
  if (scalar(a))
    std::swap(a, b);
  auto c = scalar(b);
  MLIRContext *context = nodes[a].type.getContext();
  if (name == "arith.andi")
    return a == b ? std::optional(a) : c ? std::optional(*c ? a : b) : std::nullopt;
  if (name == "arith.ori")
    return a == b ? std::optional(a) : c ? std::optional(*c ? b : a) : std::nullopt;
  if (name == "arith.xori") {
    if (a == b)
      return boolean(context, false);
    if (!c)
      return std::nullopt;
    if (!*c)
      return a;
    if (auto known = scalar(a))
      return boolean(context, !*known);
    // not (l >= 0) is -l - 1 >= 0; not not x is x.
    const Node &n = nodes[a];
    if (n.kind == Kind::NonNegative) {
      auto l = combine(n.layout, -1, Layout::constant(n.layout.shape(), 1), -1);
      return nonNegative(*l, context);
    }
    if (isOp(a, "arith.xori"))
      for (unsigned i : {0, 1})
        if (scalar(n.operands[i]) == 1.0)
          return n.operands[1 - i];
  }
  return std::nullopt;
}

std::optional<Id> Symbols::simplify(StringRef name, DictionaryAttr attributes, Type type,
                                    ArrayRef<Id> in) {
  auto isZero = [&](Id id) { return scalar(id) == 0.0; };
  auto isOne = [&](Id id) { return scalar(id) == 1.0; };
  if (name == "arith.select") {
    if (auto c = scalar(in[0]))
      return *c ? in[1] : in[2];
    if (in[1] == in[2])
      return in[1];
    if (isOp(in[0], "arith.xori"))
      for (unsigned i : {0, 1})
        if (isOne(nodes[in[0]].operands[i])) {
          Id where = nodes[in[0]].operands[1 - i];
          return op(OperationName(name, type.getContext()), attributes, type,
                    {where, in[2], in[1]});
        }
    if (type.isInteger(1) && isOne(in[1]) && isZero(in[2]))
      return in[0];
    return std::nullopt;
  }
  if (in.size() == 2 && nodes[in[0]].type.isInteger(1) && type.isInteger(1))
    if (auto known = simplifyBool(name, in[0], in[1]))
      return known;
  if (auto known = simplifyTwoValued(name, attributes, type, in))
    return known;
  if (in.size() == 2 && nodes[in[0]].type.isSignlessInteger(64))
    return simplifyInteger(name, attributes, type, in[0], in[1]);
  // Exact identities of floats.
  if (name == "arith.mulf" && (isOne(in[0]) || isOne(in[1])))
    return isOne(in[0]) ? in[1] : in[0];
  if (name == "arith.divf" && isOne(in[1]))
    return in[0];
  if (name == "arith.negf" && isOp(in[0], "arith.negf"))
    return nodes[in[0]].operands[0];
  if (name == "arith.addf" && (isZero(in[0]) || isZero(in[1])))
    return isZero(in[0]) ? in[1] : in[0];
  return std::nullopt;
}

Id Symbols::logicalNot(Id id) {
  MLIRContext *context = nodes[id].type.getContext();
  return op(OperationName(arith::XOrIOp::getOperationName(), context),
            DictionaryAttr::get(context), nodes[id].type, {id, boolean(context, true)});
}

Id Symbols::substitute(Id root, Id what, Id with) {
  llvm::DenseMap<Id, Id> done = {{what, with}};
  // Operands have smaller numbers than what they are operands of.
  std::function<Id(Id)> visit = [&](Id id) -> Id {
    auto it = done.find(id);
    if (it != done.end())
      return it->second;
    Id result = id;
    if (nodes[id].kind == Kind::Op) {
      const Node n = nodes[id];
      SmallVector<Id, 3> operands;
      for (Id o : n.operands)
        operands.push_back(visit(o));
      if (ArrayRef<Id>(operands) != ArrayRef<Id>(n.operands))
        result = op(*n.name, n.attributes, n.type, operands);
    }
    done[id] = result;
    return result;
  };
  return visit(root);
}

//===----------------------------------------------------------------------===//
// Two numbers, told by a condition
//===----------------------------------------------------------------------===//

/// One elementwise op on numbers; nothing for ops that masks are not made of.
static TypedAttr evaluate(StringRef name, DictionaryAttr attributes, Type type,
                          ArrayRef<TypedAttr> in) {
  auto real = [&](unsigned i) { return cast<FloatAttr>(in[i]).getValueAsDouble(); };
  auto isReal = llvm::all_of(in, [](TypedAttr a) { return isa<FloatAttr>(a); });
  auto integer = [&](unsigned i) { return cast<IntegerAttr>(in[i]).getValue().getSExtValue(); };
  if (isReal && isa<FloatType>(type)) {
    // One operation in double, rounded, is the operation in the type.
    std::optional<double> v;
    if (name == "arith.negf")
      v = -real(0);
    else if (name == "arith.addf")
      v = real(0) + real(1);
    else if (name == "arith.subf")
      v = real(0) - real(1);
    else if (name == "arith.mulf")
      v = real(0) * real(1);
    else if (name == "arith.divf")
      v = real(0) / real(1);
    if (v)
      return FloatAttr::get(type, *v);
  }
  if (isReal && name == "arith.cmpf") {
    auto p = cast<arith::CmpFPredicateAttr>(attributes.get("predicate")).getValue();
    bool v = arith::applyCmpPredicate(p, cast<FloatAttr>(in[0]).getValue(),
                                      cast<FloatAttr>(in[1]).getValue());
    return IntegerAttr::get(type, v);
  }
  if (!isReal && name == "arith.cmpi") {
    auto p = cast<arith::CmpIPredicateAttr>(attributes.get("predicate")).getValue();
    bool v = arith::applyCmpPredicate(p, cast<IntegerAttr>(in[0]).getValue(),
                                      cast<IntegerAttr>(in[1]).getValue());
    return IntegerAttr::get(type, v);
  }
  if (!isReal && name == "arith.sitofp")
    return FloatAttr::get(type, (double)integer(0));
  if (!isReal && type.isSignlessInteger(64)) {
    if (name == "arith.addi")
      return IntegerAttr::get(type, integer(0) + integer(1));
    if (name == "arith.subi")
      return IntegerAttr::get(type, integer(0) - integer(1));
    if (name == "arith.muli")
      return IntegerAttr::get(type, integer(0) * integer(1));
  }
  return {};
}

/// f(select(c, a, b), constants) is select(c, f(a), f(b)); a bool as a number
/// is select(c, 1, 0).
std::optional<Id> Symbols::simplifyTwoValued(StringRef name, DictionaryAttr attributes, Type type,
                                             ArrayRef<Id> in) {
  auto select = [&](Id where, TypedAttr yes, TypedAttr no) -> Id {
    MLIRContext *context = type.getContext();
    if (yes == no)
      return constant(yes);
    if (yes.getType().isInteger(1))
      return cast<IntegerAttr>(yes).getValue().isOne() ? where : logicalNot(where);
    return op(OperationName(arith::SelectOp::getOperationName(), context),
              DictionaryAttr::get(context), type, {where, constant(yes), constant(no)});
  };
  if ((name == "arith.uitofp" || name == "arith.extui") && nodes[in[0]].type.isInteger(1)) {
    if (isa<FloatType>(type))
      return select(in[0], FloatAttr::get(type, 1), FloatAttr::get(type, 0));
    return select(in[0], IntegerAttr::get(type, 1), IntegerAttr::get(type, 0));
  }
  std::optional<Id> where;
  SmallVector<TypedAttr, 2> yes, no;
  for (Id id : in) {
    if (auto c = nodes[id].constant) {
      yes.push_back(c);
      no.push_back(c);
      continue;
    }
    if (!isOp(id, "arith.select"))
      return std::nullopt;
    auto operands = nodes[id].operands;
    auto a = nodes[operands[1]].constant, b = nodes[operands[2]].constant;
    if (!a || !b || (where && *where != operands[0]))
      return std::nullopt;
    where = operands[0];
    yes.push_back(a);
    no.push_back(b);
  }
  TypedAttr a = evaluate(name, attributes, type, yes), b = evaluate(name, attributes, type, no);
  if (!a || !b)
    return std::nullopt;
  return where ? select(*where, a, b) : constant(a);
}
