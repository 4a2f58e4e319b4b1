//===- ModelTest.cpp - The execution model and what it must catch ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/cuda/launch.h"

#include <numeric>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
enum class Fault { none, beforeTree, inTree };

/// The sum of each block's 256 values by a tree in shared memory, with one of
/// its barriers missing.
template <Fault fault>
__global__ void blockSum(int n, const float *x, float *sums) {
  MOIRE_SHARED(float, tree, 256);
  const int t = threadIdx.x, i = blockIdx.x * 256 + t;
  tree[t] = i < n ? x[i] : 0.0f;
  if (fault != Fault::beforeTree)
    __syncthreads();
  for (int half = 128; half; half /= 2) {
    if (t < half)
      tree[t] += tree[t + half];
    if (fault != Fault::inTree || half != 16)
      __syncthreads();
  }
  if (t == 0)
    sums[blockIdx.x] = tree[0];
}

/// What running `body` throws.
template <typename Body> std::string errorOf(Body &&body) {
  try {
    body();
  } catch (const RunError &e) {
    return e.what();
  }
  return "no error";
}
testing::AssertionResult contains(const std::string &text, const std::string &part) {
  if (text.find(part) != std::string::npos)
    return testing::AssertionSuccess();
  return testing::AssertionFailure() << text;
}
} // namespace

TEST(Model, AMissingBarrierIsCaughtWithKernelElementAndThreads) {
  const int n = 1000;
  Floats x = random(n, 1), sums(4);
  auto run = [&](auto kernel) { MOIRE_LAUNCH(nullptr, 4, 256, 0, kernel, n, x.data(), sums.data()); };
  for (uint32_t seed : {0, 7}) { // also when the threads run in another order
    model::setOrder(seed);
    EXPECT_EQ(errorOf([&] { run(blockSum<Fault::none>); }), "no error");
    for (int b = 0; b < 4; ++b)
      EXPECT_NEAR(sums[b], std::accumulate(x.begin() + b * 256, x.begin() + std::min(n, b * 256 + 256), 0.0), 1e-5);
    EXPECT_TRUE(contains(errorOf([&] { run(blockSum<Fault::beforeTree>); }), "race on element"));
    EXPECT_TRUE(contains(errorOf([&] { run(blockSum<Fault::inTree>); }), "race on element"));
  }
  model::setOrder(0);
  EXPECT_TRUE(contains(
      errorOf([&] { MOIRE_LAUNCH(nullptr, 4, 256, 0, blockSum<Fault::inTree>, n, x.data(), sums.data()); }),
      "kernel 'blockSum<Fault::inTree>' (ModelTest.cpp:"));
  EXPECT_TRUE(contains(
      errorOf([&] { run(blockSum<Fault::inTree>); }),
      "block (0,0,0): race on element 8 of 'tree' (4 bytes at byte 32): it is read "
      "by thread 0 and written by thread 8 with no barrier between"));
}

namespace {
/// Neighbours in a warp exchange values through shared memory.
template <bool Barrier> __global__ void warpExchange(const int *x, int *y) {
  MOIRE_SHARED(int, slot, 64);
  const int t = threadIdx.x;
  slot[t] = x[t];
  if (Barrier)
    __syncwarp();
  y[t] = slot[t ^ 1];
}
__global__ void acrossWarps(const int *x, int *y) {
  MOIRE_SHARED(int, slot, 64);
  slot[threadIdx.x] = x[threadIdx.x];
  __syncwarp();
  y[threadIdx.x] = slot[threadIdx.x ^ 32];
}
/// A shuffle orders registers only.
__global__ void shuffleIsNoBarrier(const int *x, int *y) {
  MOIRE_SHARED(int, slot, 64);
  slot[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = __shfl_xor_sync(~0u, x[threadIdx.x], 1);
  y[threadIdx.x] += slot[threadIdx.x ^ 1];
}
/// All read, then one writes: the reads must be over.
template <bool Barrier> __global__ void writeAfterReads(const int *x, int *y) {
  MOIRE_SHARED(int, slot, 1);
  if (threadIdx.x == 0)
    slot[0] = x[0];
  __syncthreads();
  y[threadIdx.x] = slot[0];
  if (Barrier)
    __syncthreads();
  if (threadIdx.x == 63)
    slot[0] = x[1];
}
__global__ void halves(const uint16_t *x, uint16_t *y) {
  MOIRE_SHARED(uint16_t, slot, 64);
  slot[threadIdx.x] = x[threadIdx.x]; // two threads, one word: no race
  __syncthreads();
  y[threadIdx.x] = slot[63 - threadIdx.x];
}
/// A word of one thread, then half of it of another.
template <bool Barrier> __global__ void halfOfAWord(const int *x, int *y) {
  MOIRE_SHARED(int, words, 64);
  const SharedPtr<uint16_t> parts = sharedCast<uint16_t>(words + 0);
  if (threadIdx.x == 0)
    parts[1] = 7; // its bytes have histories of their own from here on
  __syncthreads();
  if (threadIdx.x == 1)
    words[0] = x[0];
  if (Barrier)
    __syncthreads();
  y[threadIdx.x] = threadIdx.x == 2 ? uint16_t(parts[0]) : 0;
}
__global__ void histogram(int n, const int *x, int *counts) {
  MOIRE_SHARED(int, bins, 8);
  if (threadIdx.x < 8)
    bins[threadIdx.x] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x)
    atomicAdd(&bins[x[i]], 1);
  __syncthreads();
  if (threadIdx.x < 8)
    counts[threadIdx.x] = bins[threadIdx.x];
}
__global__ void readAmongAtomics(int *y) {
  MOIRE_SHARED(int, bins, 1);
  if (threadIdx.x == 0)
    bins[0] = 0;
  __syncthreads();
  atomicAdd(&bins[0], 1);
  y[threadIdx.x] = bins[0];
}
} // namespace

TEST(Model, RacesInsideAndAcrossWarps) {
  std::vector<int> x(64), y(64);
  std::iota(x.begin(), x.end(), 5);
  auto run = [&](auto kernel) {
    return errorOf([&] { MOIRE_LAUNCH(nullptr, 1, 64, 0, kernel, x.data(), y.data()); });
  };
  EXPECT_EQ(run(warpExchange<true>), "no error");
  EXPECT_EQ(y[6], x[7]);
  EXPECT_TRUE(contains(run(warpExchange<false>), "race"));
  EXPECT_TRUE(contains(run(acrossWarps), "race"));
  EXPECT_TRUE(contains(run(shuffleIsNoBarrier), "race"));
  EXPECT_EQ(run(writeAfterReads<true>), "no error");
  EXPECT_TRUE(contains(run(writeAfterReads<false>), "it is written by thread 63 and read by thread 0"));
  EXPECT_EQ(run(halfOfAWord<true>), "no error");
  EXPECT_EQ(y[2], 5);
  EXPECT_TRUE(contains(run(halfOfAWord<false>), "it is written by thread 1 and read by thread 2"));
  std::vector<uint16_t> h(64), g(64);
  std::iota(h.begin(), h.end(), 9);
  MOIRE_LAUNCH(nullptr, 1, 64, 0, halves, h.data(), g.data());
  EXPECT_EQ(g[0], h[63]);
}

TEST(Model, SharedAtomicsCountAndAReadAmongThemIsARace) {
  std::vector<int64_t> raw = randomInts(777, 8, 3);
  std::vector<int> x(raw.begin(), raw.end()), counts(8), want(8), y(64);
  for (int v : x)
    ++want[v];
  MOIRE_LAUNCH(nullptr, 1, 96, 0, histogram, 777, x.data(), counts.data());
  EXPECT_EQ(counts, want);
  EXPECT_TRUE(contains(
      errorOf([&] { MOIRE_LAUNCH(nullptr, 1, 64, 0, readAmongAtomics, y.data()); }), "it is read by thread 63 and updated by thread 0"));
}

namespace {
__global__ void collectives(const float *x, float *y, uint32_t *ballots) {
  const int t = threadIdx.x, lane = t % 32;
  float v = x[t];
  for (int bits = 16; bits; bits /= 2)
    v += __shfl_xor_sync(~0u, v, bits);
  y[t] = v;
  y[64 + t] = __shfl_down_sync(~0u, x[t], 3);
  y[128 + t] = __shfl_up_sync(~0u, x[t], 5, 8);
  y[192 + t] = __shfl_sync(~0u, x[t], 9, 16);
  ballots[t] = __ballot_sync(~0u, x[t] > 0);
  // The halves of a warp apart.
  const uint32_t half = lane < 16 ? 0xffffu : 0xffff0000u;
  double d = x[t];
  for (int bits = 8; bits; bits /= 2)
    d += __shfl_xor_sync(half, d, bits);
  y[256 + t] = float(d);
  ballots[64 + t] = uint32_t(__syncthreads_count(x[t] > 0));
}
} // namespace

TEST(Model, ShufflesBallotsAndCounts) {
  Floats x = random(64, 4), y(320);
  std::vector<uint32_t> ballots(128);
  int positive = 0;
  for (float v : x)
    positive += v > 0;
  for (uint32_t seed : {0, 3, 4}) {
    model::setOrder(seed);
    MOIRE_LAUNCH(nullptr, 1, 64, 0, collectives, x.data(), y.data(), ballots.data());
    for (int t = 0; t < 64; ++t) {
      const int lane = t % 32, warp = t - lane;
      double sum = 0, half = 0;
      uint32_t votes = 0;
      for (int l = 0; l < 32; ++l) {
        sum += x[warp + l];
        half += l / 16 == lane / 16 ? x[warp + l] : 0;
        votes |= uint32_t(x[warp + l] > 0) << l;
      }
      EXPECT_NEAR(y[t], sum, 1e-5);
      EXPECT_EQ(y[t], y[warp]); // each lane has the same bits
      EXPECT_EQ(y[64 + t], lane + 3 < 32 ? x[t + 3] : x[t]);
      EXPECT_EQ(y[128 + t], lane % 8 >= 5 ? x[t - 5] : x[t]);
      EXPECT_EQ(y[192 + t], x[t / 16 * 16 + 9]);
      EXPECT_NEAR(y[256 + t], half, 1e-5);
      EXPECT_EQ(ballots[t], votes);
      EXPECT_EQ(ballots[64 + t], uint32_t(positive));
    }
  }
  model::setOrder(0);
}

namespace {
__global__ void leavesEarly(int n) {
  if (int(threadIdx.x) >= n)
    return;
  __syncthreads();
}
__global__ void twoBarriers(int n) {
  if (int(threadIdx.x) >= n)
    __syncthreads();
  else
    __syncthreads();
}
__global__ void lanesApart(int n) {
  if (int(threadIdx.x) >= n)
    __shfl_sync(~0u, 1, 0);
  else
    __syncthreads();
}
__global__ void outside(int at) {
  MOIRE_SHARED_MATRIX(float, tile, 4, 33);
  tile[threadIdx.x % 4][at] = 1;
}
__global__ void beyond(int at) {
  MOIRE_SHARED_DYNAMIC(float, rest);
  if (threadIdx.x == 0)
    rest[at] = 1;
}
__global__ void vectors(const float *x, float *y) {
  MOIRE_SHARED_DYNAMIC(float, rest);
  SharedPtr<float4> wide = sharedCast<float4>(rest + 64);
  rest[threadIdx.x] = x[threadIdx.x];
  if (threadIdx.x < 16)
    wide[threadIdx.x] = make_float4(1, 2, 3, float(threadIdx.x));
  __syncthreads();
  float4 v = wide[threadIdx.x / 4];
  y[threadIdx.x] = v.w + rest[63 - threadIdx.x];
}
/// Uninitialised shared memory is NaN, in every block anew.
__global__ void untouched(float *y) {
  MOIRE_SHARED(float, a, 2);
  y[blockIdx.x] = a[1];
  a[1] = 3;
}
} // namespace

TEST(Model, DeadlocksDivergenceAndBoundsAreReported) {
  auto run = [&](auto kernel, int n) {
    return errorOf([&] { MOIRE_LAUNCH(nullptr, 1, 64, 128, kernel, n); });
  };
  EXPECT_TRUE(contains(run(leavesEarly, 40), "waits forever at ModelTest.cpp"));
  EXPECT_TRUE(contains(run(leavesEarly, 40), "thread 40 has ended"));
  EXPECT_EQ(run(leavesEarly, 64), "no error");
  EXPECT_TRUE(contains(run(twoBarriers, 40), "while others are at"));
  EXPECT_TRUE(contains(run(lanesApart, 40), "waits forever"));
  EXPECT_TRUE(contains(run(outside, 33), "column 33 of 'tile' is outside 0..32"));
  EXPECT_TRUE(contains(run(beyond, 32), "accesses byte 128 of 'rest', which has 128"));
  EXPECT_EQ(run(beyond, 31), "no error");
  EXPECT_TRUE(contains(errorOf([] { MOIRE_LAUNCH(nullptr, 1, 1025, 0, beyond, 0); }),
                       "a block of 1025 threads; use 1 to 1024"));
  EXPECT_TRUE(contains(errorOf([] { MOIRE_LAUNCH(nullptr, 1, 32, 1 << 20, beyond, 0); }), "shared memory"));
}

TEST(Model, VectorsInDynamicSharedMemoryAndUninitialisedMemory) {
  Floats x = random(64, 5), y(64), z(3);
  MOIRE_LAUNCH(nullptr, 1, 64, 512, vectors, x.data(), y.data());
  for (int t = 0; t < 64; ++t)
    EXPECT_EQ(y[t], float(t / 4) + x[63 - t]);
  MOIRE_LAUNCH(nullptr, 3, 1, 0, untouched, z.data());
  for (float v : z)
    EXPECT_TRUE(std::isnan(v));
}
