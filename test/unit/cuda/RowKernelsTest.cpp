//===- RowKernelsTest.cpp - Norms, losses and updates of bf16 and at size -===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A kernel that reads bf16 must give what the float kernel gives for the same
// values, rounded; and the same bits in whatever order threads run.
//
//===----------------------------------------------------------------------===//

#include "Order.h"
#include "TestUtil.h"
#include "moire/rt/device.h"
#include "moire/rt/loss.h"
#include "moire/rt/norm.h"
#include "moire/rt/optimizer.h"

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
using Halves = std::vector<bf16>;
Halves narrow(const Floats &x) {
  Halves y;
  for (float v : x)
    y.push_back(bf16(v));
  return y;
}
Floats widen(const Halves &x) { return Floats(x.begin(), x.end()); }
/// Rounded once, so half a unit in the last of 8 bits.
constexpr double kHalf = 1.0 / 256;

const std::pair<int64_t, int64_t> kForms[] = {{3, 7}, {20, 64}, {9, 1024}, {5, 2048}, {3, 8192}, {2, 17000}};
} // namespace

TEST(RowKernels, NormsOfBf16) {
  Context ctx;
  for (auto [rows, cols] : kForms) {
    const Rows n{rows, cols, 1e-5f};
    const int64_t size = rows * cols;
    Halves x = narrow(random(size, 1, -1, 3)), r = narrow(random(size, 2)), dy = narrow(random(size, 3)),
           add = narrow(random(size, 4));
    Floats scale = random(cols, 5), bias = random(cols, 6), wx = widen(x), wd = widen(dy), wa = widen(add);
    Floats y(size, NAN), dx(size, NAN), ds(cols, NAN), db(cols, NAN), hs(cols, NAN), hb(cols, NAN);
    Halves hy(size), hdx(size), sum(size);
    layerNorm(ctx, n, wx.data(), scale.data(), bias.data(), y.data());
    layerNorm(ctx, n, x.data(), scale.data(), bias.data(), hy.data());
    expectNear(widen(hy), y, kHalf);
    layerNorm(ctx, n, wx.data(), scale.data(), bias.data(), hy.data()); // float to bf16
    expectNear(widen(hy), y, kHalf);
    rmsNorm(ctx, n, wx.data(), scale.data(), y.data());
    rmsNorm(ctx, n, x.data(), scale.data(), hy.data());
    expectNear(widen(hy), y, kHalf);
    // The residual stream is normalised as it is stored.
    layerNorm(ctx, n, x.data(), scale.data(), bias.data(), hy.data(), nullptr, nullptr, r.data(), sum.data());
    for (int64_t i = 0; i < size; ++i)
      ASSERT_EQ(sum[i].bits, bf16(float(x[i]) + float(r[i])).bits);
    Halves again(size);
    layerNorm(ctx, n, sum.data(), scale.data(), bias.data(), again.data());
    for (int64_t i = 0; i < size; ++i)
      ASSERT_EQ(again[i].bits, hy[i].bits);
    layerNormGrad(ctx, n, wd.data(), wx.data(), scale.data(), nullptr, nullptr, dx.data(), ds.data(), db.data(), 0, 0,
                  wa.data());
    layerNormGrad(ctx, n, dy.data(), x.data(), scale.data(), nullptr, nullptr, hdx.data(), hs.data(), hb.data(), 0, 0,
                  add.data());
    expectNear(widen(hdx), dx, kHalf);
    EXPECT_EQ(hs, ds);
    EXPECT_EQ(hb, db);
    rmsNormGrad(ctx, n, wd.data(), wx.data(), scale.data(), nullptr, dx.data(), ds.data());
    rmsNormGrad(ctx, n, dy.data(), wx.data(), scale.data(), nullptr, y.data(), hs.data());
    EXPECT_EQ(y, dx);
    EXPECT_EQ(hs, ds);
  }
}

TEST(RowKernels, GradientsOfNormsInAnyOrderOfThreads) {
  const Rows n{3000, 48, 1e-5f};
  Floats x = random(3000 * 48, 1), dy = random(3000 * 48, 2), s = random(48, 3), first;
  for (uint32_t order : {0u, 8u}) {
    setOrder(order);
    Context ctx;
    Floats dx(x.size()), ds(48), db(48);
    layerNormGrad(ctx, n, dy.data(), x.data(), s.data(), nullptr, nullptr, dx.data(), ds.data(), db.data());
    ds.insert(ds.end(), db.begin(), db.end());
    if (order) {
      EXPECT_EQ(ds, first);
    }
    first = ds;
  }
  setOrder(0);
}

TEST(RowKernels, CrossEntropyOfBf16OverOddVocabularies) {
  for (auto [rows, vocab] : {std::pair<int64_t, int64_t>{5, 3}, {6, 1027}, {4, 50257}, {3, 130001}}) {
    Context ctx;
    CrossEntropy c{rows, vocab};
    Halves x = narrow(random(rows * vocab, 1, -9, 9)), d(x.size());
    x[vocab] = bf16(-INFINITY); // a logit that is masked
    Floats wide = widen(x), wd(x.size(), NAN), losses(rows, NAN), l2(rows, NAN), lse(rows), lse2(rows);
    std::vector<int64_t> labels = randomInts(rows, vocab, 3);
    labels[0] = vocab - 1;
    labels[1] = 1;
    labels[2] = -100;
    const float dloss = 0.25f;
    crossEntropyWithGrad(ctx, c, wide.data(), labels.data(), &dloss, losses.data(), lse.data(), wd.data());
    crossEntropyWithGrad(ctx, c, x.data(), labels.data(), &dloss, l2.data(), lse2.data(), d.data());
    expectNear(l2, losses, 1e-6);
    expectNear(lse2, lse, 1e-6);
    expectNear(widen(d), wd, kHalf / 4);
    for (int64_t i = 0; i < rows; ++i) { // Σ_v dlogits = 0
      double sum = 0, most = 0;
      for (int64_t j = 0; j < vocab; ++j) {
        sum += wd[i * vocab + j];
        most = std::max(most, std::fabs(double(wd[i * vocab + j])));
      }
      EXPECT_NEAR(sum, 0, 5e-6);
      EXPECT_EQ(most > 0, labels[i] != -100);
    }
    Halves apart(x.size());
    crossEntropy(ctx, c, x.data(), labels.data(), l2.data(), lse2.data());
    expectNear(l2, losses, 1e-6);
    crossEntropyGrad(ctx, c, x.data(), labels.data(), lse2.data(), &dloss, 0, apart.data());
    expectNear(widen(apart), widen(d), kHalf / 4);
  }
}

TEST(RowKernels, AllParametersInOneUpdateAreEachAsAlone) {
  // More tensors than one launch takes, with gaps and without, odd sizes.
  constexpr int kCount = 300;
  std::vector<std::array<int64_t, 2>> shapes(kCount);
  std::vector<ParameterInfo> params(kCount);
  int64_t at = 0;
  for (int i = 0; i < kCount; ++i) {
    shapes[i] = {1 + i % 37, 3 + i % 5 * 16};
    params[i] = {};
    params[i].rank = i % 3 ? 2 : 1;
    params[i].shape = shapes[i].data();
    params[i].trainable = i < kCount - 2;
    params[i].offset = at;
    const int64_t n = shapes[i][0] * (params[i].rank == 2 ? shapes[i][1] : 1);
    at += (n + 15) / 16 * 16;
  }
  Program program = {};
  program.numParameters = kCount;
  program.parameters = params.data();
  program.paramElements = program.gradElements = at;
  program.optimizer = OptimizerKind::adamw;
  Context ctx(program, 1);
  Floats p = random(at, 1), g = random(at, 2), m = random(at, 3), v = random(at, 4, 0, 1);
  upload(ctx, ctx.param(0), p.data(), at * 4);
  upload(ctx, ctx.grad(0), g.data(), at * 4);
  upload(ctx, ctx.m.data(), m.data(), at * 4);
  upload(ctx, ctx.v.data(), v.data(), at * 4);
  ctx.hyper.lr = 0.01;
  ctx.hyper.weightDecay = 0.1;
  ctx.hyper.decayMatricesOnly = true;
  ctx.hyper.step = 3;
  double squares = 0;
  for (int i = 0; i < kCount - 2; ++i) {
    const int64_t n = shapes[i][0] * (params[i].rank == 2 ? shapes[i][1] : 1), o = params[i].offset;
    for (int64_t j = o; j < o + n; ++j)
      squares += double(g[j]) * g[j];
    updateAdamW(ctx, ctx.hyper, n, params[i].rank == 2, &p[o], &g[o], &m[o], &v[o]);
  }
  EXPECT_NEAR(globalNorm(ctx), std::sqrt(squares), 1e-12 * squares);
  beginStep(ctx);
  endStep(ctx);
  // Padding and frozen ones too.
  for (auto [block, want] : {std::pair<const DeviceBlock *, const Floats *>{&ctx.params, &p},
                             {&ctx.m, &m}, {&ctx.v, &v}}) {
    Floats got(at);
    download(ctx, got.data(), block->data(), at * 4);
    EXPECT_EQ(got, *want);
  }
}

TEST(RowKernels, AStepClipsOnTheDeviceAndLeavesParametersWhereItIsNotFinite) {
  constexpr int64_t kElements = 40011;
  const int64_t shape[] = {kElements};
  ParameterInfo info = {};
  info.rank = 1;
  info.shape = shape;
  info.trainable = true;
  Program program = {};
  program.numParameters = 1;
  program.parameters = &info;
  program.paramElements = program.gradElements = kElements;
  program.optimizer = OptimizerKind::sgd;
  Context ctx(program, 1);
  Floats p = random(kElements, 1), g = random(kElements, 2);
  upload(ctx, ctx.param(0), p.data(), kElements * 4);
  upload(ctx, ctx.grad(0), g.data(), kElements * 4);
  double squares = 0;
  for (float x : g)
    squares += double(x) * x;
  auto step = [&](double lr, double maxNorm, double loss) {
    StepOutcome outcome;
    outcome.loss = loss;
    upload(ctx, ctx.outcome.data(), &outcome, sizeof outcome);
    ctx.hyper.lr = lr;
    ctx.hyper.maxNorm = maxNorm;
    beginStep(ctx);
    endStep(ctx);
    return outcomeOfStep(ctx);
  };
  auto expectParameters = [&](const Doubles &want) {
    Floats got(kElements);
    download(ctx, got.data(), ctx.param(0), kElements * 4);
    expectNear(got, want, 1e-6);
  };
  // torch.nn.utils.clip_grad_norm_ with a norm above and one below the bound.
  Doubles want(p.begin(), p.end());
  const double norm = std::sqrt(squares);
  for (auto [lr, maxNorm, factor] :
       {std::array<double, 3>{0.5, norm / 3, norm / 3 / (norm + 1e-6)},
        std::array<double, 3>{0.25, norm * 3, 1}, std::array<double, 3>{0.125, 0, 1}}) {
    EXPECT_NEAR(step(lr, maxNorm, 2.5).norm, norm, 1e-12 * norm);
    for (int64_t i = 0; i < kElements; ++i)
      want[i] -= lr * factor * g[i];
    expectParameters(want);
  }
  // Neither a loss nor a norm that is not finite may spoil the parameters.
  step(1, 0, std::numeric_limits<double>::infinity());
  expectParameters(want);
  g[777] = std::numeric_limits<float>::quiet_NaN();
  upload(ctx, ctx.grad(0), g.data(), kElements * 4);
  EXPECT_TRUE(std::isnan(step(1, norm, 2.5).norm));
  expectParameters(want);
}
