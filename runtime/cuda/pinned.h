//===- pinned.h - Host memory that a GPU copies by itself -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_PINNED_H
#define MOIRE_RT_CUDA_PINNED_H

#include "moire/rt/cuda/check.h"
#include "moire/rt/memory.h"

namespace moire::rt {

/// A copy from or to other host memory may wait for what the stream was given before.
struct PinnedMemory {
  static char *allocate(int64_t bytes) {
    void *memory = nullptr;
    MOIRE_CUDA(cudaMallocHost(&memory, size_t(bytes)));
    return static_cast<char *>(memory);
  }
  static void release(char *memory, int64_t) { cudaFreeHost(memory); }
};
using PinnedBlock = BlockOf<PinnedMemory>;

} // namespace moire::rt

#endif // MOIRE_RT_CUDA_PINNED_H
