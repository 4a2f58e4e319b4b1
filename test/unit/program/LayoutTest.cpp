//===- LayoutTest.cpp - Strided windows against counting elements --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "lib/Program/Layout.h"
#include "gtest/gtest.h"
#include <random>
#include <vector>

using moire::program::Layout;
using Dims = llvm::SmallVector<int64_t, 4>;

namespace {

/// The positions of all elements in row-major order.
std::vector<int64_t> positions(const Layout &layout) {
  std::vector<int64_t> result;
  for (int64_t i = 0; i < layout.numElements(); ++i) {
    int64_t rest = i, at = layout.offset;
    for (int d = layout.shape.size() - 1; d >= 0; --d) {
      at += rest % layout.shape[d] * layout.strides[d];
      rest /= layout.shape[d];
    }
    result.push_back(at);
  }
  return result;
}

TEST(Layout, HeadsOfAProjection) {
  // [B*S, 3*H*D] -> the queries -> [B, S, H, D] -> [B, H, S, D].
  Layout l = Layout::dense({20, 96}).slice({0, 32}, {20, 64}, {1, 1});
  auto split = l.reshape({2, 10, 4, 8});
  ASSERT_TRUE(split);
  Layout heads = split->transpose({0, 2, 1, 3});
  EXPECT_EQ(heads.offset, 32);
  EXPECT_EQ(heads.strides, (Dims{960, 8, 96, 1}));
  // Its rows are not one run.
  EXPECT_FALSE(heads.reshape({80, 8}));
  EXPECT_EQ(heads.untranspose({0, 2, 1, 3}), *split);
}

TEST(Layout, DimsOfOneElement) {
  Layout l = Layout::dense({4, 1, 3});
  EXPECT_TRUE(l.transpose({1, 0, 2}).isDense());
  EXPECT_EQ(*l.reshape({1, 12, 1}), Layout::dense({1, 12, 1}));
  EXPECT_EQ(*Layout::dense({}).reshape({1, 1}), Layout::dense({1, 1}));
}

TEST(Layout, RepeatedRows) {
  Layout l = Layout::dense({6}).broadcast({1}, {4, 6});
  EXPECT_EQ(l.strides, (Dims{0, 1}));
  EXPECT_FALSE(l.reshape({24}));
  EXPECT_EQ(l.reshape({2, 2, 6})->strides, (Dims{0, 0, 1}));
  EXPECT_EQ(l.reshape({4, 2, 3})->strides, (Dims{0, 3, 1}));
}

TEST(Layout, ReversedDims) {
  Layout l = Layout::dense({2, 3}).reverse({1});
  EXPECT_EQ(positions(l), (std::vector<int64_t>{2, 1, 0, 5, 4, 3}));
}

/// A reshape is given only where each element keeps its position, and always
/// given for dense layouts.
TEST(Layout, RandomReshapesKeepPositions) {
  auto factor = [](int64_t n, std::mt19937 &random) {
    Dims dims;
    while (n > 1) {
      int64_t d = 1 + random() % 6;
      if (n % d == 0) {
        dims.push_back(d);
        n /= d;
      }
    }
    return dims;
  };
  int64_t given = 0;
  for (unsigned seed = 0; seed < 2000; ++seed) {
    std::mt19937 random(seed);
    const int64_t sizes[] = {12, 24, 36, 60};
    int64_t n = sizes[random() % 4];
    Layout l = Layout::dense(factor(n, random));
    if (random() % 2) {
      Dims order(l.shape.size());
      for (size_t i = 0; i < order.size(); ++i)
        order[i] = i;
      std::shuffle(order.begin(), order.end(), random);
      l = l.transpose(order);
    }
    Dims shape = factor(n, random);
    auto reshaped = l.reshape(shape);
    if (l.isDense()) {
      EXPECT_TRUE(reshaped) << "seed " << seed;
    }
    if (!reshaped)
      continue;
    ++given;
    EXPECT_EQ(positions(*reshaped), positions(l)) << "seed " << seed;
  }
  EXPECT_GT(given, 1000);
}

} // namespace
