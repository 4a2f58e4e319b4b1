//===- model.h - CUDA's execution model on the CPU ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Compiles the CUDA kernels of this folder with a C++ compiler and runs them on
// the CPU, so that they are tested where there is no GPU. One block runs at a
// time; its threads are fibers that are switched at barriers and warp
// collectives only, in a fixed order. The model reports, with kernel, block and
// threads, and throws RunError for
//   * a race: a shared byte is written by one thread and read or written by
//     another with no barrier between (shared.h);
//   * an index outside a shared array;
//   * threads that wait for one another forever, or at barriers in different
//     places;
//   * a launch that no GPU of compute capability 9.0 accepts.
// Shared memory starts as 0xff bytes (NaN), so a read before a write shows.
//
// Not modelled: weak memory order of global memory, divergence inside a warp,
// tensor cores, asynchronous copies, clusters.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_MODEL_H
#define MOIRE_RT_CUDA_MODEL_H

#include "cuda/model/vector_types.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

namespace moire::rt::model {

inline constexpr int kWarp = 32, kMaxThreads = 1024;
/// Shared memory that a block of compute capability 9.0 can have.
inline constexpr int64_t kMaxShared = 227 * 1024;

/// One collective of the lanes in `mask`: complete when all have come.
struct Collective {
  uint32_t mask = 0, arrived = 0;
  uint32_t phase = 0; ///< collectives completed; lanes wait for it to move
  /// What the lanes gave, for two phases: a lane may give to the next one
  /// before another has read from the last.
  alignas(16) unsigned char slots[2][kWarp][16];
  uint32_t votes[2];
};

struct Warp {
  std::array<Collective, 4> collectives; ///< by mask, few are ever in use
  uint32_t live = 0;                     ///< lanes that the block has
  uint32_t stamp = 0;                    ///< moves at each __syncwarp
};

struct Thread {
  dim3 index;
  int linear = 0, lane = 0;
  Warp *warp = nullptr;
  void *stack = nullptr; ///< saved stack pointer while it is not running
  int stackNumber = -1;
  bool done = false;
  const uint32_t *waitsFor = nullptr; ///< runs again when this is not waitValue
  uint32_t waitValue = 0;
  const char *waitFile = nullptr; ///< of the barrier that it is at
  int waitLine = 0;
};

/// What a kernel sees of its launch.
struct Launch {
  dim3 grid, block, index;
};
// __thread, because every access to a thread_local of another file first asks
// whether it is made.
extern __thread Thread *current;
extern __thread Launch launch;

/// Where a kernel was launched: the text of its name, for messages.
struct Site {
  const char *kernel, *file;
  int line;
};

/// Runs `body(data)` for every thread of every block.
void run(const Site &site, dim3 grid, dim3 block, size_t dynamicShared,
         void (*body)(void *), void *data);

/// What the rank's stream is given while it is captured; null: it is not.
extern __thread std::vector<std::function<void()>> *captured;

/// Order of blocks and threads of the launches that follow: 0 ascending, else a
/// permutation drawn from the seed. Results must not depend on it.
void setOrder(uint32_t seed);

/// Throws RunError: `message` with kernel and block.
[[noreturn]] void fail(const std::string &message);

/// Lets other threads run until *counter is no longer `value`.
void waitFor(const uint32_t *counter, uint32_t value, const char *file, int line);

void syncThreads(const char *file, int line);
/// Adds up `value` over the block between two barriers.
int syncThreadsCount(bool value, const char *file, int line);
void syncWarp(uint32_t mask, const char *file, int line);
/// Gives `bytes` of `value` and waits for all lanes of mask; returns the slots
/// of that phase. `barrier`: also orders the warp's shared memory.
const Collective &exchange(uint32_t mask, const void *value, size_t bytes,
                           uint32_t &phase, const char *file, int line,
                           bool barrier = false);

template <typename T>
T shuffle(uint32_t mask, T value, int from, const char *file, int line) {
  static_assert(sizeof(T) <= 16 && std::is_trivially_copyable_v<T>);
  uint32_t phase;
  const Collective &c = exchange(mask, &value, sizeof(T), phase, file, line);
  if (!((mask >> from) & 1))
    fail("thread " + std::to_string(current->linear) +
         " shuffles from lane " + std::to_string(from) + ", which is not in the mask");
  T result;
  std::memcpy(&result, c.slots[phase & 1][from], sizeof(T));
  return result;
}

} // namespace moire::rt::model

#define threadIdx (::moire::rt::model::current->index)
#define blockIdx (::moire::rt::model::launch.index)
#define blockDim (::moire::rt::model::launch.block)
#define gridDim (::moire::rt::model::launch.grid)
inline constexpr int warpSize = 32;

// The place of a barrier is a default argument, so that the kernels' text needs
// no macro.
#define MOIRE_PLACE                                                            \
  const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(MOIRE_PLACE) { moire::rt::model::syncThreads(file, line); }
inline int __syncthreads_count(int value, MOIRE_PLACE) {
  return moire::rt::model::syncThreadsCount(value != 0, file, line);
}
inline int __syncthreads_or(int value, MOIRE_PLACE) {
  return moire::rt::model::syncThreadsCount(value != 0, file, line) != 0;
}
inline int __syncthreads_and(int value, MOIRE_PLACE) {
  return moire::rt::model::syncThreadsCount(value == 0, file, line) == 0;
}
inline void __syncwarp(uint32_t mask = ~0u, MOIRE_PLACE) {
  moire::rt::model::syncWarp(mask, file, line);
}

// A lane outside its group of `width` reads its own value, as on the device.
template <typename T>
T __shfl_sync(uint32_t mask, T value, int from, int width = 32, MOIRE_PLACE) {
  const int lane = moire::rt::model::current->lane;
  return moire::rt::model::shuffle(mask, value, (lane & ~(width - 1)) | (from & (width - 1)),
                                   file, line);
}
template <typename T>
T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32, MOIRE_PLACE) {
  const int lane = moire::rt::model::current->lane, from = lane ^ bits;
  // A lane reads from lower groups, but not from higher ones.
  return moire::rt::model::shuffle(mask, value, from > (lane | (width - 1)) ? lane : from,
                                   file, line);
}
template <typename T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32, MOIRE_PLACE) {
  const int lane = moire::rt::model::current->lane, from = lane + int(delta);
  return moire::rt::model::shuffle(mask, value, from > (lane | (width - 1)) ? lane : from,
                                   file, line);
}
template <typename T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32, MOIRE_PLACE) {
  const int lane = moire::rt::model::current->lane, from = lane - int(delta);
  return moire::rt::model::shuffle(mask, value, from < (lane & ~(width - 1)) ? lane : from,
                                   file, line);
}
inline uint32_t __ballot_sync(uint32_t mask, int predicate, MOIRE_PLACE) {
  const unsigned char vote = predicate != 0;
  uint32_t phase;
  const auto &c = moire::rt::model::exchange(mask, &vote, 1, phase, file, line);
  return c.votes[phase & 1];
}
inline int __any_sync(uint32_t mask, int predicate, MOIRE_PLACE) {
  return __ballot_sync(mask, predicate, file, line) != 0;
}
inline int __all_sync(uint32_t mask, int predicate, MOIRE_PLACE) {
  return __ballot_sync(mask, predicate, file, line) == mask;
}
template <typename T>
uint32_t __match_any_sync(uint32_t mask, T value, MOIRE_PLACE) {
  uint32_t phase, same = 0;
  const auto &c = moire::rt::model::exchange(mask, &value, sizeof(T), phase, file, line);
  for (int lane = 0; lane < 32; ++lane)
    if ((mask >> lane) & 1 && !std::memcmp(c.slots[phase & 1][lane], &value, sizeof(T)))
      same |= 1u << lane;
  return same;
}
#undef MOIRE_PLACE

inline void __threadfence() {}
inline void __threadfence_block() {}
inline int __popc(uint32_t x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline uint32_t __umulhi(uint32_t a, uint32_t b) { return uint32_t(uint64_t(a) * b >> 32); }
template <typename T> T __ldg(const T *p) { return *p; }

// Atomics of global memory; those of shared memory are in shared.h. Fibers are
// never switched inside one.
template <typename T> T atomicAdd(T *p, std::common_type_t<T> v) {
  static_assert(std::is_integral_v<T>, "sums of floats by atomics depend on the order");
  const T old = *p;
  *p = old + v;
  return old;
}
template <typename T> T atomicMax(T *p, std::common_type_t<T> v) {
  const T old = *p;
  *p = old > v ? old : v;
  return old;
}
template <typename T> T atomicMin(T *p, std::common_type_t<T> v) {
  const T old = *p;
  *p = old < v ? old : v;
  return old;
}
template <typename T> T atomicOr(T *p, std::common_type_t<T> v) {
  const T old = *p;
  *p = old | v;
  return old;
}
template <typename T> T atomicExch(T *p, std::common_type_t<T> v) {
  const T old = *p;
  *p = v;
  return old;
}
template <typename T>
T atomicCAS(T *p, std::common_type_t<T> expected, std::common_type_t<T> v) {
  const T old = *p;
  if (old == expected)
    *p = v;
  return old;
}

#include "cuda/model/shared.h"

#endif // MOIRE_RT_CUDA_MODEL_H
