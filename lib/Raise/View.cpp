//===- View.cpp - From a layout back to ops ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "dialects/nn/NN.h"
#include "moire/Raise/Symbolic.h"

using namespace mlir;
using namespace moire;
using namespace moire::raise;

View moire::raise::viewOf(Value v) {
  return {v, Layout::rowMajor(cast<RankedTensorType>(v.getType()).getShape())};
}

namespace {
/// One counter of a view: where it stands in the result and in the base.
struct Counter {
  Factor factor;
  size_t order; ///< position among all counters of the result, outermost first
};

/// A dim of the base, or a part of one that a reshape splits off, and the
/// window of it that the view takes.
struct Part {
  int64_t size;
  int64_t start;
  int64_t count;
  int64_t step;
  std::optional<size_t> order; ///< of the counter that runs over it
};
} // namespace

/// Cuts the base's dims so that each counter runs over a part of its own.
/// The counters come sorted by falling stride.
static std::optional<SmallVector<Part>> partition(ArrayRef<int64_t> shape, int64_t offset,
                                                  ArrayRef<Counter> counters) {
  SmallVector<Part> parts;
  int64_t place = 1;
  for (int64_t n : shape)
    place *= n;
  size_t next = 0;
  for (int64_t n : shape) {
    place /= n;
    int64_t digit = place ? offset / place % n : 0;
    // The counters that run inside this dim.
    size_t end = next;
    while (end < counters.size() && counters[end].factor.stride >= place)
      ++end;
    ArrayRef<Counter> mine = counters.slice(next, end - next);
    next = end;
    if (llvm::any_of(mine, [&](const Counter &c) { return c.factor.stride % place; }))
      return std::nullopt;
    if (mine.size() == 1) {
      int64_t step = mine[0].factor.stride / place, count = mine[0].factor.size;
      if (digit + step * (count - 1) >= n)
        return std::nullopt;
      parts.push_back({n, digit, count, step, mine[0].order});
      continue;
    }
    // Several (or none): a mixed-radix split of the dim, one part each.
    int64_t size = n;
    for (const Counter &c : mine) {
      int64_t step = c.factor.stride / place;
      if (size % step)
        return std::nullopt;
      int64_t start = digit / step;
      if (start + c.factor.size > size / step)
        return std::nullopt;
      parts.push_back({size / step, start, c.factor.size, 1, c.order});
      digit %= step;
      size = step;
    }
    parts.push_back({size, digit, 1, 1, std::nullopt});
  }
  if (next != counters.size())
    return std::nullopt;
  return parts;
}

Value moire::raise::materialize(OpBuilder &b, Location loc, const View &view) {
  auto type = cast<RankedTensorType>(view.base.getType());
  Type element = type.getElementType();
  SmallVector<int64_t> shape = view.layout.shape();
  if (type.getNumElements() == 0)
    return {};
  if (view.layout.offset == 0 && view.layout.elements() == type.getNumElements()) {
    Layout same = Layout::rowMajor(shape);
    if (view.layout.coalesced() == same.coalesced())
      return shape == type.getShape()
                 ? view.base
                 : b.create<nn::ReshapeOp>(loc, RankedTensorType::get(shape, element), view.base)
                       .getResult();
  }

  // 1. The counters of the result; those of stride 0 are broadcasts.
  SmallVector<Counter> counters;
  SmallVector<int64_t> expanded;
  for (const Mode &mode : view.layout.dims)
    for (const Factor &f : coalesce(mode)) {
      if (f.stride < 0)
        return {};
      if (f.stride > 0)
        counters.push_back({f, expanded.size()});
      expanded.push_back(f.size);
    }
  llvm::stable_sort(counters, [](const Counter &a, const Counter &b) {
    return a.factor.stride > b.factor.stride;
  });
  // 2. The base cut so that each counter has a dim, in the base's own dims
  // first, because a slice along them needs no reshape.
  auto parts = partition(type.getShape(), view.layout.offset, counters);
  if (!parts)
    parts = partition({type.getNumElements()}, view.layout.offset, counters);
  if (!parts)
    return {};

  auto reshape = [&](Value v, ArrayRef<int64_t> to) -> Value {
    auto t = RankedTensorType::get(to, element);
    return v.getType() == t ? v : b.create<nn::ReshapeOp>(loc, t, v).getResult();
  };
  // 3. reshape (split), slice, reshape (drop the single ones).
  Value v = view.base;
  // Parts of size 1 that belong to no counter are noise unless the base has them.
  bool split = parts->size() != type.getShape().size();
  for (auto [p, n] : llvm::zip(*parts, type.getShape()))
    split |= p.size != n;
  if (split) {
    llvm::erase_if(*parts, [](const Part &p) { return p.size == 1; });
    SmallVector<int64_t> sizes;
    for (const Part &p : *parts)
      sizes.push_back(p.size);
    v = reshape(v, sizes);
  }
  SmallVector<int64_t> starts, limits, strides, kept;
  SmallVector<size_t> order;
  bool sliced = false;
  for (const Part &p : *parts) {
    starts.push_back(p.start);
    limits.push_back(p.start + p.step * (p.count - 1) + 1);
    strides.push_back(p.step);
    sliced |= p.count != p.size;
    if (p.order) {
      kept.push_back(p.count);
      order.push_back(*p.order);
    }
  }
  if (sliced)
    v = b.create<nn::SliceOp>(loc, v, starts, limits, strides);
  v = reshape(v, kept);
  // 4. transpose into the result's order.
  auto permutation = llvm::to_vector(llvm::seq<int64_t>(0, order.size()));
  llvm::sort(permutation, [&](int64_t x, int64_t y) { return order[x] < order[y]; });
  if (!llvm::is_sorted(permutation))
    v = b.create<nn::TransposeOp>(loc, v, permutation);
  // 5. broadcast, then merge the digits of each dim.
  if (kept.size() != expanded.size()) {
    SmallVector<int64_t> dimensions;
    for (int64_t p : permutation)
      dimensions.push_back(order[p]);
    v = b.create<nn::BroadcastOp>(loc, RankedTensorType::get(expanded, element), v, dimensions);
  }
  return reshape(v, shape);
}
