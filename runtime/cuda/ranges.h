//===- ranges.h - Many tensors in one launch ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_RANGES_H
#define MOIRE_RT_CUDA_RANGES_H

#include "moire/rt/cuda/launch.h"

#include <vector>

namespace moire::rt::device {

/// Ranges cut into pieces, one a block. They travel as a kernel's parameter,
/// which holds 4 KiB, so that nothing need be kept on the device. Range: plain data
/// with an int64_t size.
template <typename Range> struct Pieces {
  static constexpr int kMost = int((4000 - 16) / (sizeof(Range) + sizeof(int32_t)));
  int count = 0;
  int32_t first[kMost + 1]; ///< number of the range's first piece
  Range range[kMost];

  /// The range of piece number `piece`.
  __device__ __forceinline__ int find(int piece) const {
    int low = 0, high = count - 1;
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (first[middle] <= piece)
        low = middle;
      else
        high = middle - 1;
    }
    return low;
  }
};

/// Calls body(pieces) for all ranges, at most Pieces::kMost of them at a time,
/// each cut into pieces of `elements`.
template <typename Range, typename Body>
void forPieces(const std::vector<Range> &ranges, int64_t elements, Body &&body) {
  static_assert(sizeof(Pieces<Range>) <= 4000, "leaves no room for other parameters");
  for (size_t i = 0; i < ranges.size();) {
    Pieces<Range> p;
    p.first[0] = 0;
    for (; i < ranges.size() && p.count < p.kMost; ++i) {
      p.range[p.count] = ranges[i];
      const int64_t next =
          p.first[p.count] + (ranges[i].size + elements - 1) / elements;
      p.first[++p.count] = int32_t(next);
    }
    body(p);
  }
}

} // namespace moire::rt::device

#endif // MOIRE_RT_CUDA_RANGES_H
