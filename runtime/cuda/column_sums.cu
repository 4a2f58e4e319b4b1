//===- column_sums.cu - Adding blocks' partial sums -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/column_sums.h"

namespace moire::rt {

namespace {
/// 32 columns a block, so that a warp reads 128 bytes; up to 32 threads to one.
constexpr int kColumns = 32, kMostThreads = 32;

__global__ void __launch_bounds__(kColumns *kMostThreads)
    addPartialsKernel(int64_t parts, int64_t cols, int64_t stride, const float *partial,
                      float beta, float *y) {
  MOIRE_SHARED_MATRIX(float, sums, 32, 33);
  const int64_t c = int64_t(blockIdx.x) * kColumns + threadIdx.x;
  float s = 0;
  if (c < cols)
#pragma unroll 4
    for (int64_t p = threadIdx.y; p < parts; p += blockDim.y)
      s += partial[p * stride + c];
  sums[threadIdx.y][threadIdx.x] = s;
  for (int half = blockDim.y / 2; half; half /= 2) {
    __syncthreads();
    if (int(threadIdx.y) < half)
      sums[threadIdx.y][threadIdx.x] += sums[threadIdx.y + half][threadIdx.x];
  }
  if (threadIdx.y == 0 && c < cols) {
    const float total = sums[0][threadIdx.x];
    y[c] = beta == 0 ? total : total + beta * y[c];
  }
}
} // namespace

void addPartials(Context &ctx, int64_t parts, int64_t cols, int64_t stride, const float *partial,
                 float beta, float *y) {
  unsigned threads = 1; // to a column, each with 8 parts or more
  while (threads < kMostThreads && threads * 8 < parts)
    threads *= 2;
  MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned((cols + kColumns - 1) / kColumns)),
               dim3(kColumns, threads), 0, addPartialsKernel, parts, cols, stride, partial, beta,
               y);
}

} // namespace moire::rt
