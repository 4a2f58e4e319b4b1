//===- Bf16RowsTest.cpp - Normalisations and losses of bf16 ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The float kernels are tested against plain loops in double; those on bf16
// against them on the same values.
//
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/loss.h"
#include "moire/rt/norm.h"

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
const std::pair<int64_t, int64_t> shapes[] = {{1, 1}, {3, 32}, {70, 257}, {9, 1024}};
} // namespace

TEST(Bf16Norm, RoundsItsResult) {
  for (auto [rows, cols] : shapes) {
    Context ctx(2);
    Rows n{rows, cols, 1e-5f};
    Floats x = random(rows * cols, 1, -3, 3), residual = random(rows * cols, 2);
    Floats scale = random(cols, 3), bias = random(cols, 4);
    Floats y(rows * cols), sum(rows * cols), got(rows * cols);
    std::vector<bf16> yb(rows * cols);
    layerNorm(ctx, n, x.data(), scale.data(), bias.data(), y.data(), nullptr, nullptr,
              residual.data(), sum.data());
    layerNorm(ctx, n, x.data(), scale.data(), bias.data(), yb.data(), nullptr, nullptr,
              residual.data(), got.data());
    expectRounded(yb, y);
    EXPECT_EQ(got, sum);
    rmsNorm(ctx, n, x.data(), scale.data(), y.data());
    rmsNorm(ctx, n, x.data(), scale.data(), yb.data());
    expectRounded(yb, y);
  }
}

TEST(Bf16Norm, ReadsWhatIsRounded) {
  for (auto [rows, cols] : shapes) {
    Context ctx(2);
    Rows n{rows, cols, 1e-5f};
    Rounded x(rows * cols, 1, -3, 3), residual(rows * cols, 2);
    Floats scale = random(cols, 3), bias = random(cols, 4), y(rows * cols);
    std::vector<bf16> yb(rows * cols), sum(rows * cols);
    layerNorm(ctx, n, x.data(), scale.data(), bias.data(), yb.data(), nullptr, nullptr,
              residual.data(), sum.data());
    // What is normalised is the sum as it is stored.
    Floats rounded(rows * cols);
    for (size_t i = 0; i < sum.size(); ++i) {
      rounded[i] = roundToBf16(x.wide[i] + residual.wide[i]);
      ASSERT_EQ(float(sum[i]), rounded[i]);
    }
    layerNorm(ctx, n, rounded.data(), scale.data(), bias.data(), y.data());
    expectRounded(yb, y);
    rmsNorm(ctx, n, x.wide.data(), nullptr, y.data());
    rmsNorm(ctx, n, x.data(), nullptr, yb.data());
    expectRounded(yb, y);
  }
}

TEST(Bf16Norm, GradientsReadNarrowCotangents) {
  for (auto [rows, cols] : shapes)
    for (bool layer : {true, false}) {
      Context ctx(3);
      Rows n{rows, cols, 1e-5f};
      Rounded x(rows * cols, 1, -3, 3), dy(rows * cols, 2), add(rows * cols, 3);
      Floats scale = random(cols, 4), dx(rows * cols), dxMixed(rows * cols);
      Floats ds(cols), db(cols), dsGot(cols), dbGot(cols);
      std::vector<bf16> dxb(rows * cols);
      auto run = [&](auto *dyp, auto *xp, auto *dxp, auto *addp, Floats &s, Floats &b) {
        if (layer)
          layerNormGrad(ctx, n, dyp, xp, scale.data(), nullptr, nullptr, dxp, s.data(), b.data(),
                        0, 0, addp);
        else
          rmsNormGrad(ctx, n, dyp, xp, scale.data(), nullptr, dxp, s.data(), 0, addp);
      };
      run(dy.wide.data(), x.wide.data(), dx.data(), add.wide.data(), ds, db);
      run(dy.data(), x.wide.data(), dxMixed.data(), add.wide.data(), dsGot, dbGot);
      expectNear(dxMixed, dx, 1e-5);
      expectNear(dsGot, ds, 1e-5);
      expectNear(dbGot, db, 1e-5);
      run(dy.data(), x.data(), dxb.data(), add.data(), dsGot, dbGot);
      expectRounded(dxb, dx);
      expectNear(dsGot, ds, 1e-5);
      expectNear(dbGot, db, 1e-5);
    }
}

TEST(Bf16CrossEntropy, LossesAreFloatAndGradientsRounded) {
  for (auto [rows, vocab] : {std::pair<int64_t, int64_t>{1, 2}, {37, 96}, {5, 5003}}) {
    Context ctx(2);
    CrossEntropy c{rows, vocab};
    Rounded x(rows * vocab, 1, -5, 5);
    std::vector<int64_t> labels = randomInts(rows, vocab, 2);
    labels[rows / 2] = -100;
    const float dloss = 0.25f;
    Floats losses(rows), lse(rows), got(rows), lseGot(rows), d(rows * vocab);
    std::vector<bf16> db = x.bits; // in place
    crossEntropyWithGrad(ctx, c, x.wide.data(), labels.data(), &dloss, losses.data(), lse.data(),
                         d.data());
    crossEntropyWithGrad(ctx, c, db.data(), labels.data(), &dloss, got.data(), lseGot.data(),
                         db.data());
    expectNear(got, losses, 1e-6);
    expectNear(lseGot, lse, 1e-6);
    expectRounded(db, d);
    Floats got2(rows), lse2(rows);
    crossEntropy(ctx, c, x.data(), labels.data(), got2.data(), lse2.data());
    expectNear(got2, losses, 1e-6);
    std::fill(db.begin(), db.end(), bf16(3.0f));
    crossEntropyGrad(ctx, c, x.data(), labels.data(), lse2.data(), &dloss, 0, db.data());
    expectRounded(db, d);
  }
}
