//===- warp.cuh - What the lanes of a warp do together --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_CUDA_WARP_CUH
#define MOIRE_CUDA_WARP_CUH

#include "moire/rt/cuda/launch.h"

#include <cmath>
#include <cstdint>

namespace moire::rt {

inline constexpr int kWarp = 32;
inline constexpr unsigned kFullWarp = 0xffffffffu;

/// The sum over the lanes, in all of them; a tree that does not depend on data.
template <typename T> __device__ inline T warpSum(T x) {
  for (int d = kWarp / 2; d > 0; d /= 2)
    x += __shfl_xor_sync(kFullWarp, x, d);
  return x;
}
/// The largest over the lanes, in all of them.
template <typename T> __device__ inline T warpMax(T x) {
  for (int d = kWarp / 2; d > 0; d /= 2) {
    const T other = __shfl_xor_sync(kFullWarp, x, d);
    x = other > x ? other : x;
  }
  return x;
}

} // namespace moire::rt

#endif // MOIRE_CUDA_WARP_CUH
