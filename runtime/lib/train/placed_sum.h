//===- placed_sum.h - A checksum that many writers make together ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Of a file of 4-byte words w_0, w_1, …: Σ 2^32 x(i, w_i) + y(i, w_i) modulo 2^64, where x and y
// are 32-bit hashes, bijections of w for each i. Ranks that write or read parts of a file in any
// order add up their parts' sums. It finds accidents, not malice.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_PLACED_SUM_H
#define MOIRE_RT_PLACED_SUM_H

#include <cstdint>

namespace moire::rt {

/// The part of the sum of `bytes` bytes that lie `at` bytes into the file; both multiples of 4.
uint64_t placedSum(const void *data, int64_t bytes, int64_t at);

} // namespace moire::rt

#endif // MOIRE_RT_PLACED_SUM_H
