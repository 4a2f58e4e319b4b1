//===- mixture.cpp - Rows of several streams in given shares --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/mixture.h"
#include "train/philox.h"

#include <algorithm>

namespace moire::rt {

namespace {
using Wide = unsigned __int128;
constexpr uint64_t kGolden = 0x9E3779B97F4A7C15; ///< (√5 - 1) / 2 in 2^-64
constexpr Wide kOne = Wide(1) << 64;

/// Σ ⌊(a · i + b) / m⌋ for i < n, modulo 2^128, by Euclid's algorithm (Graham, Knuth, Patashnik:
/// Concrete mathematics, 3.5); n < 2^63, m <= 2^64.
Wide floorSum(Wide n, Wide m, Wide a, Wide b) {
  Wide sum = 0;
  while (true) {
    if (a >= m) {
      sum += n * (n - 1) / 2 * (a / m);
      a %= m;
    }
    sum += n * (b / m);
    b %= m;
    const Wide last = a * n + b;
    if (last < m)
      return sum;
    n = last / m;
    b = last % m;
    std::swap(m, a);
  }
}

/// How many i < n have (i · φ + shift) mod 1 below `end`.
int64_t countBelow(Wide end, int64_t n, uint64_t shift) {
  if (n == 0)
    return 0;
  // ⌊x⌋ - ⌊x - end⌋ is 1 where frac(x) < end <= 1, else 0.
  const Wide all = floorSum(n, kOne, kGolden, shift),
             beyond = floorSum(n, kOne, kGolden, kOne - end + shift);
  return n + int64_t(all - beyond);
}
} // namespace

Mixture::Mixture(const std::vector<Phase> &phases, uint64_t seed) {
  // Epochs, which are the other counters of this seed, come nowhere near.
  const auto words = philox(seed, ~uint64_t(0), 0);
  shift = uint64_t(words[1]) << 32 | words[0];
  for (const Phase &phase : phases) {
    Part part{phase.firstRow, {}, {}};
    long double sum = 0, upTo = 0;
    for (double w : phase.weights)
      sum += w;
    for (size_t i = 0; i < phase.weights.size(); ++i) {
      upTo += phase.weights[i];
      part.ends.push_back(Wide(std::ldexp(std::min(1.0L, upTo / sum), 64)));
      part.before.push_back(parts.empty() ? 0 : countBefore(parts.back(), i, phase.firstRow));
    }
    parts.push_back(part);
  }
}

int64_t Mixture::countBefore(const Part &part, size_t stream, int64_t row) const {
  auto inPart = [&](int64_t n) {
    return countBelow(part.ends[stream], n, shift) -
           (stream ? countBelow(part.ends[stream - 1], n, shift) : 0);
  };
  return part.before[stream] + inPart(row) - inPart(part.firstRow);
}

Mixture::Place Mixture::at(int64_t row) const {
  auto next = std::upper_bound(parts.begin(), parts.end(), row,
                               [](int64_t r, const Part &p) { return r < p.firstRow; });
  const Part &part = next[-1];
  const uint64_t x = uint64_t(row) * kGolden + shift;
  const size_t stream =
      std::upper_bound(part.ends.begin(), part.ends.end(), Wide(x)) - part.ends.begin();
  return {int(stream), countBefore(part, stream, row)};
}

} // namespace moire::rt
