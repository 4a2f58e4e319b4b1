//===- memory.cpp - Memory of the host ------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/memory.h"

#include <string>
#include <sys/mman.h>

namespace moire::rt {

namespace {
constexpr int64_t kHugePage = int64_t(2) << 20;
int64_t mappedBytes(int64_t bytes) {
  int64_t unit = bytes >= kHugePage ? kHugePage : 4096;
  return (bytes + unit - 1) / unit * unit;
}
} // namespace

char *HostMemory::allocate(int64_t bytes) {
  void *p = mmap(nullptr, mappedBytes(bytes), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    throw RunError("cannot allocate " + std::to_string(bytes) +
                   " bytes; use a smaller batch or sequence in --bind");
  if (bytes >= kHugePage)
    madvise(p, mappedBytes(bytes), MADV_HUGEPAGE);
  return static_cast<char *>(p);
}

void HostMemory::release(char *memory, int64_t bytes) {
  munmap(memory, mappedBytes(bytes));
}

} // namespace moire::rt
