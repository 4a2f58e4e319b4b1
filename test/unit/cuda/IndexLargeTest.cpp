//===- IndexLargeTest.cpp - Sorts, long runs, long lines ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the tests of the CPU's kernels are too small for: several chunks of a
// sort, tokens that occur often, lines beyond a block, 64-wide transposes.
//
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "cuda/model/model.h"
#include "cuda/sort.h"
#include "moire/rt/tensor.h"

#include <algorithm>
#include <numeric>

using namespace moire::rt;
using namespace moire::rt::test;

TEST(Sort, StableAtAllSizesAndWidths) {
  Context ctx;
  for (uint32_t order : {0u, 4u})
    for (auto [n, bits] : {std::pair<int64_t, int>{1, 1}, {33, 3}, {2047, 8}, {2048, 9}, {9001, 16}, {6000, 21}}) {
      model::setOrder(order);
      std::vector<int64_t> drawn = randomInts(n, int64_t(1) << bits, 3);
      std::vector<uint32_t> keys(drawn.begin(), drawn.end());
      std::vector<char> memory(sortBytes(n));
      const Sorted s = sortKeys(ctx, n, bits, keys.data(), memory.data());
      std::vector<int32_t> want(n);
      std::iota(want.begin(), want.end(), 0);
      std::stable_sort(want.begin(), want.end(),
                       [&](int32_t a, int32_t b) { return drawn[a] < drawn[b]; });
      for (int64_t i = 0; i < n; ++i) {
        ASSERT_EQ(s.positions[i], want[i]) << n << " keys of " << bits << " bits, at " << i;
        ASSERT_EQ(s.keys[i], uint32_t(drawn[want[i]]));
      }
    }
  model::setOrder(0);
}

TEST(Index, GradientOfFrequentTokensIsTheSameInAnyOrderOfThreads) {
  // Uniform tokens, few tokens, one token; vectors and an odd width.
  for (auto [count, axis, inner] : {std::tuple<int64_t, int64_t, int64_t>{3000, 50257, 8}, {2500, 5, 12}, {1333, 1, 4}, {900, 3, 7}}) {
    Context ctx;
    const Gather g{1, axis, inner, count};
    std::vector<int64_t> ids = randomInts(count, axis, 5);
    Floats dy = random(count * inner, 6), start = random(axis * inner, 7), bits;
    Doubles want(start.begin(), start.end());
    for (int64_t c = 0; c < count; ++c)
      for (int64_t i = 0; i < inner; ++i)
        want[ids[c] * inner + i] += dy[c * inner + i];
    for (uint32_t order : {0u, 2u, 3u}) {
      model::setOrder(order);
      Floats dx = start;
      gatherGrad(ctx, g, dy.data(), ids.data(), dx.data(), 1);
      expectNear(dx, want, 2e-5);
      if (order)
        EXPECT_EQ(dx, bits);
      bits = dx;
    }
    model::setOrder(0);
  }
}

TEST(Index, TheLastOfManyUpdatesStaysInAnyOrder) {
  Context ctx;
  const Gather g{3, 40, 5, 200};
  std::vector<int64_t> ids = randomInts(200, 40, 8);
  Floats u = random(3 * 200 * 5, 9), start = random(3 * 40 * 5, 10), want = start;
  for (int64_t o = 0; o < 3; ++o)
    for (int64_t c = 0; c < 200; ++c)
      for (int64_t i = 0; i < 5; ++i)
        want[(o * 40 + ids[c]) * 5 + i] = u[(o * 200 + c) * 5 + i];
  for (uint32_t order : {0u, 6u}) {
    model::setOrder(order);
    Floats y = start;
    scatter<float>(ctx, g, u.data(), ids.data(), y.data());
    EXPECT_EQ(y, want);
  }
  model::setOrder(0);
}

TEST(Index, ABadIndexOfAScatterIsNamedAndHurtsNothing) {
  Context ctx;
  std::vector<int64_t> ids = {0, 7, -2};
  Floats u = random(6, 1), y = random(8, 2), old = y;
  try {
    gatherGrad(ctx, {1, 4, 2, 3}, u.data(), ids.data(), y.data(), 1);
    FAIL();
  } catch (const RunError &e) {
    EXPECT_STREQ(e.what(), "scatter index 7 at position 1 is outside 0..3");
  }
  EXPECT_EQ(y[4], old[4] + u[4]); // -2 is row 2
  EXPECT_EQ(y[6], old[6]);
}

TEST(Lines, RunningSumsAndSelectionBeyondOneBlock) {
  Context ctx;
  const int64_t outer = 3, axis = 1500;
  std::vector<int64_t> x = randomInts(outer * axis, 50, 2), y(x.size());
  for (bool exclusive : {false, true})
    for (bool reverse : {false, true}) {
      cumulativeSum<int64_t>(ctx, outer, axis, 1, exclusive, reverse, x.data(), y.data());
      for (int64_t o = 0; o < outer; ++o) {
        int64_t sum = 0;
        for (int64_t k = 0; k < axis; ++k) {
          const int64_t at = o * axis + (reverse ? axis - 1 - k : k);
          ASSERT_EQ(y[at], sum + (exclusive ? 0 : x[at]));
          sum += x[at];
        }
      }
    }
  Floats f(x.begin(), x.end()), values(outer * 6);
  std::vector<int64_t> ids(values.size());
  topK<float>(ctx, {outer, axis, 1, 6}, f.data(), values.data(), ids.data());
  for (int64_t o = 0; o < outer; ++o) {
    std::vector<int64_t> rank(axis);
    std::iota(rank.begin(), rank.end(), 0);
    std::stable_sort(rank.begin(), rank.end(),
                     [&](int64_t a, int64_t b) { return f[o * axis + a] > f[o * axis + b]; });
    for (int64_t k = 0; k < 6; ++k)
      ASSERT_EQ(ids[o * 6 + k], rank[k]);
  }
}

namespace {
template <typename T> void transposes(uint32_t seed) {
  Context ctx;
  const int64_t b = 2, r = 130, c = 67;
  std::vector<int64_t> raw = randomInts(b * r * c, 2, seed);
  std::vector<T> x, y(raw.size());
  for (int64_t v : raw)
    x.push_back(T(float(v)));
  transpose<T>(ctx, {b, r, c}, {0, 2, 1}, x.data(), y.data());
  for (int64_t k = 0; k < b; ++k)
    for (int64_t i = 0; i < r; ++i)
      for (int64_t j = 0; j < c; ++j)
        ASSERT_EQ(float(y[(k * c + j) * r + i]), float(x[(k * r + i) * c + j]));
}
} // namespace
TEST(Lines, TransposesOfEverySize) {
  transposes<uint8_t>(1);
  transposes<bf16>(2);
  transposes<float>(3);
  transposes<double>(4);
}

TEST(Lines, ReductionsInPiecesAreTheSameInAnyOrder) {
  // One number of all, few columns of many rows, rows of odd lengths.
  struct Case {
    Ints dims;
    uint32_t over;
  };
  for (const Case &c : {Case{{300, 401}, 3}, Case{{20000, 3}, 1}, Case{{5000, 64}, 1},
                        Case{{4, 9001}, 2}, Case{{6, 50, 40}, 5}}) {
    int64_t n = 1, outputs = 1, inner = c.dims[c.dims.n - 1];
    for (int d = 0; d < c.dims.n; ++d) {
      n *= c.dims[d];
      outputs *= c.over >> d & 1 ? 1 : c.dims[d];
    }
    Floats x = random(n, 3), bits;
    std::vector<bf16> half;
    for (float v : x)
      half.push_back(bf16(v));
    Doubles want(outputs), wantHalf(outputs);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t last = i % inner, at = c.dims.n == 3      ? i / inner % 50
                                           : c.over == 3      ? 0
                                           : c.over == 1      ? last
                                                              : i / inner;
      want[at] += x[i];
      wantHalf[at] += float(half[i]);
    }
    for (uint32_t order : {0u, 5u}) {
      model::setOrder(order);
      Context ctx;
      Floats y(outputs, NAN);
      reduce<float>(ctx, ReduceKind::sum, {c.dims, c.over}, x.data(), y.data());
      expectNear(y, want, 1e-6);
      if (order)
        EXPECT_EQ(y, bits);
      bits = y;
      reduce(ctx, ReduceKind::sum, {c.dims, c.over}, half.data(), y.data());
      expectNear(y, wantHalf, 1e-6);
    }
  }
  model::setOrder(0);
}

TEST(Lines, RotaryEmbeddingOfBf16InVectors) {
  Context ctx;
  for (bool interleaved : {false, true}) {
    Rope r{2, 3, 5, 32};
    r.interleaved = interleaved;
    Floats x = random(2 * 3 * 5 * 32, 1), angle = random(5 * 16, 2, -3, 3), c, s;
    std::vector<bf16> h, y(x.size());
    for (float v : x)
      h.push_back(bf16(v));
    for (float a : angle) {
      c.push_back(std::cos(a));
      s.push_back(std::sin(a));
    }
    rope<bf16>(ctx, r, h.data(), c.data(), s.data(), y.data());
    for (int64_t row = 0; row < 30; ++row)
      for (int64_t d = 0; d < 16; ++d) {
        const int64_t t = row % 5 * 16 + d, p = row * 32 + (interleaved ? 2 * d : d),
                      q = interleaved ? p + 1 : p + 16;
        const float a = h[p], b = h[q];
        ASSERT_EQ(y[p].bits, bf16(a * c[t] - b * s[t]).bits);
        ASSERT_EQ(y[q].bits, bf16(b * c[t] + a * s[t]).bits);
      }
  }
}
