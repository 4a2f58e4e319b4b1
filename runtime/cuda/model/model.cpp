//===- model.cpp - Running a kernel's blocks and threads ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/model/model.h"
#include "cuda/model/block_state.h"
#include "cuda/model/fiber.h"
#include "moire/rt/cuda/check.h"

#include <algorithm>
#include <exception>
#include <numeric>
#include <random>
#include <sys/mman.h>
#include <utility>

namespace moire::rt::model {

__thread Thread *current = nullptr;
__thread Launch launch;

namespace {
/// Kernels keep tiles in local arrays; pages are taken when touched.
constexpr size_t kStack = 256 * 1024, kGuard = 4096;
uint32_t orderSeed = 0;

/// Stacks for one block's threads, kept between launches. A page below each is
/// closed, so that an overflow stops the program instead of spoiling another.
class Stacks {
public:
  ~Stacks() {
    if (base)
      munmap(base, kMaxThreads * kStack);
  }
  int take() {
    if (!base) {
      void *p = mmap(nullptr, kMaxThreads * kStack, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (p == MAP_FAILED)
        throw RunError("cannot allocate the stacks of the model's threads");
      base = static_cast<char *>(p);
      for (int i = kMaxThreads - 1; i >= 0; --i) {
        mprotect(base + i * kStack, kGuard, PROT_NONE);
        free.push_back(i);
      }
    }
    int i = free.back();
    free.pop_back();
    return i;
  }
  void give(int i) { free.push_back(i); }
  void giveAll() {
    free.resize(kMaxThreads);
    std::iota(free.rbegin(), free.rend(), 0);
  }
  char *at(int i) const { return base + i * kStack + kGuard; }

private:
  char *base = nullptr;
  std::vector<int> free;
};

struct Runner {
  Site site = {};
  void (*body)(void *) = nullptr;
  void *data = nullptr;
  void *scheduler = nullptr; ///< stack pointer of run()
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<int> order;
  Stacks stacks;
  std::exception_ptr error;
  bool running = false;

  int barrierArrived = 0, votes[2] = {0, 0};
  uint32_t barrierPhase = 0;
  const char *barrierFile = nullptr;
  int barrierLine = 0;

  void runBlock();
  [[noreturn]] void reportStuck();
};
thread_local Runner runner;

/// The first function of each fiber. An exception must not leave its stack.
void entry() {
  Thread &t = *current;
  try {
    runner.body(runner.data);
  } catch (...) {
    runner.error = std::current_exception();
  }
  t.done = true;
  switchFiber(&t.stack, runner.scheduler);
  __builtin_unreachable();
}

/// Leaves the thread until *counter is no longer `value`.
void wait(const uint32_t *counter, uint32_t value, const char *file, int line) {
  Thread &t = *current;
  t.waitsFor = counter;
  t.waitValue = value;
  t.waitFile = file;
  t.waitLine = line;
  switchFiber(&t.stack, runner.scheduler);
}

std::string place(const char *file, int line) {
  std::string path = file;
  return path.substr(path.rfind('/') + 1) + ":" + std::to_string(line);
}

void Runner::runBlock() {
  const int count = int(threads.size());
  for (Warp &w : warps) {
    w.stamp = 0;
    for (Collective &c : w.collectives)
      c.mask = c.arrived = 0;
  }
  for (Thread &t : threads) {
    t.done = false;
    t.stackNumber = -1;
    t.waitsFor = nullptr;
  }
  barrierArrived = votes[0] = votes[1] = 0;
  beginBlock();
  for (int left = count; left;) {
    bool moved = false;
    for (int i : order) {
      Thread &t = threads[i];
      if (t.done || (t.waitsFor && *t.waitsFor == t.waitValue))
        continue;
      moved = true;
      t.waitsFor = nullptr;
      if (t.stackNumber < 0) {
        t.stackNumber = stacks.take();
        t.stack = makeFiber(stacks.at(t.stackNumber), kStack - kGuard, entry);
      }
      current = &t;
      switchFiber(&scheduler, t.stack);
      if (error) {
        stacks.giveAll(); // the other fibers hold nothing but their stacks
        current = nullptr;
        std::rethrow_exception(std::exchange(error, nullptr));
      }
      if (t.done) {
        stacks.give(t.stackNumber);
        --left;
      }
    }
    if (!moved)
      reportStuck();
  }
  current = nullptr;
}

void Runner::reportStuck() {
  const Thread *waits = nullptr, *other = nullptr;
  for (const Thread &t : threads)
    if (!t.done && !waits)
      waits = &t;
  for (const Thread &t : threads)
    if (t.done || t.waitsFor != waits->waitsFor)
      if (!other)
        other = &t;
  std::string message = "thread " + std::to_string(waits->linear) +
                        " waits forever at " + place(waits->waitFile, waits->waitLine);
  if (other)
    message += other->done ? ": thread " + std::to_string(other->linear) + " has ended"
                           : ": thread " + std::to_string(other->linear) + " waits at " +
                                 place(other->waitFile, other->waitLine);
  stacks.giveAll();
  fail(message);
}

void shuffleInts(std::vector<int> &v, uint32_t seed) {
  std::iota(v.begin(), v.end(), 0);
  std::mt19937 gen(seed);
  // Not std::shuffle, whose draws differ between libraries.
  for (size_t i = v.size(); seed && i > 1; --i)
    std::swap(v[i - 1], v[gen() % i]);
}
} // namespace

void setOrder(uint32_t seed) { orderSeed = seed; }

void fail(const std::string &message) {
  const Launch &l = launch;
  auto dims = [](dim3 d) {
    return "(" + std::to_string(d.x) + "," + std::to_string(d.y) + "," +
           std::to_string(d.z) + ")";
  };
  throw RunError("kernel '" + kernelName(runner.site.kernel) + "' (" +
                 place(runner.site.file, runner.site.line) + "), block " +
                 dims(l.index) + ": " + message);
}

void run(const Site &site, dim3 grid, dim3 block, size_t dynamicShared,
         void (*body)(void *), void *data) {
  Runner &r = runner;
  if (r.running)
    throw RunError("a kernel of the model launches another one");
  r.site = site;
  r.body = body;
  r.data = data;
  launch = {grid, block, dim3(0, 0, 0)};
  const int64_t count = int64_t(block.x) * block.y * block.z;
  if (count < 1 || count > kMaxThreads || block.z > 64)
    fail("a block of " + std::to_string(count) + " threads; use 1 to 1024");
  if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    fail("a grid of " + std::to_string(grid.y) + " by " + std::to_string(grid.z) +
         " blocks along y and z; use at most 65535");
  setDynamicShared(dynamicShared);

  r.threads.assign(count, Thread());
  r.warps.assign((count + kWarp - 1) / kWarp, Warp());
  for (int i = 0; i < count; ++i) {
    Thread &t = r.threads[i];
    t.linear = i;
    t.lane = i % kWarp;
    t.index = dim3(i % block.x, i / block.x % block.y, i / block.x / block.y);
    t.warp = &r.warps[i / kWarp];
    t.warp->live |= 1u << t.lane;
  }
  r.order.resize(count);
  shuffleInts(r.order, orderSeed);
  const int64_t blocks = int64_t(grid.x) * grid.y * grid.z;
  std::vector<int> blockOrder(blocks);
  shuffleInts(blockOrder, orderSeed);

  r.running = true;
  struct Reset {
    ~Reset() { runner.running = false; }
  } reset;
  for (int b : blockOrder) {
    launch.index = dim3(b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y);
    r.runBlock();
  }
}

void waitFor(const uint32_t *counter, uint32_t value, const char *file, int line) {
  wait(counter, value, file, line);
}

void syncThreads(const char *file, int line) {
  Runner &r = runner;
  if (r.barrierArrived == 0) {
    r.barrierFile = file;
    r.barrierLine = line;
  } else if (line != r.barrierLine || std::strcmp(file, r.barrierFile)) {
    fail("thread " + std::to_string(current->linear) + " is at the barrier of " +
         place(file, line) + " while others are at " +
         place(r.barrierFile, r.barrierLine));
  }
  if (++r.barrierArrived == int(r.threads.size())) {
    r.barrierArrived = 0;
    // Cleared here: everybody has read the count of the barrier before.
    r.votes[(r.barrierPhase + 1) & 1] = 0;
    ++r.barrierPhase;
    nextEpoch();
    return;
  }
  wait(&r.barrierPhase, r.barrierPhase, file, line);
}

int syncThreadsCount(bool value, const char *file, int line) {
  Runner &r = runner;
  const uint32_t phase = r.barrierPhase;
  r.votes[phase & 1] += value;
  syncThreads(file, line);
  return r.votes[phase & 1];
}

const Collective &exchange(uint32_t mask, const void *value, size_t bytes,
                           uint32_t &phase, const char *file, int line,
                           bool barrier) {
  Thread &t = *current;
  if (!((mask >> t.lane) & 1) || (mask & ~t.warp->live))
    fail("thread " + std::to_string(t.linear) + " at " + place(file, line) +
         ": the mask leaves it out or names lanes that the block does not have");
  Collective *c = nullptr;
  for (Collective &candidate : t.warp->collectives)
    if (candidate.mask == mask)
      c = &candidate;
  for (Collective &candidate : t.warp->collectives)
    if (!c && candidate.mask == 0)
      c = &candidate;
  if (!c)
    fail("more than 4 masks in one warp at " + place(file, line));
  c->mask = mask;
  phase = c->phase;
  if (!c->arrived)
    c->votes[phase & 1] = 0;
  c->arrived |= 1u << t.lane;
  std::memcpy(c->slots[phase & 1][t.lane], value, bytes);
  if (bytes == 1 && *static_cast<const unsigned char *>(value))
    c->votes[phase & 1] |= 1u << t.lane;
  if (c->arrived == mask) {
    c->arrived = 0;
    ++c->phase;
    t.warp->stamp += barrier;
  } else {
    wait(&c->phase, phase, file, line);
  }
  return *c;
}

void syncWarp(uint32_t mask, const char *file, int line) {
  Thread &t = *current;
  // A block's last warp may have fewer lanes; all of them is what is meant.
  const uint32_t lanes = mask & t.warp->live;
  if (lanes != t.warp->live)
    fail("a barrier of part of a warp at " + place(file, line) + " is not modelled");
  uint32_t phase;
  const unsigned char nothing = 0;
  exchange(lanes, &nothing, 1, phase, file, line, true);
}

} // namespace moire::rt::model
