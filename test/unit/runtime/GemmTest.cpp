//===- GemmTest.cpp - Matrix products -------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/gemm.h"

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
/// The definition, in double.
Doubles reference(const Gemm &g, const Floats &a, const Floats &b, const Floats &c,
                  const Floats *bias) {
  int64_t lda = g.lda ? g.lda : (g.transA ? g.m : g.k);
  int64_t ldb = g.ldb ? g.ldb : (g.transB ? g.k : g.n);
  int64_t ldc = g.ldc ? g.ldc : g.n;
  int64_t sa = g.strideA >= 0 ? g.strideA : (g.transA ? g.k : g.m) * lda;
  int64_t sb = g.strideB >= 0 ? g.strideB : (g.transB ? g.n : g.k) * ldb;
  int64_t sc = g.strideC >= 0 ? g.strideC : g.m * ldc;
  Doubles y(c.begin(), c.end());
  for (int64_t q = 0; q < g.batch; ++q)
    for (int64_t i = 0; i < g.m; ++i)
      for (int64_t j = 0; j < g.n; ++j) {
        double s = 0;
        for (int64_t p = 0; p < g.k; ++p)
          s += double(a[q * sa + (g.transA ? p * lda + i : i * lda + p)]) *
               b[q * sb + (g.transB ? j * ldb + p : p * ldb + j)];
        double &to = y[q * sc + i * ldc + j];
        to = g.alpha * s + (g.beta == 0 ? 0 : g.beta * to) + (bias ? (*bias)[j] : 0);
      }
  return y;
}

void check(Gemm g, bool withBias, int threads) {
  int64_t lda = g.lda ? g.lda : (g.transA ? g.m : g.k);
  int64_t ldb = g.ldb ? g.ldb : (g.transB ? g.k : g.n);
  int64_t ldc = g.ldc ? g.ldc : g.n;
  Floats a = random((g.transA ? g.k : g.m) * lda * g.batch, 1);
  Floats b = random((g.transB ? g.n : g.k) * ldb * g.batch, 2);
  Floats c = random(g.m * ldc * g.batch, 3), bias = random(g.n, 4);
  Doubles want = reference(g, a, b, c, withBias ? &bias : nullptr);
  if (g.beta == 0 && !g.ldc) // beta 0 must not read: NaN would stay
    std::fill(c.begin(), c.end(), NAN);
  Context ctx(threads);
  gemm(ctx, g, a.data(), b.data(), c.data(), withBias ? bias.data() : nullptr);
  expectNear(c, want, 1e-4);
}
} // namespace

TEST(Gemm, AllTransposesAccumulationAndBias) {
  for (bool ta : {false, true})
    for (bool tb : {false, true})
      for (float beta : {0.0f, 1.0f})
        for (auto [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1},
                               {17, 33, 5}, {64, 48, 70}, {129, 1, 31}}) {
          Gemm g{m, n, k};
          g.transA = ta;
          g.transB = tb;
          g.beta = beta;
          g.alpha = 0.5f;
          check(g, false, 2);
          if (beta == 0)
            check(g, true, 2);
        }
}

TEST(Gemm, LeadingDimensions) {
  Gemm g{19, 23, 29};
  g.lda = 40;
  g.ldb = 37;
  g.ldc = 50;
  check(g, false, 1);
}

TEST(Gemm, BatchedAndBroadcastWeight) {
  Gemm g{9, 11, 13};
  g.batch = 7;
  check(g, true, 2);
  g.strideB = 0;
  check(g, false, 2);
  g.transB = true;
  check(g, false, 1);
}

TEST(Gemm, SameBitsEveryTime) {
  Context ctx(2);
  Floats a = random(200 * 300, 1), b = random(300 * 100, 2), c(200 * 100), d = c;
  gemm(ctx, {200, 100, 300}, a.data(), b.data(), c.data());
  gemm(ctx, {200, 100, 300}, a.data(), b.data(), d.data());
  EXPECT_EQ(c, d);
}

TEST(Gemm, ResidualAndGeluAfterTheSum) {
  for (auto [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1}, {17, 33, 5}, {64, 48, 70},
                         {129, 40, 31}})
    for (bool withBias : {false, true})
      for (bool kept : {false, true}) {
        Gemm g{m, n, k};
        g.transB = true;
        Floats a = random(m * k, 1), b = random(n * k, 2), bias = random(n, 3);
        Floats c(m * n, NAN), before(m * n, NAN), residual = random(m * n, 4);
        const float *added = withBias ? bias.data() : nullptr;
        Doubles sums = reference(g, a, b, c, withBias ? &bias : nullptr), want = sums;
        for (int64_t i = 0; i < m * n; ++i)
          want[i] = sums[i] / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) *
                                                 (sums[i] + 0.044715 * std::pow(sums[i], 3))));
        Context ctx(2);
        gemmGelu(ctx, g, a.data(), b.data(), c.data(), added, kept ? before.data() : nullptr);
        expectNear(c, want, 1e-4);
        if (kept)
          expectNear(before, sums, 1e-4);
        for (int64_t i = 0; i < m * n; ++i)
          want[i] = sums[i] + residual[i];
        Floats inPlace = residual;
        float *to = kept ? inPlace.data() : c.data();
        gemmResidual(ctx, g, a.data(), b.data(), to, added, kept ? to : residual.data());
        expectNear(kept ? inPlace : c, want, 1e-4);
      }
}
