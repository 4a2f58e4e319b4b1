//===- philox.h - Counter-based random numbers ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as
// 1, 2, 3; SC 2011): four random words are a function of key and counter, so any
// element can be made anywhere, in any order.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_PHILOX_H
#define MOIRE_RT_PHILOX_H

#include <array>
#include <cmath>
#include <cstdint>

namespace moire::rt {

inline std::array<uint32_t, 4> philox(uint64_t key, uint64_t high, uint64_t low) {
  uint32_t c0 = uint32_t(low), c1 = uint32_t(low >> 32), c2 = uint32_t(high),
           c3 = uint32_t(high >> 32);
  uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
  for (int i = 0; i < 10; ++i) {
    const uint64_t a = uint64_t(0xD2511F53u) * c0, b = uint64_t(0xCD9E8D57u) * c2;
    const uint32_t n0 = uint32_t(b >> 32) ^ c1 ^ k0, n2 = uint32_t(a >> 32) ^ c3 ^ k1;
    c1 = uint32_t(b);
    c3 = uint32_t(a);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

/// Two standard normal values from two words (Box and Muller 1958).
inline std::array<double, 2> normalPair(uint32_t a, uint32_t b) {
  const double u = (a + 0.5) * 0x1p-32, v = b * 0x1p-32;
  const double r = std::sqrt(-2 * std::log(u)), t = 2 * M_PI * v;
  return {r * std::cos(t), r * std::sin(t)};
}

/// A permutation of 0 … n-1 without memory: a Feistel network over the next
/// power of four with Philox as round function, walked until it falls below n.
class Permutation {
public:
  Permutation(uint64_t n, uint64_t seed, uint64_t epoch)
      : n(n), seed(seed), epoch(epoch) {
    while ((uint64_t(1) << (2 * half)) < n)
      ++half;
  }
  uint64_t operator()(uint64_t i) const {
    const uint64_t mask = (uint64_t(1) << half) - 1;
    do {
      uint64_t left = i >> half, right = i & mask;
      for (uint64_t round = 0; round < 6; ++round) {
        const uint64_t f = philox(seed, epoch, right * 8 + round)[0] & mask;
        const uint64_t next = left ^ f;
        left = right;
        right = next;
      }
      i = left << half | right;
    } while (i >= n);
    return i;
  }

private:
  uint64_t n, seed, epoch;
  int half = 0;
};

} // namespace moire::rt

#endif // MOIRE_RT_PHILOX_H
