//===- Symbolic.cpp - What a tensor holds, whatever ops wrote it ---------===//
//
// Interning, peeling, building back. What integers and bools simplify to is in
// SymbolicFolds.cpp.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Raise/Symbolic.h"
#include "dialects/nn/NN.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace moire;
using namespace moire::raise;

using Id = Symbols::Id;
using Key = std::vector<int64_t>;

static void append(Key &key, const Layout &l) {
  key.push_back(l.offset);
  key.push_back(l.dims.size());
  for (const Mode &m : l.dims) {
    key.push_back(m.size());
    for (const Factor &f : m)
      key.insert(key.end(), {f.size, f.stride});
  }
}
static int64_t word(const void *p) { return reinterpret_cast<intptr_t>(p); }

Id Symbols::intern(Node node) {
  Key key = {(int64_t)node.kind, word(node.type.getAsOpaquePointer()),
             word(node.base.getAsOpaquePointer()), word(node.constant.getAsOpaquePointer()),
             node.name ? word(node.name->getAsOpaquePointer()) : 0,
             word(node.attributes.getAsOpaquePointer())};
  append(key, node.layout);
  for (Id id : node.operands)
    key.push_back(id);
  auto [it, isNew] = ids.try_emplace(std::move(key), nodes.size());
  if (isNew) {
    for (auto [d, m] : llvm::enumerate(node.layout.dims))
      node.varying |= (uint64_t)!isConstant(m) << d;
    for (Id id : node.operands)
      node.varying |= nodes[id].varying;
    nodes.push_back(std::move(node));
  }
  return it->second;
}

Id Symbols::constant(TypedAttr value) {
  Node n;
  n.kind = Kind::Constant;
  n.type = value.getType();
  n.constant = value;
  return intern(std::move(n));
}

Id Symbols::leaf(const View &view) {
  Node n;
  n.kind = Kind::Leaf;
  n.type = cast<RankedTensorType>(view.base.getType()).getElementType();
  n.base = view.base;
  n.layout = view.layout;
  return intern(std::move(n));
}

Id Symbols::index(const Layout &layout, Type type) {
  Layout l = layout.coalesced();
  if (l.isConstant())
    return constant(IntegerAttr::get(type, l.offset));
  Node n;
  n.kind = Kind::Index;
  n.type = type;
  n.layout = std::move(l);
  return intern(std::move(n));
}

Id Symbols::op(OperationName name, DictionaryAttr attributes, Type type, ArrayRef<Id> operands,
               View origin) {
  SmallVector<Id, 3> sorted(operands);
  if (name.hasTrait<OpTrait::IsCommutative>())
    llvm::sort(sorted);
  if (auto known = simplify(name.getStringRef(), attributes, type, sorted))
    return *known;
  Node n;
  n.kind = Kind::Op;
  n.type = type;
  n.name = name;
  n.attributes = attributes;
  n.operands = std::move(sorted);
  n.origin = std::move(origin);
  return intern(std::move(n));
}

//===----------------------------------------------------------------------===//
// Peeling
//===----------------------------------------------------------------------===//

/// The digits of `v`'s row-major positions with the given strides.
static SmallVector<Factor> digits(Value v, ArrayRef<int64_t> strides) {
  SmallVector<Factor> out;
  for (auto [n, s] : llvm::zip(cast<RankedTensorType>(v.getType()).getShape(), strides))
    out.push_back({n, s});
  return out;
}
static SmallVector<int64_t> rowMajorStrides(Value v) {
  auto shape = cast<RankedTensorType>(v.getType()).getShape();
  SmallVector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;)
    strides[i - 1] = strides[i] * shape[i];
  return strides;
}

View Symbols::peel(View view) {
  while (Operation *def = view.base.getDefiningOp()) {
    std::optional<Layout> next;
    Value base;
    if (auto op = dyn_cast<nn::ReshapeOp>(def)) {
      base = op.getInput();
      next = view.layout;
    } else if (auto op = dyn_cast<nn::TransposeOp>(def)) {
      base = op.getInput();
      auto in = rowMajorStrides(base);
      SmallVector<int64_t> strides;
      for (int64_t p : op.getPermutation())
        strides.push_back(in[p]);
      next = compose(view.layout, digits(view.base, strides));
    } else if (auto op = dyn_cast<nn::BroadcastOp>(def)) {
      base = op.getInput();
      SmallVector<int64_t> strides(op.getType().getRank(), 0);
      for (auto [d, s] : llvm::zip(op.getDimensions(), rowMajorStrides(base)))
        strides[d] = s;
      next = compose(view.layout, digits(view.base, strides));
    } else if (auto op = dyn_cast<nn::SliceOp>(def)) {
      base = op.getInput();
      SmallVector<int64_t> strides;
      int64_t offset = 0;
      for (auto [s, start, step] :
           llvm::zip(rowMajorStrides(base), op.getStarts(), op.getStrides())) {
        strides.push_back(s * step);
        offset += s * start;
      }
      next = compose(view.layout, digits(view.base, strides), offset);
    } else if (auto op = dyn_cast<nn::ConcatOp>(def)) {
      // All elements must come from one input.
      SmallVector<DigitRange> ranges;
      int64_t dim = op.getDim(), start = 0;
      if (!compose(view.layout, digits(view.base, rowMajorStrides(view.base)), 0, &ranges))
        return view;
      for (Value input : op.getInputs()) {
        int64_t n = cast<RankedTensorType>(input.getType()).getDimSize(dim);
        if (ranges[dim].first >= start && ranges[dim].last < start + n) {
          auto strides = rowMajorStrides(input);
          base = input;
          next = compose(view.layout, digits(view.base, strides), -start * strides[dim]);
        }
        start += n;
      }
    } else if (auto op = dyn_cast<nn::GatherOp>(def)) {
      // Linear indices take the rows in a regular order.
      base = op.getTable();
      auto rows = asIndex(of(op.getIndices()), viewOf(op.getIndices()).layout);
      auto table = cast<RankedTensorType>(base.getType());
      if (!rows || rows->range().first < 0 || rows->range().second >= table.getDimSize(0))
        return view;
      int64_t rest = table.getNumElements() / table.getDimSize(0);
      SmallVector<Factor> inner;
      for (const Mode &m : rows->dims)
        for (const Factor &f : m)
          inner.push_back({f.size, f.stride * rest});
      inner.push_back({rest, 1});
      next = compose(view.layout, inner, rows->offset * rest);
    }
    if (!next)
      return view;
    view = {base, next->coalesced()};
  }
  return view;
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

static bool isElementwise(Operation *op) {
  if (op->getNumResults() != 1 || op->getNumRegions())
    return false;
  if (!op->hasTrait<OpTrait::Elementwise>() && !isa<nn::SigmoidOp>(op))
    return false;
  // arith.select also takes one scalar condition for all elements.
  auto shape = [](Value v) { return dyn_cast<RankedTensorType>(v.getType()); };
  auto result = shape(op->getResult(0));
  return result && llvm::all_of(op->getOperands(), [&](Value v) {
           return shape(v) && shape(v).getShape() == result.getShape();
         });
}

Id Symbols::of(const View &view) {
  Key key = {word(view.base.getAsOpaquePointer())};
  append(key, view.layout.coalesced());
  auto it = views.find(key);
  if (it != views.end())
    return it->second;
  Id id = expand(peel({view.base, view.layout.coalesced()}));
  views.emplace(std::move(key), id);
  return id;
}

Id Symbols::expand(const View &view) {
  Type element = cast<RankedTensorType>(view.base.getType()).getElementType();
  Operation *def = view.base.getDefiningOp();
  if (def && isElementwise(def)) {
    SmallVector<Id, 3> operands;
    for (Value v : def->getOperands())
      operands.push_back(of(View{v, view.layout}));
    return op(def->getName(), def->getAttrDictionary(), element, operands, view);
  }
  if (auto iota = dyn_cast_if_present<nn::IotaOp>(def)) {
    SmallVector<int64_t> strides(iota.getType().getRank(), 0);
    strides[iota.getDim()] = 1;
    if (auto l = compose(view.layout, digits(view.base, strides));
        l && element.isSignlessInteger(64))
      return index(*l, element);
  }
  if (def && def->hasTrait<OpTrait::ConstantLike>())
    return expandConstant(def, view);
  return leaf(view);
}

std::optional<double> Symbols::scalar(Id id) const {
  const Node &n = nodes[id];
  if (auto f = dyn_cast_if_present<FloatAttr>(n.constant))
    return f.getValueAsDouble();
  if (auto i = dyn_cast_if_present<IntegerAttr>(n.constant))
    return i.getType().isInteger(1) ? (double)i.getValue().getZExtValue() : (double)i.getInt();
  return std::nullopt;
}

std::optional<int64_t> Symbols::integer(Id id) const {
  auto i = dyn_cast_if_present<IntegerAttr>(nodes[id].constant);
  if (!i || i.getType().isInteger(1))
    return std::nullopt;
  return i.getInt();
}

void Symbols::leaves(Id id, SmallVectorImpl<Value> &out) const {
  llvm::DenseSet<Id> seen;
  SmallVector<Id> todo = {id};
  while (!todo.empty()) {
    Id next = todo.pop_back_val();
    if (!seen.insert(next).second)
      continue;
    if (nodes[next].kind == Kind::Leaf)
      out.push_back(nodes[next].base);
    todo.append(nodes[next].operands.begin(), nodes[next].operands.end());
  }
}

//===----------------------------------------------------------------------===//
// Building back
//===----------------------------------------------------------------------===//

/// The layout on some of its dims, of which some may have size 1.
static Layout restrict(const Layout &l, ArrayRef<int64_t> shape, ArrayRef<unsigned> dims) {
  Layout out;
  out.offset = l.offset;
  for (auto [n, d] : llvm::zip(shape, dims))
    out.dims.push_back(n == 1 ? Mode() : l.dims[d]);
  return out;
}

static Value splat(OpBuilder &b, Location loc, ArrayRef<int64_t> shape, TypedAttr value) {
  auto type = RankedTensorType::get(shape, value.getType());
  return b.create<arith::ConstantOp>(loc, type, DenseElementsAttr::get(type, Attribute(value)));
}

/// offset + the sum over all digits of iota x stride.
static Value buildIndex(OpBuilder &b, Location loc, const Layout &l, Type type) {
  SmallVector<int64_t> expanded;
  SmallVector<int64_t> strides;
  for (const Mode &m : l.dims)
    for (const Factor &f : m) {
      expanded.push_back(f.size);
      strides.push_back(f.stride);
    }
  auto shape = l.shape();
  auto expandedType = RankedTensorType::get(expanded, type);
  Value sum;
  for (auto [d, stride] : llvm::enumerate(strides)) {
    if (!stride)
      continue;
    Value term = b.create<nn::IotaOp>(loc, expandedType, d);
    if (stride != 1)
      term = b.create<arith::MulIOp>(
          loc, term, splat(b, loc, expanded, IntegerAttr::get(type, stride)));
    sum = sum ? b.create<arith::AddIOp>(loc, sum, term).getResult() : term;
  }
  if (l.offset || !sum) {
    Value offset = splat(b, loc, expanded, IntegerAttr::get(type, l.offset));
    sum = sum ? b.create<arith::AddIOp>(loc, sum, offset).getResult() : offset;
  }
  auto result = RankedTensorType::get(shape, type);
  return result == expandedType ? sum : b.create<nn::ReshapeOp>(loc, result, sum).getResult();
}

/// Whether `v` may be used at the builder's place (one block, no regions).
static bool isAvailable(OpBuilder &b, Value v) {
  Operation *def = v.getDefiningOp();
  if (!def || b.getInsertionPoint() == b.getInsertionBlock()->end())
    return true;
  return def->getBlock() != b.getInsertionBlock() || def->isBeforeInBlock(&*b.getInsertionPoint());
}

Value Symbols::materialize(OpBuilder &b, Location loc, Id id, ArrayRef<int64_t> shape,
                           ArrayRef<unsigned> dims) {
  Node n = nodes[id];
  switch (n.kind) {
  case Kind::Leaf:
    return raise::materialize(b, loc, {n.base, restrict(n.layout, shape, dims)});
  case Kind::Constant:
    return splat(b, loc, shape, n.constant);
  case Kind::Index:
    return buildIndex(b, loc, restrict(n.layout, shape, dims), n.type);
  case Kind::NonNegative: {
    Type i64 = b.getI64Type();
    Value value = buildIndex(b, loc, restrict(n.layout, shape, dims), i64);
    Value zero = splat(b, loc, shape, IntegerAttr::get(i64, 0));
    return b.create<arith::CmpIOp>(loc, arith::CmpIPredicate::sge, value, zero);
  }
  case Kind::Op: {
    if (n.origin.base && isAvailable(b, n.origin.base) &&
        cast<RankedTensorType>(n.origin.base.getType()).getNumElements() <=
            ShapedType::getNumElements(shape))
      if (Value v = raise::materialize(b, loc, {n.origin.base, restrict(n.origin.layout, shape, dims)}))
        return v;
    SmallVector<Value> operands;
    for (Id o : n.operands) {
      Value v = materialize(b, loc, o, shape, dims);
      if (!v)
        return {};
      operands.push_back(v);
    }
    OperationState state(loc, *n.name, operands, RankedTensorType::get(shape, n.type),
                         n.attributes.getValue());
    return b.create(state)->getResult(0);
  }
  }
  llvm_unreachable("all kinds are handled");
}

void Symbols::print(llvm::raw_ostream &os, Id id) const {
  const Node &n = nodes[id];
  switch (n.kind) {
  case Kind::Leaf:
    n.base.printAsOperand(os, OpPrintingFlags());
    os << "{";
    n.layout.print(os);
    os << "}";
    break;
  case Kind::Constant:
    os << n.constant;
    break;
  case Kind::Index:
  case Kind::NonNegative:
    os << (n.kind == Kind::Index ? "index{" : "nonneg{");
    n.layout.print(os);
    os << "}";
    break;
  case Kind::Op:
    os << n.name->getStringRef() << "(";
    llvm::interleaveComma(n.operands, os, [&](Id o) { print(os, o); });
    os << ")";
  }
}
