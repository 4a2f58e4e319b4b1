//===- LossTest.cpp - Cross-entropy ---------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/loss.h"

using namespace moire::rt;
using namespace moire::rt::test;

TEST(CrossEntropy, LossesGradientAndTheFusedForm) {
  for (int threads : {1, 2})
    for (auto [rows, vocab] : {std::pair<int64_t, int64_t>{1, 1}, {5, 3}, {37, 96}, {9, 5003}, {3, 60007}}) {
      Context ctx(threads);
      Floats x = random(rows * vocab, 1, -20, 20), dl = random(rows, 2);
      std::vector<int64_t> labels = randomInts(rows, vocab, 3);
      if (rows > 1)
        labels[1] = -100;
      Doubles losses(rows), d(x.size()), fused(x.size());
      const double seed = 0.125;
      for (int64_t i = 0; i < rows; ++i) {
        if (labels[i] == -100)
          continue;
        double sum = 0;
        for (int64_t j = 0; j < vocab; ++j)
          sum += std::exp(double(x[i * vocab + j]));
        losses[i] = std::log(sum) - x[i * vocab + labels[i]];
        for (int64_t j = 0; j < vocab; ++j) {
          double p = std::exp(double(x[i * vocab + j])) / sum - (j == labels[i]);
          d[i * vocab + j] = p * dl[i];
          fused[i * vocab + j] = p * seed;
        }
      }
      CrossEntropy c{rows, vocab};
      const Floats cotangent = {float(seed)};
      Floats got(rows, NAN), lse(rows, NAN), grad(x.size(), NAN), g2(x.size(), NAN), l2(rows, NAN);
      crossEntropy(ctx, c, x.data(), labels.data(), got.data(), lse.data());
      crossEntropyGrad(ctx, c, x.data(), labels.data(), lse.data(), dl.data(), 1, grad.data());
      expectNear(got, losses, 1e-5);
      expectNear(grad, d, 1e-5);
      crossEntropyWithGrad(ctx, c, x.data(), labels.data(), cotangent.data(), l2.data(), nullptr, g2.data());
      expectNear(l2, losses, 1e-5);
      expectNear(g2, fused, 1e-5);
      // In place.
      Floats place = x;
      crossEntropyGrad(ctx, c, place.data(), labels.data(), lse.data(), dl.data(), 1, place.data());
      EXPECT_EQ(place, grad);
      place = x;
      crossEntropyWithGrad(ctx, c, place.data(), labels.data(), cotangent.data(), l2.data(), nullptr, place.data());
      EXPECT_EQ(place, g2);
    }
}

TEST(CrossEntropy, ALabelOutOfRangeNamesPositionValueAndVocabulary) {
  Context ctx(2);
  Floats x(6 * 4), losses(6), lse(6);
  std::vector<int64_t> labels = {0, 1, 2, 3, 4, -100};
  CrossEntropy c{6, 4};
  c.seq = 3;
  try {
    crossEntropy(ctx, c, x.data(), labels.data(), losses.data(), lse.data());
    FAIL();
  } catch (const RunError &e) {
    EXPECT_STREQ(e.what(), "label 4 at row 1, position 1 is outside the vocabulary "
                           "0..3; use labels below 4, or -100 for one that does not count");
  }
}
