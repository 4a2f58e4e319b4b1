//===- Bf16MatrixTest.cpp - Products and routing of bf16 -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The float kernels are tested against plain loops in double; those on bf16
// against them on the same values.
//
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/gemm.h"

#include <array>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
/// Layouts with all transpositions, padded rows, a batch with a shared side, and
/// sizes beyond a block in each direction.
std::vector<Gemm> products() {
  std::vector<Gemm> all;
  for (bool transA : {false, true})
    for (bool transB : {false, true})
      for (auto [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {7, 13, 5}, {300, 270, 33},
                             {20, 17, 2100}}) {
        Gemm g{m, n, k};
        g.transA = transA;
        g.transB = transB;
        all.push_back(g);
        g.lda = (transA ? m : k) + 3;
        g.ldb = (transB ? k : n) + 1;
        g.ldc = n + 2;
        all.push_back(g);
      }
  Gemm batch{9, 11, 6};
  batch.batch = 5;
  batch.strideB = 0;
  batch.alpha = 0.5f;
  all.push_back(batch);
  return all;
}
int64_t sizeOf(int64_t rows, int64_t ld, int64_t batch) { return batch * rows * ld; }

struct Operands {
  Rounded a, b;
  int64_t c;
  explicit Operands(const Gemm &g)
      : a(sizeOf(g.transA ? g.k : g.m, g.lda ? g.lda : (g.transA ? g.m : g.k), g.batch), 1),
        b(sizeOf(g.transB ? g.n : g.k, g.ldb ? g.ldb : (g.transB ? g.k : g.n), g.batch), 2),
        c(sizeOf(g.m, g.ldc ? g.ldc : g.n, g.batch)) {}
};
} // namespace

TEST(Bf16Gemm, SumsInFloatAndRoundsOnce) {
  for (int threads : {1, 3})
    for (const Gemm &g : products())
      for (bool withBias : {false, true}) {
        Context ctx(threads);
        Operands x(g);
        Floats bias = random(g.n, 4), want(x.c, 7.0f);
        const float *add = withBias ? bias.data() : nullptr;
        gemm(ctx, g, x.a.wide.data(), x.b.wide.data(), want.data(), add);
        std::vector<bf16> rounded(x.c, bf16(7.0f));
        gemm(ctx, g, x.a.data(), x.b.data(), rounded.data(), add);
        expectRounded(rounded, want);
        Floats sums(x.c, 7.0f);
        gemm(ctx, g, x.a.data(), x.b.data(), sums.data(), add);
        expectNear(sums, want, 1e-4);
      }
}

TEST(Bf16Gemm, AddsToFloats) {
  for (Gemm g : products()) {
    Context ctx(2);
    Operands x(g);
    g.beta = 1;
    Floats want = random(x.c, 5), got = want;
    gemm(ctx, g, x.a.wide.data(), x.b.wide.data(), want.data());
    gemm(ctx, g, x.a.data(), x.b.data(), got.data());
    expectNear(got, want, 1e-4);
  }
}

TEST(Bf16Experts, ProductsMovesAndSums) {
  const int64_t tokens = 71, k = 2, experts = 5, width = 19, out = 23;
  for (int threads : {1, 2})
    for (bool transB : {false, true}) {
      Context ctx(threads);
      std::vector<int64_t> ids = randomInts(tokens * k, experts - 1, 3); // one gets none
      std::vector<char> memory(Routing::bytes(tokens, k, experts) + 64);
      Routing r = Routing::at(memory.data(), tokens, k, experts);
      route(ctx, r, ids.data());
      const int64_t rows = tokens * k;
      // 1. Products.
      Rounded x(rows * width, 1), w(experts * width * out, 2), dy(rows * out, 3);
      GroupedGemm g{out, width, transB};
      Floats want(rows * out), sums(rows * out), bias = random(experts * out, 4);
      std::vector<bf16> rounded(rows * out);
      groupedGemm(ctx, g, r, x.wide.data(), w.wide.data(), want.data(), bias.data());
      groupedGemm(ctx, g, r, x.data(), w.data(), rounded.data(), bias.data());
      expectRounded(rounded, want);
      groupedGemm(ctx, g, r, x.data(), w.data(), sums.data(), bias.data());
      expectNear(sums, want, 1e-5);
      for (float beta : {0.0f, 1.0f}) {
        g.beta = beta;
        Floats dw = random(experts * width * out, 5), dwWant = dw;
        groupedGemmWeightGrad(ctx, g, r, x.wide.data(), dy.wide.data(), dwWant.data());
        groupedGemmWeightGrad(ctx, g, r, x.data(), dy.data(), dw.data());
        expectNear(dw, dwWant, 1e-5);
      }
      // 2. Tokens to rows and back.
      Rounded t(tokens * width, 6), dt(tokens * width, 7);
      Floats weights = random(rows, 8, 0, 1), f(rows * width), y(tokens * width);
      std::vector<bf16> fb(rows * width), yb(tokens * width);
      dispatch(ctx, r, width, t.wide.data(), f.data());
      dispatch(ctx, r, width, t.data(), fb.data());
      expectRounded(fb, f);
      for (const float *each : {static_cast<const float *>(nullptr),
                                static_cast<const float *>(weights.data())}) {
        combine(ctx, r, width, x.wide.data(), each, y.data());
        combine(ctx, r, width, x.data(), each, yb.data());
        expectRounded(yb, y);
      }
      Floats dwFloat(rows), dwBf16(rows);
      combineGrad(ctx, r, width, x.wide.data(), weights.data(), dt.wide.data(), f.data(),
                  dwFloat.data());
      combineGrad(ctx, r, width, x.data(), weights.data(), dt.data(), fb.data(), dwBf16.data());
      expectRounded(fb, f);
      expectNear(dwBf16, dwFloat, 1e-5);
      combineGrad(ctx, r, width, x.data(), weights.data(), dt.data(), nullptr, dwBf16.data());
      expectNear(dwBf16, dwFloat, 1e-5);
      // 3. An expert's bias, in place.
      Floats values = random(experts * width, 9);
      perExpert(ctx, r, width, values.data(), f.data(), x.wide.data());
      fb = x.bits;
      perExpert(ctx, r, width, values.data(), fb.data(), fb.data());
      expectRounded(fb, f);
    }
}
