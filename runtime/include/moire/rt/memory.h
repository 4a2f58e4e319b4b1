//===- memory.h - Blocks of memory, on the host and where kernels run -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_MEMORY_H
#define MOIRE_RT_MEMORY_H

#include <cstdint>
#include <stdexcept>
#include <utility>

namespace moire::rt {

/// Wrong input or usage: exit code 1. The message is one sentence without
/// `error: `.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// Failed in the run: exit code 2.
struct RunError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Of the host: huge pages where large.
struct HostMemory {
  static char *allocate(int64_t bytes);
  static void release(char *memory, int64_t bytes);
};
/// Of the device that executes the kernels; the host's on the CPU target. Each
/// target implements these two.
struct DeviceMemory {
  static char *allocate(int64_t bytes);
  static void release(char *memory, int64_t bytes);
};

/// Zero-initialised memory, at least 64-byte aligned. Throws RunError where
/// there is not enough.
template <typename Memory> class BlockOf {
public:
  BlockOf() = default;
  explicit BlockOf(int64_t size)
      : ptr(size > 0 ? Memory::allocate(size) : nullptr), bytes(size > 0 ? size : 0) {}
  ~BlockOf() {
    if (ptr)
      Memory::release(ptr, bytes);
  }
  BlockOf(BlockOf &&other) noexcept
      : ptr(std::exchange(other.ptr, nullptr)), bytes(std::exchange(other.bytes, 0)) {}
  BlockOf &operator=(BlockOf &&other) noexcept {
    std::swap(ptr, other.ptr);
    std::swap(bytes, other.bytes);
    return *this;
  }
  char *data() const { return ptr; }
  int64_t size() const { return bytes; }
  template <typename T> T *as() const { return reinterpret_cast<T *>(ptr); }

private:
  char *ptr = nullptr;
  int64_t bytes = 0;
};
using Block = BlockOf<HostMemory>;
using DeviceBlock = BlockOf<DeviceMemory>;

} // namespace moire::rt

#endif // MOIRE_RT_MEMORY_H
