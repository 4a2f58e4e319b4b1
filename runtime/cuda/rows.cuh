//===- rows.cuh - Rows of a matrix, 16 bytes a thread ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Kernels that treat rows of `width` elements as a whole (gather, combine, …)
// run over blocks of (columns, rows) threads: threadIdx.x runs over the vectors
// of a row, blockIdx.x · blockDim.y + threadIdx.y is the row.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_CUDA_ROWS_CUH
#define MOIRE_CUDA_ROWS_CUH

#include "moire/rt/cuda/launch.h"

#include <cstdint>

namespace moire::rt::rows {

/// N elements that are loaded and stored at once.
template <typename T, int N> struct alignas(sizeof(T) * N) Pack { T at[N]; };

/// Elements of T in 16 bytes.
template <typename T> inline constexpr int kWide = 16 / int(sizeof(T));

inline constexpr int kThreads = 256;
/// Vectors that a thread has in flight.
inline constexpr int kUnroll = 4;

/// Whether rows of `width` elements at all of these pointers can be accessed in
/// vectors of 16 bytes. Null counts as aligned.
template <typename T, typename... P> bool wide(int64_t width, const P *...p) {
  return width % kWide<T> == 0 && (... && (reinterpret_cast<uintptr_t>(p) % 16 == 0));
}

struct Shape {
  dim3 grid, block;
};
/// Blocks for `rows` rows of `vectors` vectors: as many threads to a row as give
/// each kUnroll vectors, at most a block.
inline Shape shape(int64_t rows, int64_t vectors) {
  unsigned columns = 1;
  while (columns < kThreads && columns * kUnroll < vectors)
    columns *= 2;
  const unsigned perBlock = kThreads / columns;
  return {dim3(static_cast<unsigned>((rows + perBlock - 1) / perBlock)), dim3(columns, perBlock)};
}

/// The row of this thread.
__device__ inline int64_t row() { return int64_t(blockIdx.x) * blockDim.y + threadIdx.y; }

} // namespace moire::rt::rows

#endif // MOIRE_CUDA_ROWS_CUH
