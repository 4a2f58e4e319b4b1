//===- norm_stats.cuh - Mean and deviation of a row -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_NORM_STATS_CUH
#define MOIRE_RT_CUDA_NORM_STATS_CUH

#include "cuda/row.cuh"

namespace moire::rt::device {

struct Stats {
  float mean, rstd;
};

/// Of layer norm; of RMS norm with mean 0. Two passes: no cancellation.
template <bool Layer, typename X, typename Form>
__device__ __forceinline__ Stats rowStats(Team<Form> &team, RowPart<X, Form> &x, int cols,
                                          float eps) {
  constexpr int W = Form::kWidth;
  float mean = 0;
  if constexpr (Layer) {
    float s = 0;
    x.each([&](int, const float(&v)[W], int) {
#pragma unroll
      for (int j = 0; j < W; ++j)
        s += v[j];
    });
    mean = team.sum(s) / float(cols);
  }
  float s = 0;
  x.each([&](int, const float(&v)[W], int) {
#pragma unroll
    for (int j = 0; j < W; ++j) {
      const float d = v[j] - mean;
      s = fmaf(d, d, s);
    }
  });
  return {mean, 1.0f / sqrtf(team.sum(s) / float(cols) + eps)};
}

} // namespace moire::rt::device

#endif // MOIRE_RT_CUDA_NORM_STATS_CUH
