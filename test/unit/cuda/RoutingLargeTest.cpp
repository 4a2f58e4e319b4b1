//===- RoutingLargeTest.cpp - Routing beyond one block, bf16 rows ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the tests of the CPU's routing are too small for: several chunks and
// rounds of the sort, more experts than lanes, vectors of 16 bytes.
//
//===----------------------------------------------------------------------===//

#include "Order.h"
#include "TestUtil.h"
#include "moire/rt/gemm.h"

#include <algorithm>
#include <numeric>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
struct Routed {
  std::vector<char> memory;
  std::vector<int64_t> ids;
  Routing r;
  Routed(Context &ctx, int64_t tokens, int64_t k, int64_t experts, uint32_t seed)
      : memory(Routing::bytes(tokens, k, experts)), ids(randomInts(tokens * k, experts, seed)) {
    r = Routing::at(memory.data(), tokens, k, experts);
    route(ctx, r, ids.data());
  }
};
} // namespace

TEST(RoutingLarge, StableSortOverManyChunks) {
  for (uint32_t order : {0u, 9u})
    for (auto [tokens, k, experts] : {std::tuple<int64_t, int64_t, int64_t>{3001, 2, 3},
                                      {1024, 8, 64},
                                      {700, 6, 300},
                                      {130, 8, 3000},
                                      {9000, 1, 1}}) {
      setOrder(order);
      Context ctx;
      Routed x(ctx, tokens, k, experts, 7);
      std::vector<int64_t> pairs(tokens * k);
      std::iota(pairs.begin(), pairs.end(), 0);
      std::stable_sort(pairs.begin(), pairs.end(),
                       [&](int64_t a, int64_t b) { return x.ids[a] < x.ids[b]; });
      for (size_t row = 0; row < pairs.size(); ++row) {
        ASSERT_EQ(x.r.rowToPair[row], pairs[row]);
        ASSERT_EQ(x.r.pairToRow[pairs[row]], int32_t(row));
      }
      for (int64_t e = 0; e <= experts; ++e)
        ASSERT_EQ(x.r.offsets[e],
                  std::count_if(x.ids.begin(), x.ids.end(), [&](int64_t id) { return id < e; }));
    }
  setOrder(0);
}

TEST(RoutingLarge, TooManyExpertsAreRefused) {
  Context ctx;
  std::vector<char> memory(Routing::bytes(1, 1, 5000));
  const std::vector<int64_t> id = {0};
  try {
    route(ctx, Routing::at(memory.data(), 1, 1, 5000), id.data());
    FAIL();
  } catch (const RunError &e) {
    EXPECT_STREQ(e.what(),
                 "5000 experts are more than the CUDA runtime sorts; it takes up to 4096");
  }
}

// Widths with and without vectors of 16 bytes, short and long.
template <typename T> void rows(int64_t width) {
  const double tolerance = sizeof(T) == 2 ? 1.0 / 128 : 1e-5;
  Context ctx;
  const int64_t tokens = 45, k = 3, count = tokens * k;
  Routed x(ctx, tokens, k, 7, 3);
  const auto make = [&](int64_t n, uint32_t seed) {
    std::vector<T> v(n);
    const Floats wide = random(n, seed);
    std::transform(wide.begin(), wide.end(), v.begin(), [](float f) { return T(f); });
    return v;
  };
  const auto near = [&](const std::vector<T> &got, const Doubles &want) {
    Floats wide(got.begin(), got.end());
    expectNear(wide, want, tolerance);
  };
  const std::vector<T> in = make(tokens * width, 1), z = make(count * width, 2),
                       dy = make(tokens * width, 3);
  const Floats w = random(count, 4), values = random(7 * width, 5);
  std::vector<T> sent(count * width), y(tokens * width, T(NAN)), drows(count * width),
      added(count * width), plain(count * width), sum = make(tokens * width, 6), before = sum;
  Floats dw(count, NAN);
  dispatch(ctx, x.r, width, in.data(), sent.data());
  combine(ctx, x.r, width, z.data(), w.data(), y.data());
  combineGrad(ctx, x.r, width, z.data(), w.data(), dy.data(), drows.data(), dw.data());
  dispatchGrad(ctx, x.r, width, z.data(), sum.data(), 1);
  perExpert(ctx, x.r, width, values.data(), plain.data());
  perExpert(ctx, x.r, width, values.data(), added.data(), z.data());
  Doubles wantY(y.size()), wantRows(drows.size()), wantW(count),
      wantSum(before.begin(), before.end()), wantAdded(added.size());
  for (int64_t p = 0; p < count; ++p)
    for (int64_t i = 0; i < width; ++i) {
      const int64_t row = x.r.pairToRow[p] * width + i, t = p / k * width + i;
      ASSERT_EQ(float(sent[row]), float(in[t]));
      ASSERT_EQ(float(plain[row]), float(T(values[x.ids[p] * width + i])));
      wantY[t] += double(w[p]) * z[row];
      wantSum[t] += z[row];
      wantRows[row] = double(w[p]) * dy[t];
      wantW[p] += double(z[row]) * dy[t];
      wantAdded[row] = double(z[row]) + values[x.ids[p] * width + i];
    }
  near(y, wantY);
  near(sum, wantSum);
  near(drows, wantRows);
  near(added, wantAdded);
  expectNear(dw, wantW, 1e-5);
  // Either result of combineGrad alone.
  std::vector<T> only(count * width);
  Floats onlyW(count);
  combineGrad(ctx, x.r, width, z.data(), w.data(), dy.data(), only.data(), nullptr);
  combineGrad(ctx, x.r, width, z.data(), w.data(), dy.data(), nullptr, onlyW.data());
  EXPECT_EQ(onlyW, dw);
  for (size_t i = 0; i < only.size(); ++i)
    ASSERT_EQ(float(only[i]), float(drows[i]));
}

TEST(RoutingLarge, RowsInVectorsAndNot) {
  for (int64_t width : {1, 6, 8, 136, 2048, 2050}) {
    rows<float>(width);
    rows<bf16>(width);
  }
}

TEST(RoutingLarge, RouterWithMoreExpertsThanLanes) {
  for (int64_t experts : {33, 64, 100, 256, 500}) {
    Context ctx;
    const Router r{9, experts, 40 < experts ? 40 : 33, Scoring::sigmoid, true, 1e-20f, 2.5f};
    Floats x = random(r.tokens * experts, 1, -3, 3), bias = random(experts, 2), w(r.tokens * r.k);
    // NaN is largest: chosen first, and no id leaves its range.
    x[5] = NAN;
    std::vector<int64_t> ids(w.size());
    router(ctx, r, x.data(), bias.data(), w.data(), ids.data());
    for (int64_t t = 0; t < r.tokens; ++t) {
      std::vector<int64_t> order(experts);
      Doubles score(experts);
      for (int64_t e = 0; e < experts; ++e)
        score[e] = t == 0 && e == 5 ? INFINITY : 1 / (1 + std::exp(-x[t * experts + e])) + bias[e];
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return score[a] > score[b]; });
      for (int64_t k = 0; k < r.k; ++k)
        ASSERT_EQ(ids[t * r.k + k], order[k]) << experts << " experts, token " << t;
    }
    double sum = 0;
    for (int64_t k = 0; k < r.k; ++k)
      sum += w[r.k + k];
    EXPECT_NEAR(sum, 2.5, 1e-5);
  }
}

TEST(GemmBf16, SumsAreFloat) {
  for (bool transB : {false, true}) {
    Context ctx;
    Gemm g{37, 70, 300};
    g.transB = transB;
    std::vector<bf16> a(g.m * g.k), b(g.k * g.n), narrow(g.m * g.n);
    const Floats wideA = random(a.size(), 1), wideB = random(b.size(), 2), bias = random(g.n, 3);
    std::transform(wideA.begin(), wideA.end(), a.begin(), [](float f) { return bf16(f); });
    std::transform(wideB.begin(), wideB.end(), b.begin(), [](float f) { return bf16(f); });
    Floats wide(g.m * g.n, NAN);
    gemm(ctx, g, a.data(), b.data(), wide.data(), bias.data());
    gemm(ctx, g, a.data(), b.data(), narrow.data(), bias.data());
    for (int64_t i = 0; i < g.m; ++i)
      for (int64_t j = 0; j < g.n; ++j) {
        double want = bias[j];
        for (int64_t p = 0; p < g.k; ++p)
          want += double(a[i * g.k + p]) * b[transB ? j * g.k + p : p * g.n + j];
        ASSERT_NEAR(wide[i * g.n + j], want, 1e-4);
        ASSERT_EQ(narrow[i * g.n + j].bits, bf16(wide[i * g.n + j]).bits);
      }
  }
}

// One fault does not hide the next step's, and a good step has none.
TEST(RoutingLarge, AFaultIsToldOnce) {
  Context ctx;
  std::vector<char> memory(Routing::bytes(3, 2, 4));
  const Routing r = Routing::at(memory.data(), 3, 2, 4);
  std::vector<int64_t> bad = {0, 1, 2, -7, 1, 0}, good = {0, 1, 2, 3, 1, 0};
  try {
    route(ctx, r, bad.data());
    FAIL();
  } catch (const RunError &e) {
    EXPECT_STREQ(e.what(), "expert -7 chosen by token 1 is outside 0..3");
  }
  route(ctx, r, good.data());
  EXPECT_EQ(r.offsets[4], 6);
}
