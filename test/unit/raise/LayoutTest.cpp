//===- LayoutTest.cpp - Layouts against counting position by position ----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Raise/Layout.h"
#include "gtest/gtest.h"
#include <random>

using namespace moire::raise;
using llvm::SmallVector;

/// Calls fn(position) for every position of the shape in row-major order.
template <typename Fn>
static void forEach(llvm::ArrayRef<int64_t> shape, Fn fn) {
  SmallVector<int64_t> position(shape.size(), 0);
  int64_t n = 1;
  for (int64_t s : shape)
    n *= s;
  for (int64_t i = 0; i < n; ++i) {
    fn(position);
    for (size_t d = shape.size(); d-- > 0 && ++position[d] == shape[d];)
      position[d] = 0;
  }
}

static std::vector<int64_t> valuesOf(const Layout &l) {
  std::vector<int64_t> values;
  forEach(l.shape(), [&](auto &p) { values.push_back(l.at(p)); });
  return values;
}

/// A layout of two or three dims with up to two digits each, within `limit`.
static Layout randomLayout(std::mt19937 &rng, int64_t limit) {
  auto pick = [&](int64_t lo, int64_t hi) {
    return std::uniform_int_distribution<int64_t>(lo, hi)(rng);
  };
  while (true) {
    Layout l;
    l.offset = pick(0, 5);
    for (int64_t d = pick(2, 3); d > 0; --d) {
      Mode m;
      for (int64_t f = pick(0, 2); f > 0; --f)
        m.push_back({pick(2, 4), pick(0, 12)});
      l.dims.push_back(m);
    }
    auto [lo, hi] = l.range();
    if (lo >= 0 && hi < limit)
      return l;
  }
}

TEST(Layout, RowMajorCountsUp) {
  Layout l = Layout::rowMajor({2, 3, 4});
  auto values = valuesOf(l);
  for (int64_t i = 0; i < 24; ++i)
    EXPECT_EQ(values[i], i);
}

TEST(Layout, CoalescingChangesNoValue) {
  std::mt19937 rng(1);
  for (int i = 0; i < 500; ++i) {
    Layout l = randomLayout(rng, 200);
    EXPECT_EQ(valuesOf(l), valuesOf(l.coalesced()));
  }
}

TEST(Layout, RangeIsAttained) {
  std::mt19937 rng(2);
  for (int i = 0; i < 500; ++i) {
    Layout l = randomLayout(rng, 200);
    auto values = valuesOf(l);
    EXPECT_EQ(l.range().first, *std::min_element(values.begin(), values.end()));
    EXPECT_EQ(l.range().second, *std::max_element(values.begin(), values.end()));
  }
}

TEST(Layout, ComposeFollowsEachPosition) {
  std::mt19937 rng(3);
  int composed = 0;
  for (int i = 0; i < 5000; ++i) {
    // The tensor's digits: sizes with product 24, any strides.
    SmallVector<SmallVector<int64_t>> shapes = {{24}, {4, 6}, {2, 3, 4}, {6, 1, 4}, {2, 12}};
    SmallVector<Factor> inner;
    for (int64_t n : shapes[i % shapes.size()])
      inner.push_back({n, std::uniform_int_distribution<int64_t>(-5, 20)(rng)});
    Layout outer = randomLayout(rng, 24);
    SmallVector<DigitRange> ranges;
    auto l = compose(outer, inner, 7, &ranges);
    if (!l)
      continue;
    ++composed;
    ASSERT_EQ(l->shape(), outer.shape());
    forEach(outer.shape(), [&](auto &p) {
      int64_t at = outer.at(p), want = 7;
      for (size_t d = inner.size(); d-- > 0; at /= inner[d].size) {
        int64_t digit = at % inner[d].size;
        want += digit * inner[d].stride;
        EXPECT_GE(digit, ranges[d].first);
        EXPECT_LE(digit, ranges[d].last);
      }
      ASSERT_EQ(l->at(p), want);
    });
  }
  EXPECT_GT(composed, 500);
}

TEST(Layout, ComposeRefusesACarry) {
  // 0, 3, 6 in rows of four: the second step crosses into the next row.
  Layout threes;
  threes.dims = {{{3, 3}}};
  EXPECT_FALSE(compose(threes, {Factor{2, 10}, Factor{4, 1}}));
  // 0, 4: whole rows.
  Layout fours;
  fours.dims = {{{2, 4}}};
  auto l = compose(fours, {Factor{2, 10}, Factor{4, 1}});
  ASSERT_TRUE(l);
  EXPECT_EQ(valuesOf(*l), (std::vector<int64_t>{0, 10}));
}

TEST(Layout, CombineAddsPositionByPosition) {
  // [4, 6] as (2,2) x (6) and as (4) x (2,3).
  Layout a, b;
  a.offset = 1;
  a.dims = {{{2, 10}, {2, 1}}, {{6, 3}}};
  b.dims = {{{4, 7}}, {{2, 0}, {3, 5}}};
  auto sum = combine(a, 2, b, -3);
  ASSERT_TRUE(sum);
  forEach({4, 6}, [&](auto &p) { EXPECT_EQ(sum->at(p), 2 * a.at(p) - 3 * b.at(p)); });
}

TEST(Layout, DigitsOfFindsThemAndOnlyThem) {
  std::mt19937 rng(4);
  for (int i = 0; i < 500; ++i) {
    Layout l = randomLayout(rng, 200);
    auto values = valuesOf(l);
    auto digits = digitsOf(values);
    if (!digits)
      continue;
    Layout found;
    found.offset = digits->first;
    found.dims = {digits->second};
    EXPECT_EQ(valuesOf(found), values);
  }
  auto rows = digitsOf({5, 5, 6, 6, 7, 7});
  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->first, 5);
  EXPECT_EQ(rows->second, (Mode{{3, 1}, {2, 0}}));
  EXPECT_FALSE(digitsOf({3, 1, 4, 1, 5}));
}
