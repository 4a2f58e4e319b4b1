//===- Bf16Test.cpp - Conversions to and from bf16 -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/bf16.h"
#include "moire/rt/math.h"

#include <cfloat>
#include <limits>

using namespace moire::rt;

namespace {
float fromBits(uint32_t bits) { return math::bitsToFloat(int32_t(bits)); }
bf16 narrow(uint16_t bits) {
  bf16 x;
  x.bits = bits;
  return x;
}
} // namespace

TEST(Bf16, EveryValueReturnsUnchanged) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float wide = narrow(uint16_t(bits));
    if (std::isnan(wide)) {
      EXPECT_EQ(bf16(wide).bits, 0x7fff);
      continue;
    }
    ASSERT_EQ(bf16(wide).bits, bits);
    ASSERT_EQ(uint32_t(math::floatToBits(wide)), bits << 16);
  }
}

TEST(Bf16, RoundsToTheNearestAndTiesToEven) {
  // Between each two neighbours: below, at and above the middle.
  for (uint32_t low = 0; low < 0x7f7f; ++low)
    for (uint32_t sign : {0u, 0x8000u}) {
      const uint32_t base = (low | sign) << 16;
      const uint32_t even = (low & 1 ? low + 1 : low) | sign;
      ASSERT_EQ(bf16(fromBits(base + 0x7fff)).bits, low | sign);
      ASSERT_EQ(bf16(fromBits(base + 0x8000)).bits, even);
      ASSERT_EQ(bf16(fromBits(base + 0x8001)).bits, (low + 1) | sign);
    }
}

TEST(Bf16, TooLargeIsInfAndNaNStaysNaN) {
  EXPECT_EQ(bf16(FLT_MAX).bits, 0x7f80);
  EXPECT_EQ(bf16(-FLT_MAX).bits, 0xff80);
  EXPECT_EQ(bf16(std::numeric_limits<float>::infinity()).bits, 0x7f80);
  EXPECT_EQ(bf16(fromBits(0x7f7f7fff)).bits, 0x7f7f); // the last that is not
  // Also a NaN whose upper half alone would be inf.
  for (uint32_t bits : {0x7f800001u, 0x7fc00000u, 0xff800001u, 0xffffffffu})
    EXPECT_TRUE(std::isnan(float(bf16(fromBits(bits)))));
}

TEST(Bf16, ARowRoundsAsItsElements) {
  const int64_t n = 1003; // vectors and a rest
  test::Floats x = test::random(n, 1, -1e3f, 1e3f);
  std::vector<bf16> y(n);
  for (int64_t i = 0; i < n; ++i)
    y[i] = bf16(x[i]);
  for (int64_t i = 0; i < n; ++i) {
    // Half a unit in the last of eight bits.
    int exponent;
    std::frexp(x[i], &exponent);
    ASSERT_LE(std::fabs(float(y[i]) - x[i]), std::ldexp(1.0f, exponent - 9));
    ASSERT_EQ(roundToBf16(x[i]), float(y[i]));
  }
}
