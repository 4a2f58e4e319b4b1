//===- sort.h - Sorting positions by small keys ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_SORT_H
#define MOIRE_RT_CUDA_SORT_H

#include "moire/rt/context.h"

namespace moire::rt {

/// Positions 0 … n-1 in the order of their keys, equal keys by position.
struct Sorted {
  const uint32_t *keys;
  const int32_t *positions;
};

/// Bytes of memory that sortKeys wants.
int64_t sortBytes(int64_t n);

/// Sorts n keys below 2^bits that lie in `keys`, which is written over; n < 2^31.
Sorted sortKeys(Context &ctx, int64_t n, int bits, uint32_t *keys, void *memory);

} // namespace moire::rt

#endif // MOIRE_RT_CUDA_SORT_H
