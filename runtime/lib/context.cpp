//===- context.cpp - One rank's memory ------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/context.h"
#include "kernels/gemm_cache.h"

#include <new>
#include <sys/mman.h>
#include <utility>

namespace moire::rt {

namespace {
/// Pages of 2 MiB spare most of the TLB misses of a large block.
constexpr int64_t kHugePage = int64_t(2) << 20;
int64_t mappedBytes(int64_t bytes) {
  int64_t unit = bytes >= kHugePage ? kHugePage : 4096;
  return (bytes + unit - 1) / unit * unit;
}
} // namespace

// Anonymous pages are zero and take memory only when touched.
Block::Block(int64_t size) : bytes(size) {
  if (size <= 0)
    return;
  void *p = mmap(nullptr, mappedBytes(size), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    throw RunError("cannot allocate " + std::to_string(size) +
                   " bytes; use a smaller batch or sequence in --bind");
  ptr = static_cast<char *>(p);
  if (size >= kHugePage)
    madvise(ptr, mappedBytes(size), MADV_HUGEPAGE);
}
Block::~Block() {
  if (ptr)
    munmap(ptr, mappedBytes(bytes));
}
Block::Block(Block &&other) noexcept
    : ptr(std::exchange(other.ptr, nullptr)),
      bytes(std::exchange(other.bytes, 0)) {}
Block &Block::operator=(Block &&other) noexcept {
  std::swap(ptr, other.ptr);
  std::swap(bytes, other.bytes);
  return *this;
}

Context::Context(int threadCount)
    : threads(threadCount), gemms(std::make_unique<GemmCache>()) {}

Context::Context(const Program &p, int threadCount) : Context(threadCount) {
  program = &p;
  params = Block(p.paramElements * 4);
  grads = Block(p.gradElements * 4);
  arena = Block(p.arenaBytes);
  inputStorage = std::make_unique<const void *[]>(p.numInputs + 1);
  inputs = inputStorage.get();
}

Context::~Context() = default;

void *Context::scratch(int64_t bytes) {
  if (bytes > scratchBlock.size())
    scratchBlock = Block(bytes);
  return scratchBlock.data();
}

} // namespace moire::rt
