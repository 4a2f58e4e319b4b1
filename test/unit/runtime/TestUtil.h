//===- TestUtil.h - Random data and comparison ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RUNTIME_TESTUTIL_H
#define MOIRE_RUNTIME_TESTUTIL_H

#include "moire/rt/bf16.h"

#include <cmath>
#include <cstdint>
#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace moire::rt::test {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

inline Floats random(int64_t n, uint32_t seed, float low = -1, float high = 1) {
  std::mt19937 gen(seed);
  std::uniform_real_distribution<float> d(low, high);
  Floats v(n);
  for (float &x : v)
    x = d(gen);
  return v;
}

inline std::vector<int64_t> randomInts(int64_t n, int64_t below, uint32_t seed) {
  std::mt19937 gen(seed);
  std::vector<int64_t> v(n);
  for (int64_t &x : v)
    x = int64_t(gen() % below);
  return v;
}

/// |got - want| <= tolerance · max(1, |want|) everywhere.
template <typename Got, typename Want>
void expectNear(const Got &got, const Want &want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(double(got[i]), double(want[i]),
                tolerance * std::max(1.0, std::fabs(double(want[i]))))
        << "at " << i;
}

/// bf16 in memory and the floats that they are.
struct Rounded {
  std::vector<bf16> bits;
  Floats wide;
  explicit Rounded(const Floats &x) : wide(x.size()) {
    for (size_t i = 0; i < x.size(); ++i) {
      bits.push_back(bf16(x[i]));
      wide[i] = bits[i];
    }
  }
  Rounded(int64_t n, uint32_t seed, float low = -1, float high = 1)
      : Rounded(random(n, seed, low, high)) {}
  bf16 *data() { return bits.data(); }
};

/// got is `want` rounded to bf16, up to half a unit more: the float that was
/// rounded may have another order of additions behind it.
inline void expectRounded(const std::vector<bf16> &got, const Floats &want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(float(got[i]), want[i], std::fabs(want[i]) / 256 + 1e-5f) << "at " << i;
}

} // namespace moire::rt::test

#endif
