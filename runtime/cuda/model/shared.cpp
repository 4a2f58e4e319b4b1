//===- state->cpp - Who touched which byte of shared memory ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/model/block_state.h"
#include "cuda/model/model.h"

#include <algorithm>
#include <deque>

namespace moire::rt::model {

namespace {
/// An access of one byte. Epochs are barriers counted over all blocks, so that a
/// new block needs no clearing; stamps are barriers of the thread's warp.
struct Access {
  uint32_t epoch = 0, stamp = 0;
  int16_t thread = 0, before = 0; ///< before: another one, where several did
  bool atomic = false;   ///< of a write
  bool severalInWarp = false, severalWarps = false; ///< of reads in this epoch
};
struct Touched {
  Access write, read;
};
/// Most accesses are of whole words, whose bytes share their history until one
/// of them is touched alone.
struct Word {
  Touched whole;
  uint32_t splitIn = 0; ///< the block in which the bytes went apart
};

struct Shared {
  std::vector<char> memory = std::vector<char>(kMaxShared + 128);
  std::vector<Word> words = std::vector<Word>(kMaxShared / 4);
  std::vector<Touched> bytes = std::vector<Touched>(kMaxShared);
  std::deque<Array> arrays; ///< stays where it is as it grows
  Array dynamic = {};
  char *base = nullptr;
  int64_t dynamicBytes = 0, used = 0;
  uint32_t epoch = 0, block = 0;
};
thread_local Shared storage;
/// A plain pointer, because each access would ask whether storage is made.
__thread Shared *state = nullptr;

/// f(touched) for the history of each byte of the access, or of each word where
/// its bytes have the same.
template <typename F> void eachTouched(const Array *a, const void *p, size_t n, F &&f) {
  auto *c = static_cast<const char *>(p);
  if (c < a->begin || c + n > a->end)
    fail("thread " + std::to_string(current->linear) + " accesses byte " +
         std::to_string(c - a->begin) + " of '" + a->name + "', which has " +
         std::to_string(a->end - a->begin));
  if (reinterpret_cast<uintptr_t>(c) % (n & (0 - n)))
    fail("thread " + std::to_string(current->linear) + " accesses " + std::to_string(n) +
         " bytes at byte " + std::to_string(c - a->begin) + " of '" + a->name +
         "', which is not aligned");
  Shared &s = *state;
  const size_t at = c - s.base;
  for (size_t i = at; i < at + n;) {
    Word &w = s.words[i / 4];
    Touched *bytes = &s.bytes[i / 4 * 4];
    const size_t end = std::min(at + n, i / 4 * 4 + 4);
    if (end - i == 4 && w.splitIn != s.block) {
      f(w.whole);
    } else {
      if (w.splitIn != s.block)
        std::fill(bytes, bytes + 4, w.whole);
      w.splitIn = s.block;
      for (size_t k = i; k < end; ++k)
        f(bytes[k % 4]);
    }
    i = end;
  }
}

/// Whether a barrier lies between the access and the running thread.
bool ordered(const Access &a) {
  if (a.epoch != state->epoch)
    return true;
  if (a.severalWarps)
    return false;
  const Thread &t = *current;
  if (a.thread == t.linear && !a.severalInWarp)
    return true;
  return a.thread / kWarp == t.linear / kWarp && a.stamp < t.warp->stamp;
}

[[noreturn]] void race(const Array *a, const void *p, size_t n, const Access &first,
                       const char *did, const char *does) {
  const int64_t at = static_cast<const char *>(p) - a->begin;
  const int now = current->linear;
  const int other = first.thread == now ? first.before : first.thread;
  fail("race on element " + std::to_string(at / int64_t(n)) + " of '" + a->name + "' (" +
       std::to_string(n) + " bytes at byte " + std::to_string(at) + "): it is " + did +
       " by thread " + std::to_string(other) + " and " + does + " by thread " +
       std::to_string(now) + " with no barrier between");
}

void set(Access &a, bool atomic) {
  a.epoch = state->epoch;
  a.stamp = current->warp->stamp;
  a.thread = int16_t(current->linear);
  a.atomic = atomic;
  a.severalInWarp = a.severalWarps = false;
}
} // namespace

void setDynamicShared(size_t bytes) {
  state = &storage;
  Shared &s = *state;
  if (int64_t(bytes) > kMaxShared)
    fail(std::to_string(bytes) + " bytes of shared memory; a block has at most " +
         std::to_string(kMaxShared));
  s.dynamicBytes = int64_t(bytes);
  s.base = s.memory.data() + (0 - reinterpret_cast<uintptr_t>(s.memory.data())) % 128;
}

void beginBlock() {
  Shared &s = *state;
  if (s.used)
    std::memset(s.base, 0xff, s.used);
  s.arrays.clear();
  ++s.block;
  s.dynamic = {nullptr, "dynamic shared memory", s.base, s.base + s.dynamicBytes};
  s.used = (s.dynamicBytes + 15) / 16 * 16;
  std::memset(s.base, 0xff, s.used);
  nextEpoch();
}

void nextEpoch() {
  if (++state->epoch == 0) { // wrapped: old epochs would come again
    std::fill(state->bytes.begin(), state->bytes.end(), Touched());
    std::fill(state->words.begin(), state->words.end(), Word());
    state->epoch = 1;
  }
}

const Array *sharedArray(const void *key, const char *name, int64_t bytes) {
  Shared &s = *state;
  for (const Array &a : s.arrays)
    if (a.key == key)
      return &a;
  if (s.used + bytes > kMaxShared)
    fail("more than " + std::to_string(kMaxShared) + " bytes of shared memory with '" +
         name + "'");
  s.arrays.push_back({key, name, s.base + s.used, s.base + s.used + bytes});
  std::memset(s.base + s.used, 0xff, bytes);
  s.used += (bytes + 15) / 16 * 16;
  return &s.arrays.back();
}

const Array *dynamicArray(const char *name) {
  state->dynamic.name = name;
  return &state->dynamic;
}

void noteRead(const Array *a, const void *p, size_t n) {
  const Thread &t = *current;
  eachTouched(a, p, n, [&](Touched &b) {
    if (!ordered(b.write))
      race(a, p, n, b.write, b.write.atomic ? "updated" : "written", "read");
    Access &r = b.read;
    if (r.epoch != state->epoch) {
      set(r, false);
    } else if (r.thread != t.linear || r.stamp != t.warp->stamp) {
      if (r.thread / kWarp != t.linear / kWarp) {
        r.severalWarps = true;
        r.before = int16_t(t.linear);
      } else {
        // An earlier stamp of the warp is in order with all that follows in it.
        r.severalInWarp = r.stamp == t.warp->stamp;
        r.stamp = t.warp->stamp;
        r.before = r.thread;
        r.thread = int16_t(t.linear);
      }
    }
  });
}

void noteWrite(const Array *a, const void *p, size_t n) {
  eachTouched(a, p, n, [&](Touched &b) {
    if (!ordered(b.write))
      race(a, p, n, b.write, b.write.atomic ? "updated" : "written", "written");
    if (!ordered(b.read))
      race(a, p, n, b.read, "read", "written");
    set(b.write, false);
  });
}

void noteAtomic(const Array *a, const void *p, size_t n) {
  eachTouched(a, p, n, [&](Touched &b) {
    if (!ordered(b.write) && !b.write.atomic)
      race(a, p, n, b.write, "written", "updated");
    if (!ordered(b.read))
      race(a, p, n, b.read, "read", "updated");
    // Several threads may have updated it; like reads, in order with none.
    Access &w = b.write;
    const bool again = w.atomic && w.epoch == state->epoch;
    const bool warps = again && (w.severalWarps || w.thread / kWarp != current->linear / kWarp);
    const bool lanes = again && (w.severalInWarp || w.thread != current->linear) &&
                       w.stamp == current->warp->stamp;
    const int16_t before = w.thread;
    set(w, true);
    w.before = before;
    w.severalWarps = warps;
    w.severalInWarp = lanes;
  });
}

} // namespace moire::rt::model
