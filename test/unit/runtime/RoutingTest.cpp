//===- RoutingTest.cpp - Experts: routing, grouped products, router -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/gemm.h"

#include <algorithm>
#include <cstring>
#include <numeric>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
struct Case {
  int64_t tokens, k, experts;
  std::vector<int64_t> ids;
};

/// Even routing, experts without rows, one expert with all rows, one token.
std::vector<Case> cases() {
  std::vector<Case> all;
  all.push_back({37, 2, 8, {}});
  for (int64_t t = 0; t < 37; ++t)
    for (int64_t k = 0; k < 2; ++k)
      all.back().ids.push_back((t * 5 + k * 3) % 8);
  all.push_back({20, 3, 16, {}});
  for (int64_t i = 0; i < 60; ++i)
    all.back().ids.push_back(i % 2 ? 15 : 4);
  all.push_back({33, 1, 4, std::vector<int64_t>(33, 2)});
  all.push_back({1, 2, 2, {1, 0}});
  return all;
}

struct Routed {
  std::vector<char> memory;
  Routing r;
  explicit Routed(Context &ctx, const Case &c)
      : memory(Routing::bytes(c.tokens, c.k, c.experts) + 64) {
    r = Routing::at(memory.data(), c.tokens, c.k, c.experts);
    route(ctx, r, c.ids.data());
  }
};
} // namespace

TEST(Routing, IsAStableSortByExpert) {
  Context ctx(2);
  for (const Case &c : cases()) {
    Routed x(ctx, c);
    std::vector<int64_t> pairs(c.ids.size());
    std::iota(pairs.begin(), pairs.end(), 0);
    std::stable_sort(pairs.begin(), pairs.end(), [&](int64_t a, int64_t b) {
      return c.ids[a] < c.ids[b];
    });
    for (size_t row = 0; row < pairs.size(); ++row) {
      EXPECT_EQ(x.r.rowToPair[row], pairs[row]);
      EXPECT_EQ(x.r.pairToRow[pairs[row]], int32_t(row));
    }
    std::vector<int64_t> counts(c.experts);
    expertCounts(ctx, x.r, counts.data());
    for (int64_t e = 0; e < c.experts; ++e)
      EXPECT_EQ(counts[e], std::count(c.ids.begin(), c.ids.end(), e));
  }
}

TEST(Routing, AnExpertOutOfRangeIsNamed) {
  Context ctx(1);
  std::vector<char> memory(Routing::bytes(3, 1, 4));
  std::vector<int64_t> ids = {0, 4, 1};
  try {
    route(ctx, Routing::at(memory.data(), 3, 1, 4), ids.data());
    FAIL();
  } catch (const RunError &e) {
    EXPECT_STREQ(e.what(), "expert 4 chosen by token 1 is outside 0..3");
  }
}

TEST(Routing, DispatchCombineAndTheirGradients) {
  for (int threads : {1, 2})
    for (const Case &c : cases()) {
      const int64_t width = 129, rows = c.tokens * c.k;
      Context ctx(threads);
      Routed x(ctx, c);
      Floats input = random(c.tokens * width, 1), got(rows * width);
      dispatch(ctx, x.r, width, input.data(), got.data());
      for (int64_t p = 0; p < rows; ++p)
        for (int64_t i = 0; i < width; ++i)
          ASSERT_EQ(got[x.r.pairToRow[p] * width + i], input[p / c.k * width + i]);

      Floats rowValues = random(rows * width, 2), w = random(rows, 3);
      Floats dy = random(c.tokens * width, 4), y(c.tokens * width, NAN);
      Floats drows(rows * width), dw(rows), dx(c.tokens * width, NAN);
      combine(ctx, x.r, width, rowValues.data(), w.data(), y.data());
      combineGrad(ctx, x.r, width, rowValues.data(), w.data(), dy.data(),
                  drows.data(), dw.data());
      dispatchGrad(ctx, x.r, width, rowValues.data(), dx.data());
      Doubles wantY(y.size()), wantRows(drows.size()), wantW(rows), wantX(dx.size());
      for (int64_t p = 0; p < rows; ++p)
        for (int64_t i = 0; i < width; ++i) {
          int64_t row = x.r.pairToRow[p] * width + i, t = p / c.k * width + i;
          wantY[t] += double(w[p]) * rowValues[row];
          wantX[t] += rowValues[row];
          wantRows[row] = double(w[p]) * dy[t];
          wantW[p] += double(rowValues[row]) * dy[t];
        }
      expectNear(y, wantY, 1e-5);
      expectNear(dx, wantX, 1e-5);
      expectNear(drows, wantRows, 1e-5);
      expectNear(dw, wantW, 1e-5);
      dispatchGrad(ctx, x.r, width, rowValues.data(), dx.data(), 1);
      for (double &v : wantX)
        v *= 2;
      expectNear(dx, wantX, 1e-5);
    }
}

TEST(Routing, PerExpertValuesAndSums) {
  for (const Case &c : cases()) {
    const int64_t width = 70, rows = c.tokens * c.k;
    Context ctx(2);
    Routed x(ctx, c);
    Floats values = random(c.experts * width, 1), v(rows * width), z = random(rows * width, 2);
    Floats added = z, sums(c.experts * width, NAN);
    perExpert(ctx, x.r, width, values.data(), v.data());
    perExpert(ctx, x.r, width, values.data(), added.data(), added.data());
    perExpertSum(ctx, x.r, width, z.data(), sums.data());
    Doubles want(sums.size());
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t i = 0; i < width; ++i) {
        int64_t e = c.ids[x.r.rowToPair[row]];
        ASSERT_EQ(v[row * width + i], values[e * width + i]);
        ASSERT_EQ(added[row * width + i], z[row * width + i] + values[e * width + i]);
        want[e * width + i] += z[row * width + i];
      }
    expectNear(sums, want, 1e-5);
  }
}

TEST(GroupedGemm, ForwardBothLayoutsBiasAndWeightGradient) {
  for (int threads : {1, 2})
    for (const Case &c : cases()) {
      const int64_t k = 67, n = 211, rows = c.tokens * c.k;
      Context ctx(threads);
      Routed x(ctx, c);
      Floats in = random(rows * k, 1), w = random(c.experts * k * n, 2),
             bias = random(c.experts * n, 3), dy = random(rows * n, 4);
      Floats wT(w.size()), y(rows * n, NAN), yT(rows * n, NAN), yB(rows * n, NAN);
      for (int64_t e = 0; e < c.experts; ++e)
        for (int64_t i = 0; i < k; ++i)
          for (int64_t j = 0; j < n; ++j)
            wT[(e * n + j) * k + i] = w[(e * k + i) * n + j];
      groupedGemm(ctx, {n, k}, x.r, in.data(), w.data(), y.data());
      groupedGemm(ctx, {n, k, true}, x.r, in.data(), wT.data(), yT.data());
      groupedGemm(ctx, {n, k}, x.r, in.data(), w.data(), yB.data(), bias.data());
      Floats dw(w.size(), NAN), again = random(w.size(), 5), before = again;
      groupedGemmWeightGrad(ctx, {n, k}, x.r, in.data(), dy.data(), dw.data());
      groupedGemmWeightGrad(ctx, {n, k, false, 1.0f}, x.r, in.data(), dy.data(),
                            again.data());
      Doubles want(rows * n), wantB(rows * n), wantW(w.size()), wantAgain(w.size());
      for (int64_t row = 0; row < rows; ++row) {
        int64_t e = c.ids[x.r.rowToPair[row]];
        for (int64_t j = 0; j < n; ++j) {
          for (int64_t i = 0; i < k; ++i) {
            want[row * n + j] += double(in[row * k + i]) * w[(e * k + i) * n + j];
            wantW[(e * k + i) * n + j] += double(in[row * k + i]) * dy[row * n + j];
          }
          wantB[row * n + j] = want[row * n + j] + bias[e * n + j];
        }
      }
      for (size_t i = 0; i < wantW.size(); ++i)
        wantAgain[i] = wantW[i] + before[i];
      expectNear(y, want, 1e-4);
      expectNear(yT, want, 1e-4);
      expectNear(yB, wantB, 1e-4);
      expectNear(dw, wantW, 1e-4); // zeros for experts without rows
      expectNear(again, wantAgain, 1e-4);
    }
}

namespace {
/// The plain formula of nn.router in double; weights only.
Doubles routerReference(const Router &r, const Doubles &x, const std::vector<int64_t> &ids) {
  Doubles w(r.tokens * r.k);
  for (int64_t t = 0; t < r.tokens; ++t) {
    Doubles s(r.experts);
    double sum = 0;
    for (int64_t e = 0; e < r.experts; ++e) {
      double v = x[t * r.experts + e];
      bool chosen = false;
      for (int64_t k = 0; k < r.k; ++k)
        chosen |= ids[t * r.k + k] == e;
      s[e] = r.scoring == Scoring::sigmoid ? 1 / (1 + std::exp(-v)) : std::exp(v);
      if (r.scoring == Scoring::softmax || chosen)
        sum += s[e];
    }
    double total = 0;
    for (int64_t k = 0; k < r.k; ++k) {
      double &v = w[t * r.k + k];
      v = s[ids[t * r.k + k]];
      if (r.scoring != Scoring::sigmoid)
        v /= sum;
      total += v;
    }
    for (int64_t k = 0; k < r.k; ++k)
      w[t * r.k + k] *= r.scale / (r.normalize ? total + r.epsilon : 1);
  }
  return w;
}
} // namespace

TEST(Router, WeightsIdsAndGradientInAllForms) {
  Context ctx(2);
  for (Scoring scoring : {Scoring::softmax, Scoring::softmaxSelected, Scoring::sigmoid})
    for (bool normalize : {false, true})
      for (bool withBias : {false, true}) {
        Router r{23, 9, 3, scoring, normalize, 1e-3f, 1.5f};
        Floats x = random(r.tokens * r.experts, 1, -2, 2), bias = random(r.experts, 2);
        Floats w(r.tokens * r.k), dw = random(w.size(), 3), dx(x.size(), NAN);
        std::vector<int64_t> ids(w.size());
        router(ctx, r, x.data(), withBias ? bias.data() : nullptr, w.data(), ids.data());
        Doubles xd(x.begin(), x.end());
        expectNear(w, routerReference(r, xd, ids), 1e-5);
        routerGrad(ctx, r, x.data(), ids.data(), dw.data(), dx.data());
        // Central differences of Σ dw · w with the choice held.
        for (size_t i = 0; i < x.size(); i += 7) {
          const double h = 1e-5;
          Doubles up = xd, down = xd;
          up[i] += h;
          down[i] -= h;
          Doubles wu = routerReference(r, up, ids), wd = routerReference(r, down, ids);
          double slope = 0;
          for (size_t j = 0; j < wu.size(); ++j)
            slope += dw[j] * (wu[j] - wd[j]) / (2 * h);
          ASSERT_NEAR(dx[i], slope, 1e-5);
        }
      }
}

TEST(Router, EqualScoresChooseTheLowerId) {
  Context ctx(1);
  Router r{1, 5, 2};
  Floats x = {1, 3, 3, 3, 0}, w(2);
  std::vector<int64_t> ids(2);
  router(ctx, r, x.data(), nullptr, w.data(), ids.data());
  EXPECT_EQ(ids, (std::vector<int64_t>{1, 2}));
}

TEST(GroupedGemm, SwigluOfTheHalves) {
  for (const Case &c : cases())
    for (bool transB : {false, true}) {
      const int64_t k = 67, half = 105, n = 2 * half, rows = c.tokens * c.k;
      Context ctx(2);
      Routed x(ctx, c);
      Floats in = random(rows * k, 1), w = random(c.experts * k * n, 2);
      Floats y(rows * n, NAN), h(rows * half, NAN);
      groupedGemmSwiglu(ctx, {n, k, transB}, x.r, in.data(), w.data(), y.data(), h.data());
      Doubles wantY(rows * n), wantH(rows * half);
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t e = c.ids[x.r.rowToPair[row]];
        for (int64_t j = 0; j < n; ++j)
          for (int64_t i = 0; i < k; ++i)
            wantY[row * n + j] += double(in[row * k + i]) *
                                  w[transB ? (e * n + j) * k + i : (e * k + i) * n + j];
        for (int64_t j = 0; j < half; ++j) {
          const double gate = wantY[row * n + j], up = wantY[row * n + half + j];
          wantH[row * half + j] = gate / (1 + std::exp(-gate)) * up;
        }
      }
      expectNear(y, wantY, 1e-4);
      expectNear(h, wantH, 1e-4);
    }
}

namespace {
/// A product whose rows are gathered is, to the last bit, that of the rows that dispatch()
/// makes: forward, SwiGLU and both weights' gradients.
template <typename T> void gatheredIsDispatched(const Case &c, int64_t n, int64_t k) {
  const auto of = [](const Floats &from) { return std::vector<T>(from.begin(), from.end()); };
  const auto same = [](const auto &a, const auto &b) {
    return std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
  };
  Context ctx(2);
  Routed x(ctx, c);
  const int64_t pairs = c.tokens * c.k, rows = *x.r.count(), sizeW = c.experts * k * n;
  std::vector<T> tokens = of(random(c.tokens * k, 1)), dOut = of(random(c.tokens * n, 2));
  for (int64_t t = 0; t < c.tokens; ++t) { // what nobody chose is not to be seen anywhere
    const auto *ids = c.ids.data() + t * c.k;
    if (std::all_of(ids, ids + c.k, [](int64_t id) { return id == -1; })) {
      std::fill_n(tokens.begin() + t * k, k, T(NAN));
      std::fill_n(dOut.begin() + t * n, n, T(NAN));
    }
  }
  const std::vector<T> w = of(random(sizeW, 3)), dy = of(random(pairs * n, 4)),
                       in = of(random(pairs * k, 5)), before = of(random(pairs * n, 6));
  const Floats bias = random(c.experts * n, 7), dwBefore = random(sizeW, 8);
  std::vector<T> sorted(pairs * k), sortedDy(pairs * n);
  dispatch(ctx, x.r, k, tokens.data(), sorted.data());
  dispatch(ctx, x.r, n, dOut.data(), sortedDy.data());
  for (bool transB : {false, true}) {
    std::vector<T> y[3], h[2];
    Floats wide[2];
    for (int gather : {0, 1}) {
      const T *from = gather ? tokens.data() : sorted.data();
      GroupedGemm g{n, k, transB};
      g.gatherX = gather;
      y[gather] = before;
      groupedGemm(ctx, g, x.r, from, w.data(), y[gather].data(), bias.data());
      g.beta = 1;
      groupedGemm(ctx, g, x.r, from, w.data(), y[gather].data());
      wide[gather] = Floats(pairs * n, 42.0f);
      g.beta = 0;
      groupedGemm(ctx, g, x.r, from, w.data(), wide[gather].data());
    }
    EXPECT_TRUE(same(y[0], y[1])) << "forward";
    EXPECT_TRUE(same(wide[0], wide[1])) << "forward, float";
    for (int gather : {0, 1}) {
      GroupedGemm g{n, k, transB};
      g.gatherX = gather;
      y[gather] = before;
      h[gather] = std::vector<T>(pairs * n / 2, T(42.0f));
      groupedGemmSwiglu(ctx, g, x.r, gather ? tokens.data() : sorted.data(), w.data(),
                        y[gather].data(), h[gather].data());
    }
    EXPECT_TRUE(same(y[0], y[1]) && same(h[0], h[1])) << "SwiGLU";
    for (int64_t i = rows * n; i < pairs * n; ++i)
      EXPECT_EQ(float(y[1][i]), float(before[i])) << "a row that is not there was written";
  }
  for (float beta : {0.0f, 1.0f})
    for (bool ofDy : {false, true}) {
      Floats dw[2] = {dwBefore, dwBefore};
      for (int gather : {0, 1}) {
        GroupedGemm g{n, k, false, beta};
        (ofDy ? g.gatherDy : g.gatherX) = gather;
        const T *lhs = ofDy ? in.data() : gather ? tokens.data() : sorted.data();
        const T *rhs = !ofDy ? dy.data() : gather ? dOut.data() : sortedDy.data();
        groupedGemmWeightGrad(ctx, g, x.r, lhs, rhs, dw[gather].data());
      }
      EXPECT_TRUE(same(dw[0], dw[1])) << "a weight's gradient, beta " << beta;
      for (float v : dw[1])
        ASSERT_TRUE(std::isfinite(v));
    }
}
} // namespace

TEST(GroupedGemm, GatheredRowsAreThoseOfDispatch) {
  std::vector<Case> all = cases();
  // Pairs without an expert, among them both of token 5.
  all.push_back({131, 2, 3, {}});
  for (int64_t i = 0; i < 262; ++i)
    all.back().ids.push_back(i % 7 == 3 || i / 2 == 5 ? -1 : i * i % 11 % 3);
  for (const Case &c : all) {
    gatheredIsDispatched<float>(c, 24, 67);
    gatheredIsDispatched<bf16>(c, 24, 67);
    gatheredIsDispatched<bf16>(c, 136, 72); // tensor cores: tiles of 128 columns
  }
  gatheredIsDispatched<bf16>(all.front(), 256, 72); // of 256
}

// An expert gets other numbers of rows under other plans; what a row becomes must not
// change by that.
TEST(GroupedGemm, ARowsBitsDoNotDependOnHowManyThereAre) {
  for (auto [n, k] : {std::pair<int64_t, int64_t>{96, 32}, {32, 48}, {530, 60}, {64, 300}})
    for (bool transB : {false, true}) {
      const int64_t most = 230;
      const Floats in = random(most * k, 1), w = random(n * k, 2), bias = random(n, 3);
      auto product = [&](int64_t rows, int threads, const float *b) {
        Context ctx(threads);
        std::vector<int32_t> memory(Routing::bytes(rows, 1, 1) / 4);
        Routing r = Routing::at(memory.data(), rows, 1, 1);
        route(ctx, r, std::vector<int64_t>(rows, 0).data());
        Floats y(rows * n);
        groupedGemm(ctx, {n, k, transB}, r, in.data(), w.data(), y.data(), b);
        return y;
      };
      for (const float *b : {static_cast<const float *>(nullptr), bias.data()}) {
        const Floats all = product(most, 2, b);
        for (int64_t rows = 1; rows < most; ++rows) {
          const Floats some = product(rows, 1, b);
          ASSERT_EQ(std::memcmp(some.data(), all.data(), some.size() * sizeof(float)), 0)
              << rows << " rows, n " << n << ", k " << k << (transB ? ", transposed" : "");
        }
      }
    }
}

namespace {
template <typename T> std::vector<T> values(int64_t n, uint32_t seed) {
  const Floats x = random(n, seed);
  return std::vector<T>(x.begin(), x.end());
}
template <typename T> bool sameBits(const std::vector<T> &a, const std::vector<T> &b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// What is computed by parts of the experts, in an order drawn from `seed`, must have the bits
/// of what is computed at once: rows of `width`, or (rows = false) `width` values an expert;
/// what other parts have must stay.
template <typename T, typename Body>
void expectParts(const Routing &r, bool rows, int64_t width, uint32_t seed, Body &&body) {
  const std::vector<T> before = values<T>((rows ? r.rows() : r.experts) * width, 99);
  std::vector<T> whole = before;
  body(r, 0, whole.data());
  for (int64_t parts : {1, 2, 4}) {
    if (r.experts % parts != 0)
      continue;
    std::vector<int64_t> order(parts);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(seed));
    std::vector<T> got = before, want = before;
    for (int64_t index : order) {
      const Routing p = part(r, index, parts);
      const int64_t expert = index * (r.experts / parts);
      body(p, expert, got.data() + (rows ? 0 : expert * width));
      const int64_t begin = (rows ? p.offsets[0] : expert) * width;
      const int64_t end = (rows ? *p.count() : expert + p.experts) * width;
      std::copy(whole.begin() + begin, whole.begin() + end, want.begin() + begin);
      ASSERT_TRUE(sameBits(got, want)) << "part " << index << " of " << parts;
    }
    ASSERT_TRUE(sameBits(got, whole));
  }
}

template <typename T, typename C> void productsByParts(Context &ctx, const Routing &r) {
  const int64_t k = 35, n = 77;
  const std::vector<T> x = values<T>(r.rows() * k, 1), w = values<T>(r.experts * k * n, 2);
  const Floats bias = random(r.experts * n, 3);
  for (bool transB : {false, true}) {
    for (float beta : {0.0f, 1.0f})
      expectParts<C>(r, true, n, 7, [&](const Routing &p, int64_t expert, C *y) {
        groupedGemm(ctx, {n, k, transB, beta}, p, x.data(), w.data() + expert * k * n, y);
      });
    expectParts<C>(r, true, n, 8, [&](const Routing &p, int64_t expert, C *y) {
      groupedGemm(ctx, {n, k, transB}, p, x.data(), w.data() + expert * k * n, y,
                  bias.data() + expert * n);
    });
  }
}

template <typename T> void expertsByParts(Context &ctx, const Routing &r) {
  const int64_t k = 35, half = 37, n = 2 * half;
  const std::vector<T> x = values<T>(r.rows() * k, 1), w = values<T>(r.experts * k * n, 2);
  productsByParts<T, T>(ctx, r);
  for (bool transB : {false, true}) {
    std::vector<T> other(r.rows() * n);
    expectParts<T>(r, true, n, 9, [&](const Routing &p, int64_t expert, T *y) {
      groupedGemmSwiglu(ctx, {n, k, transB}, p, x.data(), w.data() + expert * k * n, y,
                        other.data());
    });
    expectParts<T>(r, true, half, 10, [&](const Routing &p, int64_t expert, T *h) {
      groupedGemmSwiglu(ctx, {n, k, transB}, p, x.data(), w.data() + expert * k * n, other.data(),
                        h);
    });
  }
  for (int64_t width : {1, 19, 24}) {
    const Floats each = random(r.experts * width, 4);
    const std::vector<T> z = values<T>(r.rows() * width, 5);
    expectParts<T>(r, true, width, 11, [&](const Routing &p, int64_t expert, T *rows) {
      perExpert(ctx, p, width, each.data() + expert * width, rows);
    });
    expectParts<T>(r, true, width, 12, [&](const Routing &p, int64_t expert, T *rows) {
      perExpert(ctx, p, width, each.data() + expert * width, rows, z.data());
    });
  }
  for (float beta : {0.0f, 1.0f})
    expectParts<float>(r, false, k * n, 13, [&](const Routing &p, int64_t, float *dw) {
      const std::vector<T> dy = values<T>(r.rows() * n, 6);
      groupedGemmWeightGrad(ctx, {n, k, false, beta}, p, x.data(), dy.data(), dw);
    });
}
} // namespace

TEST(Routing, PartsOfTheExpertsAreTheWhole) {
  std::vector<Case> all = cases();
  all.push_back({41, 2, 4, {}}); // an expert without rows, pairs without an expert
  const int64_t chosen[] = {3, 0, -1, 1, 3, -1};
  for (int64_t p = 0; p < 82; ++p)
    all.back().ids.push_back(chosen[p * 7 % 6]);
  for (const Case &c : all) {
    Context ctx(3);
    const Routed x(ctx, c);
    expertsByParts<float>(ctx, x.r);
    expertsByParts<bf16>(ctx, x.r);
    productsByParts<bf16, float>(ctx, x.r);
    const Floats rows = random(x.r.rows() * 21, 1);
    expectParts<float>(x.r, false, 21, 14, [&](const Routing &p, int64_t, float *sums) {
      perExpertSum(ctx, p, 21, rows.data(), sums);
    });
    expectParts<int64_t>(x.r, false, 1, 15, [&](const Routing &p, int64_t, int64_t *counts) {
      expertCounts(ctx, p, counts);
    });
  }
}
