//===- MathTest.cpp - Error bounds of math.h ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/math.h"

#include <limits>

using namespace moire::rt;

namespace {
constexpr float kInf = std::numeric_limits<float>::infinity();

/// Distance in units of the spacing of floats at `want`.
double ulps(float got, double want) {
  if (std::isnan(want))
    return std::isnan(got) ? 0 : kInf;
  if (std::fabs(want) > 3.4028235677973366e38) // rounds to inf
    return got == float(want) ? 0 : kInf;
  int exponent;
  std::frexp(want, &exponent);
  double spacing = std::ldexp(1.0, std::max(exponent - 24, -149));
  return std::fabs(double(got) - want) / spacing;
}

/// The largest error over all exponents, 4,001 mantissas of each, both signs
/// where wanted.
template <typename F, typename G>
void check(F f, G reference, double bound, bool negative, float least = 0,
           float most = kInf) {
  double worst = 0;
  float at = 0;
  for (int sign = 0; sign <= (negative ? 1 : 0); ++sign)
    for (uint32_t bits = 0; bits < 0x7f800000u; bits += 2097) {
      float x = math::bitsToFloat(int32_t(bits | uint32_t(sign) << 31));
      if (std::fabs(x) < least || std::fabs(x) > most)
        continue;
      double error = ulps(f(x), reference(double(x)));
      if (!(error <= worst)) {
        worst = error;
        at = x;
      }
    }
  EXPECT_LE(worst, bound) << "at " << at;
  testing::Test::RecordProperty("ulp", std::to_string(worst));
}
} // namespace

TEST(Math, ExpIsWithinOneAndAHalfUlp) {
  check([](float x) { return math::exp(x); }, [](double x) { return std::exp(x); }, 1.5, true);
}
TEST(Math, Expm1IsWithinTwoUlp) {
  check([](float x) { return math::expm1(x); }, [](double x) { return std::expm1(x); }, 2, true);
}
TEST(Math, LogIsWithinOneUlp) {
  check([](float x) { return math::log(x); }, [](double x) { return std::log(x); }, 1, false);
}
TEST(Math, Log1pIsWithinTwoUlp) {
  check([](float x) { return math::log1p(x); }, [](double x) { return std::log1p(x); }, 2, false);
  check([](float x) { return math::log1p(-x); }, [](double x) { return std::log1p(-x); }, 2, false, 0, 0.9999f);
}
TEST(Math, SigmoidIsWithinThreeUlp) {
  check([](float x) { return math::sigmoid(x); },
        [](double x) { return 1 / (1 + std::exp(-x)); }, 3, true);
}
TEST(Math, TanhIsWithinThreeUlp) {
  check([](float x) { return math::tanh(x); }, [](double x) { return std::tanh(x); }, 3, true);
}
TEST(Math, ErfIsWithinOneUlp) {
  check([](float x) { return math::erf(x); }, [](double x) { return std::erf(x); }, 1, true);
}
TEST(Math, RsqrtIsWithinTwoUlp) {
  check([](float x) { return math::rsqrt(x); }, [](double x) { return 1 / std::sqrt(x); }, 2, false);
}

TEST(Math, SpecialValues) {
  float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(math::exp(-kInf), 0.0f);
  EXPECT_EQ(math::exp(kInf), kInf);
  EXPECT_EQ(math::exp(0.0f), 1.0f);
  EXPECT_EQ(math::expm1(kInf), kInf);
  EXPECT_EQ(math::expm1(-kInf), -1.0f);
  EXPECT_EQ(math::log(0.0f), -kInf);
  EXPECT_EQ(math::log(1.0f), 0.0f);
  EXPECT_EQ(math::log(kInf), kInf);
  EXPECT_TRUE(std::isnan(math::log(-1.0f)));
  EXPECT_EQ(math::tanh(kInf), 1.0f);
  EXPECT_EQ(math::tanh(-kInf), -1.0f);
  EXPECT_EQ(math::erf(kInf), 1.0f);
  EXPECT_EQ(math::erf(-kInf), -1.0f);
  EXPECT_EQ(math::sigmoid(-kInf), 0.0f);
  EXPECT_EQ(math::sigmoid(kInf), 1.0f);
  for (float y : {math::exp(nan), math::log(nan), math::tanh(nan), math::erf(nan),
                  math::sigmoid(nan), math::expm1(nan), math::log1p(nan),
                  math::maximum(nan, 1.0f), math::maximum(1.0f, nan),
                  math::minimum(nan, 1.0f), math::minimum(1.0f, nan)})
    EXPECT_TRUE(std::isnan(y));
  EXPECT_EQ(math::floorDiv(-7, 2), -4);
  EXPECT_EQ(math::floorDiv(7, -2), -4);
  EXPECT_EQ(math::floorDiv(-8, 2), -4);
}

// The vector code of a loop must give the bits of the scalar code.
TEST(Math, LoopsGiveTheSameBitsAsSingleCalls) {
  moire::rt::test::Floats x = moire::rt::test::random(1037, 1, -20, 20), y(x.size());
  for (size_t i = 0; i < x.size(); ++i)
    y[i] = math::tanh(x[i]) + math::exp(x[i]) * math::erf(x[i]);
  for (size_t i = 0; i < x.size(); ++i) {
    volatile float one = x[i];
    float v = one;
    EXPECT_EQ(y[i], math::tanh(v) + math::exp(v) * math::erf(v));
  }
}
