//===- GroupedTensorTest.cpp - Experts' products on the tensor cores ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The kernel of grouped_wgmma.cu in the model, whose copy engine and tensor cores
// follow the written layout of tiles, descriptors and barriers. Three blocks walk
// over all tiles.
//
//===----------------------------------------------------------------------===//

#include "cuda/grouped_wgmma.h"

#include "Order.h"
#include "TestUtil.h"

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
using Narrow = std::vector<bf16>;

Narrow narrow(int64_t n, uint32_t seed) {
  Narrow v(n);
  const Floats wide = random(n, seed);
  for (int64_t i = 0; i < n; ++i)
    v[i] = bf16(wide[i]);
  return v;
}

/// Rows of experts as given, one choice per token; tokens in a scrambled order.
struct Routed {
  std::vector<char> memory;
  Routing r;
  Routed(Context &ctx, const std::vector<int64_t> &rows) {
    std::vector<int64_t> ids;
    for (size_t e = 0; e < rows.size(); ++e)
      ids.insert(ids.end(), rows[e], int64_t(e));
    std::mt19937 gen(5);
    for (size_t i = ids.size(); i > 1; --i)
      std::swap(ids[i - 1], ids[gen() % i]);
    const auto tokens = int64_t(ids.size()), experts = int64_t(rows.size());
    memory.resize(Routing::bytes(tokens, 1, experts));
    r = Routing::at(memory.data(), tokens, 1, experts);
    route(ctx, r, ids.data());
  }
};

struct Shape {
  std::vector<int64_t> rows;
  int64_t n, k;
};
/// Tiles of 128 and of 256 columns, ends inside tiles and stages in every dim,
/// experts of no row, one row, a full tile and several tiles.
const std::vector<Shape> kShapes = {
    {{5, 0, 131, 1, 64}, 136, 72},
    {{0, 257, 0, 128, 30}, 256, 200},
    {{140, 3}, 520, 8},
    {{0, 0, 70}, 8, 328},
};

template <typename C> Doubles wide(const std::vector<C> &v) {
  Doubles d(v.size());
  for (size_t i = 0; i < v.size(); ++i)
    d[i] = float(v[i]);
  return d;
}
/// What rounding the result once may change, relatively.
template <typename C> constexpr double kTolerance = std::is_same_v<C, bf16> ? 1.0 / 256 : 2e-5;

template <typename C> void forward(const Shape &s, bool transB, bool withBias, float beta) {
  Context ctx;
  Routed x(ctx, s.rows);
  const int64_t rows = x.r.rows(), experts = x.r.experts;
  const Narrow in = narrow(rows * s.k, 1), w = narrow(experts * s.k * s.n, 2);
  const Floats bias = random(experts * s.n, 3), before = random(rows * s.n, 4);
  std::vector<C> y(rows * s.n + 8);
  for (int64_t i = 0; i < rows * s.n; ++i)
    y[i] = C(beta == 0 ? NAN : before[i]);
  for (int64_t i = 0; i < 8; ++i) // a row written beyond the last one shows
    y[rows * s.n + i] = C(42.0f);
  const Doubles old = wide(y);
  ASSERT_TRUE(tensorGroupedGemm(ctx, {s.n, s.k, transB, beta}, x.r, in.data(), w.data(), y.data(),
                                withBias ? bias.data() : nullptr));
  Doubles want = old;
  for (int64_t e = 0; e < experts; ++e)
    for (int64_t row = x.r.offsets[e]; row < x.r.offsets[e + 1]; ++row)
      for (int64_t j = 0; j < s.n; ++j) {
        double sum = withBias ? bias[e * s.n + j] : 0;
        for (int64_t i = 0; i < s.k; ++i)
          sum += double(in[row * s.k + i]) *
                 w[transB ? (e * s.n + j) * s.k + i : (e * s.k + i) * s.n + j];
        want[row * s.n + j] = sum + (beta == 0 ? 0 : beta * old[row * s.n + j]);
      }
  expectNear(wide(y), want, kTolerance<C>);
}
} // namespace

TEST(GroupedTensor, ForwardBothLayouts) {
  for (const Shape &s : kShapes)
    for (bool transB : {false, true}) {
      forward<float>(s, transB, false, 0);
      forward<bf16>(s, transB, false, 0);
    }
}

TEST(GroupedTensor, SwigluOfBothHalves) {
  for (const Shape &s : kShapes)
    for (bool transB : {false, true}) {
      Context ctx;
      Routed x(ctx, s.rows);
      const int64_t rows = x.r.rows(), experts = x.r.experts, n = 2 * s.n;
      const Narrow in = narrow(rows * s.k, 1), w = narrow(experts * s.k * n, 2);
      Narrow y(rows * n + 8, bf16(42.0f)), h(rows * s.n + 8, bf16(42.0f));
      ASSERT_TRUE(tensorGroupedSwiglu(ctx, {n, s.k, transB}, x.r, in.data(), w.data(), y.data(),
                                      h.data()));
      Doubles wantY = wide(y), wantH = wide(h);
      for (int64_t e = 0; e < experts; ++e)
        for (int64_t row = x.r.offsets[e]; row < x.r.offsets[e + 1]; ++row) {
          for (int64_t j = 0; j < n; ++j) {
            double sum = 0;
            for (int64_t i = 0; i < s.k; ++i)
              sum += double(in[row * s.k + i]) *
                     w[transB ? (e * n + j) * s.k + i : (e * s.k + i) * n + j];
            wantY[row * n + j] = sum;
          }
          for (int64_t j = 0; j < s.n; ++j) {
            const double gate = wantY[row * n + j], up = wantY[row * n + s.n + j];
            wantH[row * s.n + j] = gate / (1 + std::exp(-gate)) * up;
          }
        }
      expectNear(wide(y), wantY, kTolerance<bf16>);
      expectNear(wide(h), wantH, kTolerance<bf16>);
    }
}

TEST(GroupedTensor, PartsOfTheExpertsAreTheWhole) {
  for (const Shape &s : {Shape{{5, 0, 131, 64}, 136, 72}, Shape{{0, 257, 30, 0}, 256, 40}})
    for (bool transB : {false, true}) {
      Context ctx;
      Routed x(ctx, s.rows);
      const int64_t rows = x.r.rows(), n = 2 * s.n, size = s.k * n;
      const Narrow in = narrow(rows * s.k, 1), w = narrow(4 * size, 2), dy = narrow(rows * n, 3);
      const Floats bias = random(4 * n, 4);
      Narrow y[2], plain[2], h[2];
      Floats dw[2];
      for (int64_t parts : {1, 2}) {
        const int64_t to = parts - 1;
        y[to] = plain[to] = Narrow(rows * n, bf16(42.0f));
        h[to] = Narrow(rows * s.n, bf16(42.0f));
        dw[to] = Floats(4 * size, NAN);
        for (int64_t p = parts - 1; p >= 0; --p) {
          const Routing r = part(x.r, p, parts);
          const int64_t first = p * (4 / parts);
          const Narrow other = y[to];
          ASSERT_TRUE(tensorGroupedSwiglu(ctx, {n, s.k, transB}, r, in.data(),
                                          w.data() + first * size, y[to].data(), h[to].data()));
          for (int64_t i = 0; i < rows * n; ++i)
            if (i < r.offsets[0] * n || i >= *r.count() * n) {
              ASSERT_EQ(y[to][i].bits, other[i].bits);
            }
          ASSERT_TRUE(tensorGroupedGemm(ctx, {n, s.k, transB}, r, in.data(),
                                        w.data() + first * size, plain[to].data(),
                                        bias.data() + first * n));
          ASSERT_TRUE(tensorGroupedWeightGrad(ctx, {n, s.k}, r, in.data(), dy.data(),
                                              dw[to].data() + first * size));
        }
      }
      EXPECT_EQ(wide(y[0]), wide(y[1]));
      EXPECT_EQ(wide(h[0]), wide(h[1]));
      EXPECT_EQ(wide(plain[0]), wide(plain[1]));
      EXPECT_EQ(wide(dw[0]), wide(dw[1]));
    }
}

TEST(GroupedTensor, BiasAndAccumulation) {
  for (bool transB : {false, true}) {
    forward<bf16>(kShapes[0], transB, true, 0);
    forward<bf16>(kShapes[0], transB, false, 1);
    forward<float>(kShapes[3], transB, true, 0.5f);
  }
}

TEST(GroupedTensor, WeightGradientIgnoresRowsOfOthers) {
  for (const Shape &s : kShapes)
    for (float beta : {0.0f, 1.0f}) {
      Context ctx;
      Routed x(ctx, s.rows);
      const int64_t rows = x.r.rows(), experts = x.r.experts;
      Narrow in = narrow(rows * s.k, 1), dy = narrow(rows * s.n, 2);
      // Infinite rows of the last expert must not come near the others: a stage
      // holds both.
      for (int64_t i = x.r.offsets[experts - 1] * s.k; i < rows * s.k; ++i)
        in[i] = bf16(INFINITY);
      const Floats before = random(experts * s.k * s.n, 3);
      Floats dw = before;
      if (beta == 0)
        std::fill(dw.begin(), dw.end(), NAN);
      ASSERT_TRUE(tensorGroupedWeightGrad(ctx, {s.n, s.k, false, beta}, x.r, in.data(), dy.data(),
                                          dw.data()));
      for (int64_t e = 0; e + 1 < experts; ++e)
        for (int64_t i = 0; i < s.k; ++i)
          for (int64_t j = 0; j < s.n; ++j) {
            const int64_t at = (e * s.k + i) * s.n + j;
            double want = beta * before[at];
            for (int64_t row = x.r.offsets[e]; row < x.r.offsets[e + 1]; ++row)
              want += double(in[row * s.k + i]) * dy[row * s.n + j];
            ASSERT_NEAR(dw[at], want, 2e-5 * std::max(1.0, std::fabs(want)))
                << "expert " << e << " at " << i << ", " << j;
          }
    }
}

TEST(GroupedTensor, OrderOfBlocksAndThreadsDoesNotMatter) {
  const Shape s{{90, 0, 33}, 264, 136};
  for (uint32_t seed : {0u, 3u, 11u}) {
    setOrder(seed);
    forward<bf16>(s, false, false, 0);
    forward<bf16>(s, true, false, 0);
  }
  setOrder(0);
}

TEST(GroupedTensor, LeavesWhatTheCopyEngineCannotTake) {
  Context ctx;
  Routed x(ctx, {3, 4});
  Narrow in = narrow(7 * 12, 1), w = narrow(2 * 12 * 16, 2);
  std::vector<float> y(7 * 16, 1.5f);
  EXPECT_FALSE(tensorGroupedGemm(ctx, {16, 12}, x.r, in.data(), w.data(), y.data(), nullptr));
  EXPECT_FALSE(tensorGroupedGemm(ctx, {12, 16}, x.r, in.data(), w.data(), y.data(), nullptr));
  EXPECT_FALSE(tensorGroupedGemm(ctx, {8, 8}, x.r, in.data() + 1, w.data(), y.data(), nullptr));
  EXPECT_EQ(y, std::vector<float>(7 * 16, 1.5f));
}
