//===- Layout.cpp - Where the elements of a rearranged tensor come from --===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Raise/Layout.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>

using namespace moire::raise;
using llvm::ArrayRef;
using llvm::SmallVector;

int64_t moire::raise::sizeOf(ArrayRef<Factor> mode) {
  int64_t n = 1;
  for (const Factor &f : mode)
    n *= f.size;
  return n;
}

bool moire::raise::isConstant(ArrayRef<Factor> mode) {
  return llvm::all_of(mode, [](const Factor &f) { return f.stride == 0 || f.size == 1; });
}

Mode moire::raise::coalesce(ArrayRef<Factor> mode) {
  Mode out;
  for (const Factor &f : mode) {
    if (f.size == 1)
      continue;
    if (!out.empty() && out.back().stride == f.stride * f.size)
      out.back() = {out.back().size * f.size, f.stride};
    else
      out.push_back(f);
  }
  return out;
}

Layout Layout::rowMajor(ArrayRef<int64_t> shape) {
  Layout l;
  l.dims.resize(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0; stride *= shape[i])
    if (shape[i] != 1)
      l.dims[i].push_back({shape[i], stride});
  return l;
}

Layout Layout::constant(ArrayRef<int64_t> shape, int64_t value) {
  Layout l;
  l.offset = value;
  for (int64_t n : shape) {
    l.dims.emplace_back();
    if (n != 1)
      l.dims.back().push_back({n, 0});
  }
  return l;
}

SmallVector<int64_t> Layout::shape() const {
  SmallVector<int64_t> s;
  for (const Mode &m : dims)
    s.push_back(sizeOf(m));
  return s;
}

int64_t Layout::elements() const {
  int64_t n = 1;
  for (const Mode &m : dims)
    n *= sizeOf(m);
  return n;
}

std::pair<int64_t, int64_t> Layout::range() const {
  int64_t lo = offset, hi = offset;
  for (const Mode &m : dims)
    for (const Factor &f : m)
      (f.stride < 0 ? lo : hi) += f.stride * (f.size - 1);
  return {lo, hi};
}

bool Layout::isConstant() const {
  return llvm::all_of(dims, [](const Mode &m) { return moire::raise::isConstant(m); });
}

int64_t Layout::at(ArrayRef<int64_t> position) const {
  int64_t value = offset;
  for (size_t i = 0; i < dims.size(); ++i) {
    int64_t p = position[i];
    for (const Factor &f : llvm::reverse(dims[i])) {
      value += p % f.size * f.stride;
      p /= f.size;
    }
  }
  return value;
}

Layout Layout::coalesced() const {
  Layout l;
  l.offset = offset;
  for (const Mode &m : dims)
    l.dims.push_back(coalesce(m));
  return l;
}

void Layout::print(llvm::raw_ostream &os) const {
  os << offset << " + [";
  llvm::interleaveComma(dims, os, [&](const Mode &m) {
    os << "(";
    llvm::interleaveComma(m, os, [&](const Factor &f) { os << f.size << ":" << f.stride; });
    os << ")";
  });
  os << "]";
}

std::optional<std::pair<Mode, Mode>> moire::raise::refine(ArrayRef<Factor> a, ArrayRef<Factor> b) {
  SmallVector<Factor, 4> restA(a), restB(b);
  Mode outA, outB; // innermost first, reversed at the end
  while (!restA.empty() && !restB.empty()) {
    Factor x = restA.pop_back_val(), y = restB.pop_back_val();
    int64_t n = std::min(x.size, y.size);
    if (n == 0 || x.size % n || y.size % n)
      return std::nullopt;
    outA.push_back({n, x.stride});
    outB.push_back({n, y.stride});
    if (x.size > n)
      restA.push_back({x.size / n, x.stride * n});
    if (y.size > n)
      restB.push_back({y.size / n, y.stride * n});
  }
  for (const Factor &f : llvm::concat<Factor>(restA, restB))
    if (f.size != 1)
      return std::nullopt;
  std::reverse(outA.begin(), outA.end());
  std::reverse(outB.begin(), outB.end());
  return std::make_pair(outA, outB);
}

std::optional<Layout> moire::raise::combine(const Layout &a, int64_t scaleA, const Layout &b,
                                            int64_t scaleB) {
  if (a.dims.size() != b.dims.size())
    return std::nullopt;
  Layout out;
  out.offset = scaleA * a.offset + scaleB * b.offset;
  for (auto [ma, mb] : llvm::zip(a.dims, b.dims)) {
    auto digits = refine(ma, mb);
    if (!digits)
      return std::nullopt;
    Mode sum;
    for (auto [x, y] : llvm::zip(digits->first, digits->second))
      sum.push_back({x.size, scaleA * x.stride + scaleB * y.stride});
    out.dims.push_back(coalesce(sum));
  }
  return out;
}

std::optional<Layout> moire::raise::compose(const Layout &outer, ArrayRef<Factor> inner,
                                            int64_t innerOffset,
                                            llvm::SmallVectorImpl<DigitRange> *ranges) {
  // The row-major stride of each of the tensor's digits.
  SmallVector<int64_t> place(inner.size());
  int64_t elements = 1;
  for (size_t i = inner.size(); i-- > 0; elements *= inner[i].size)
    place[i] = elements;
  if (elements == 0)
    return std::nullopt;

  auto [lo, hi] = outer.range();
  if (lo < 0 || hi >= elements)
    return std::nullopt;

  Layout out;
  out.offset = innerOffset;
  // 1. The offset's digits.
  SmallVector<DigitRange> taken;
  for (size_t i = 0; i < inner.size(); ++i) {
    int64_t digit = outer.offset / place[i] % inner[i].size;
    taken.push_back({digit, digit});
    out.offset += digit * inner[i].stride;
  }
  // 2. Each counter goes to the digit in which its step lies; a counter that
  // runs through a whole digit continues in the next.
  for (const Mode &mode : outer.dims) {
    Mode digits; // innermost first
    for (const Factor &f : llvm::reverse(mode)) {
      int64_t left = f.size, stride = f.stride;
      if (stride < 0)
        return std::nullopt;
      while (left > 1) {
        if (stride == 0) {
          digits.push_back({left, 0});
          break;
        }
        // The innermost digit that divides the step and is not exceeded by it.
        size_t i = 0;
        while (i < inner.size() && (stride % place[i] || inner[i].size == 1 ||
                                    stride / place[i] >= inner[i].size))
          ++i;
        if (i == inner.size())
          return std::nullopt;
        int64_t step = stride / place[i], count = left;
        if (taken[i].last + step * (count - 1) >= inner[i].size) {
          if (inner[i].size % step || taken[i].last >= step)
            return std::nullopt;
          count = inner[i].size / step;
          if (count < 2 || left % count)
            return std::nullopt;
        }
        taken[i].last += step * (count - 1);
        digits.push_back({count, step * inner[i].stride});
        left /= count;
        stride *= count;
      }
    }
    std::reverse(digits.begin(), digits.end());
    out.dims.push_back(coalesce(digits));
  }
  // 3. No sum of counters may carry into the next digit.
  for (size_t i = 0; i < inner.size(); ++i)
    if (taken[i].last >= inner[i].size)
      return std::nullopt;
  if (ranges)
    ranges->assign(taken.begin(), taken.end());
  return out;
}

std::optional<std::pair<int64_t, Mode>> moire::raise::digitsOf(ArrayRef<int64_t> values) {
  if (values.empty())
    return std::nullopt;
  Mode mode; // innermost first
  size_t step = 1, n = values.size();
  while (step < n) {
    // The longest run of equal differences among every step-th value.
    int64_t stride = values[step] - values[0];
    size_t run = 1;
    while (run * step < n && values[run * step] - values[0] == (int64_t)run * stride)
      ++run;
    if ((n / step) % run)
      return std::nullopt;
    mode.push_back({(int64_t)run, stride});
    step *= run;
  }
  std::reverse(mode.begin(), mode.end());
  Layout l;
  l.offset = values[0];
  l.dims.push_back(mode);
  for (size_t i = 0; i < n; ++i)
    if (l.at({(int64_t)i}) != values[i])
      return std::nullopt;
  return std::make_pair(values[0], mode);
}
