//===- column_sums.h - Adding blocks' partial sums ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_COLUMN_SUMS_H
#define MOIRE_RT_CUDA_COLUMN_SUMS_H

#include "moire/rt/cuda/launch.h"

namespace moire::rt {

/// y[c] = Σ_p partial[p · stride + c] + beta · y[c], c < cols. The order depends
/// on `parts` alone. The partials were just written: they come from the cache.
void addPartials(Context &ctx, int64_t parts, int64_t cols, int64_t stride, const float *partial,
                 float beta, float *y);

} // namespace moire::rt

#endif // MOIRE_RT_CUDA_COLUMN_SUMS_H
