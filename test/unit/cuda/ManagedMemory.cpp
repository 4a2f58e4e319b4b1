//===- ManagedMemory.cpp - Host memory that a GPU can read ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The tests of kernels hand vectors to them. On a GPU that is right if `new`
// gives managed memory and a launch returns when its kernel has ended: then the
// tests that prove the CPU's kernels and the model's prove the GPU's, unchanged.
//
//===----------------------------------------------------------------------===//

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>

namespace {
constexpr size_t kChunk = size_t(256) << 20, kHeader = 64;

/// Powers of two, each with a list of what was given back; never returned.
class Pool {
public:
  void *take(size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex);
    size_t c = 7;
    while ((size_t(1) << c) < bytes + kHeader)
      ++c;
    char *block = static_cast<char *>(given[c]);
    if (block)
      given[c] = *reinterpret_cast<void **>(block + kHeader);
    else
      block = carve(size_t(1) << c);
    *reinterpret_cast<size_t *>(block) = c;
    return block + kHeader;
  }
  void give(void *p) {
    const std::lock_guard<std::mutex> lock(mutex);
    char *block = static_cast<char *>(p) - kHeader;
    const size_t c = *reinterpret_cast<size_t *>(block);
    *static_cast<void **>(p) = given[c];
    given[c] = block;
  }

private:
  char *carve(size_t bytes) {
    if (bytes > left) {
      // Before CUDA starts: a launch returns when its kernel has ended.
      setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
      left = bytes > kChunk ? bytes : kChunk;
      void *p = nullptr;
      const cudaError_t error = cudaMallocManaged(&p, left);
      if (error != cudaSuccess) {
        std::fprintf(stderr,
                     "there is no GPU that CUDA can use (%s); cuda-model-tests runs without\n",
                     cudaGetErrorString(error));
        std::_Exit(77);
      }
      next = static_cast<char *>(p);
    }
    char *block = next;
    next += bytes;
    left -= bytes;
    return block;
  }
  std::mutex mutex;
  void *given[64] = {};
  char *next = nullptr;
  size_t left = 0;
};
/// Made at the first use: objects of other files are made before this one's.
Pool &pool() {
  alignas(Pool) static char memory[sizeof(Pool)];
  static Pool *made = new (memory) Pool;
  return *made;
}
} // namespace

void *operator new(size_t bytes) { return pool().take(bytes); }
void operator delete(void *p) noexcept {
  if (p)
    pool().give(p);
}
void operator delete(void *p, size_t) noexcept { operator delete(p); }
