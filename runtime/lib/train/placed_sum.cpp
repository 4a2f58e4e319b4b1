//===- placed_sum.cpp - A checksum that many writers make together --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/placed_sum.h"

#include <cstring>

namespace moire::rt {

uint64_t placedSum(const void *data, int64_t bytes, int64_t at) {
  const char *from = static_cast<const char *>(data);
  uint64_t sum = 0;
  for (int64_t i = 0; i < bytes / 4; ++i) {
    uint32_t word;
    std::memcpy(&word, from + 4 * i, 4);
    const uint64_t place = uint64_t(at / 4 + i);
    // A multiply-xorshift hash of two rounds and another round of it: 32-bit products, which
    // vectorise.
    uint32_t x = word + uint32_t(place) * 0x9e3779b9u + uint32_t(place >> 32);
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    x ^= x >> 16;
    uint32_t y = (x ^ 0x5bd1e995u) * 0x85ebca6bu;
    y ^= y >> 13;
    sum += (uint64_t(x) << 32) + y;
  }
  return sum;
}

} // namespace moire::rt
