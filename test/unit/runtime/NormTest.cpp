//===- NormTest.cpp - Normalisations and softmax --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/norm.h"

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
struct NormReference {
  Doubles y, dx, dscale, dbias;
};
/// Layer norm (or RMS norm) and its gradient by the formulas of calculus:
/// dxhat = dy · scale; dx = Σ_j dxhat_j ∂xhat_j / ∂x_i.
NormReference reference(bool layer, int64_t rows, int64_t cols, double eps,
                        const Floats &x, const Floats *scale, const Floats *bias,
                        const Floats &dy) {
  NormReference r;
  r.y.resize(x.size());
  r.dx.resize(x.size());
  r.dscale.resize(cols);
  r.dbias.resize(cols);
  for (int64_t i = 0; i < rows; ++i) {
    const float *p = &x[i * cols];
    double mean = 0, var = 0;
    for (int64_t j = 0; layer && j < cols; ++j)
      mean += double(p[j]) / cols;
    for (int64_t j = 0; j < cols; ++j)
      var += (p[j] - mean) * (p[j] - mean) / cols;
    double rstd = 1 / std::sqrt(var + eps), s1 = 0, s2 = 0;
    for (int64_t j = 0; j < cols; ++j) {
      double xhat = (p[j] - mean) * rstd, g = dy[i * cols + j] * (scale ? (*scale)[j] : 1.0);
      r.y[i * cols + j] = xhat * (scale ? (*scale)[j] : 1) + (bias ? (*bias)[j] : 0);
      r.dscale[j] += dy[i * cols + j] * xhat;
      r.dbias[j] += dy[i * cols + j];
      s1 += layer ? g / cols : 0;
      s2 += g * xhat / cols;
    }
    for (int64_t j = 0; j < cols; ++j) {
      double xhat = (p[j] - mean) * rstd, g = dy[i * cols + j] * (scale ? (*scale)[j] : 1.0);
      r.dx[i * cols + j] = rstd * (g - s1 - xhat * s2);
    }
  }
  return r;
}
const std::pair<int64_t, int64_t> kShapes[] = {
    {1, 1}, {3, 7}, {33, 32}, {130, 769}, {9, 768}, {5, 3072}, {3, 6144}, {2, 9220}};
} // namespace

TEST(LayerNorm, ForwardBackwardWithAndWithoutScaleBiasStatistics) {
  for (int threads : {1, 2})
    for (auto [rows, cols] : kShapes)
      for (int form = 0; form < 4; ++form) {
        Context ctx(threads);
        Floats x = random(rows * cols, 1, -1, 3), scale = random(cols, 2),
               bias = random(cols, 3), dy = random(rows * cols, 4), add = random(rows * cols, 5);
        const Floats *s = form & 1 ? &scale : nullptr, *b = form & 2 ? &bias : nullptr;
        NormReference want = reference(true, rows, cols, 1e-3, x, s, b, dy);
        Rows n{rows, cols, 1e-3f};
        Floats y(x.size(), NAN), mean(rows), rstd(rows);
        layerNorm(ctx, n, x.data(), s ? s->data() : nullptr, b ? b->data() : nullptr,
                  y.data(), mean.data(), rstd.data());
        expectNear(y, want.y, 1e-4);
        Floats dx(x.size(), NAN), ds(cols, NAN), db(cols, NAN);
        bool saved = form == 3;
        layerNormGrad(ctx, n, dy.data(), x.data(), s ? s->data() : nullptr,
                      saved ? mean.data() : nullptr, saved ? rstd.data() : nullptr,
                      dx.data(), ds.data(), db.data());
        expectNear(dx, want.dx, 2e-3 * (cols == 1 ? 20 : 1));
        expectNear(ds, want.dscale, 1e-4);
        expectNear(db, want.dbias, 1e-4);
        // The residual's cotangent, and accumulation into dscale only.
        Floats sum(x.size());
        layerNormGrad(ctx, n, dy.data(), x.data(), s ? s->data() : nullptr, nullptr,
                      nullptr, sum.data(), ds.data(), db.data(), 1, 0, add.data());
        for (size_t i = 0; i < sum.size(); ++i)
          ASSERT_NEAR(sum[i], dx[i] + add[i], 1e-5);
        for (double &v : want.dscale)
          v *= 2;
        expectNear(ds, want.dscale, 1e-4);
        expectNear(db, want.dbias, 1e-4);
      }
}

TEST(RmsNorm, ForwardBackward) {
  for (auto [rows, cols] : kShapes)
    for (bool withScale : {false, true}) {
      Context ctx(2);
      Floats x = random(rows * cols, 1, -1, 3), scale = random(cols, 2), dy = random(rows * cols, 4);
      const Floats *s = withScale ? &scale : nullptr;
      NormReference want = reference(false, rows, cols, 1e-5, x, s, nullptr, dy);
      Rows n{rows, cols, 1e-5f};
      Floats y(x.size(), NAN), rstd(rows), dx(x.size(), NAN), ds(cols, NAN);
      rmsNorm(ctx, n, x.data(), s ? s->data() : nullptr, y.data(), rstd.data());
      expectNear(y, want.y, 1e-4);
      rmsNormGrad(ctx, n, dy.data(), x.data(), s ? s->data() : nullptr, nullptr,
                  dx.data(), ds.data());
      expectNear(dx, want.dx, 1e-4);
      expectNear(ds, want.dscale, 1e-4);
    }
}

TEST(Norm, ResidualIsAddedAndStored) {
  Context ctx(2);
  const Rows n{65, 100, 1e-5f};
  Floats x = random(6500, 1), r = random(6500, 2), sum(6500), y(6500), plain(6500), both = x;
  for (size_t i = 0; i < x.size(); ++i)
    both[i] += r[i];
  layerNorm(ctx, n, x.data(), nullptr, nullptr, y.data(), nullptr, nullptr, r.data(), sum.data());
  layerNorm(ctx, n, both.data(), nullptr, nullptr, plain.data());
  EXPECT_EQ(sum, both);
  EXPECT_EQ(y, plain);
  rmsNorm(ctx, n, x.data(), nullptr, y.data(), nullptr, r.data(), sum.data());
  rmsNorm(ctx, n, both.data(), nullptr, plain.data());
  EXPECT_EQ(sum, both);
  EXPECT_EQ(y, plain);
}

TEST(Norm, GradientsDoNotDependOnThreads) {
  const Rows n{300, 200, 1e-5f};
  Floats x = random(60000, 1), dy = random(60000, 2), s = random(200, 3);
  Floats dx1(60000), dx2(60000), ds1(200), ds2(200), db1(200), db2(200);
  Context one(1), two(2);
  layerNormGrad(one, n, dy.data(), x.data(), s.data(), nullptr, nullptr, dx1.data(), ds1.data(), db1.data());
  layerNormGrad(two, n, dy.data(), x.data(), s.data(), nullptr, nullptr, dx2.data(), ds2.data(), db2.data());
  EXPECT_EQ(dx1, dx2);
  EXPECT_EQ(ds1, ds2);
  EXPECT_EQ(db1, db2);
}

TEST(Softmax, ForwardBackwardAndLog) {
  for (auto [rows, cols] : kShapes) {
    Context ctx(2);
    Floats x = random(rows * cols, 1, -30, 30), dy = random(rows * cols, 2);
    Doubles y(x.size()), dx(x.size()), logY(x.size()), dlog(x.size());
    for (int64_t i = 0; i < rows; ++i) {
      double most = -1e30, sum = 0, dot = 0, total = 0;
      for (int64_t j = 0; j < cols; ++j)
        most = std::max(most, double(x[i * cols + j]));
      for (int64_t j = 0; j < cols; ++j)
        sum += std::exp(x[i * cols + j] - most);
      for (int64_t j = 0; j < cols; ++j) {
        int64_t k = i * cols + j;
        y[k] = std::exp(x[k] - most) / sum;
        logY[k] = x[k] - most - std::log(sum);
        dot += y[k] * dy[k];
        total += dy[k];
      }
      for (int64_t k = i * cols; k < (i + 1) * cols; ++k) {
        dx[k] = y[k] * (dy[k] - dot);
        dlog[k] = dy[k] - y[k] * total;
      }
    }
    Rows n{rows, cols};
    Floats got(x.size(), NAN), grad(x.size(), NAN);
    softmax(ctx, n, x.data(), got.data());
    expectNear(got, y, 1e-6);
    softmaxGrad(ctx, n, dy.data(), got.data(), grad.data());
    expectNear(grad, dx, 1e-6);
    logSoftmax(ctx, n, x.data(), got.data());
    expectNear(got, logY, 1e-5);
    logSoftmaxGrad(ctx, n, dy.data(), got.data(), grad.data());
    expectNear(grad, dlog, 1e-4);
  }
}

TEST(Softmax, ARowOfMinusInfinityGivesZerosAndNaNStays) {
  Context ctx(1);
  Floats x = {-INFINITY, -INFINITY, 0, -INFINITY, NAN, 1}, y(6);
  softmax(ctx, {3, 2}, x.data(), y.data());
  EXPECT_EQ(y[0], 0.0f);
  EXPECT_EQ(y[1], 0.0f);
  EXPECT_EQ(y[2], 1.0f);
  EXPECT_EQ(y[3], 0.0f);
  EXPECT_TRUE(std::isnan(y[4]) && std::isnan(y[5]));
}
