//===- placed_sum.h - A checksum that many writers make together ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Of a file of 4-byte words w_0, w_1, …: Σ mix(i, w_i) modulo 2^64, where mix is a bijection of
// i · odd + w (the finalizer of SplitMix64; Steele, Lea, Flood, 2014). Ranks that write or read
// parts of a file in any order add up their parts' sums. It finds accidents, not malice.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_PLACED_SUM_H
#define MOIRE_RT_PLACED_SUM_H

#include <cstdint>
#include <cstring>

namespace moire::rt {

/// The part of the sum of `bytes` bytes that lie `at` bytes into the file; both multiples of 4.
inline uint64_t placedSum(const void *data, int64_t bytes, int64_t at) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < bytes; i += 4) {
    uint32_t word;
    std::memcpy(&word, static_cast<const char *>(data) + i, 4);
    uint64_t x = uint64_t(at + i) / 4 * 0x9e3779b97f4a7c15u + word;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    sum += x ^ x >> 31;
  }
  return sum;
}

} // namespace moire::rt

#endif // MOIRE_RT_PLACED_SUM_H
