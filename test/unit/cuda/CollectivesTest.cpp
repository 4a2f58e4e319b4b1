//===- CollectivesTest.cpp - Collectives of device memory -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Every result is that of plain loops over all ranks' values, which every rank can make
// itself; sums to the bit, because they add in ascending order of rank.
//
//===----------------------------------------------------------------------===//

#include "moire/rt/collectives.h"
#include "CommUtil.h"
#include "TestUtil.h"
#include "cuda/link.h"
#include "cuda/model/nccl.h"
#include "cuda/model/waits.h"
#include "moire/rt/device.h"
#include "moire/rt/kernels.h"

#include <cmath>
#include <thread>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
/// Element i of a rank's buffer.
template <typename T> T valueOf(int rank, int64_t i) {
  uint64_t x = uint64_t(rank) * 0x9e3779b97f4a7c15 + uint64_t(i) * 0xbf58476d1ce4e5b9 + 1;
  x = (x ^ (x >> 31)) * 0x94d049bb133111eb;
  return T(float((x >> 24) % 2000001) / 1e6f - 1);
}
template <typename T> std::vector<T> valuesOf(int rank, int64_t n) {
  std::vector<T> v(n);
  for (int64_t i = 0; i < n; ++i)
    v[i] = valueOf<T>(rank, i);
  return v;
}
template <typename T> struct Sum { using Type = T; };
template <> struct Sum<bf16> { using Type = float; };

/// Element i of the sum, or the maximum, over `members`.
template <typename T> T reduced(const Group &group, int64_t i, Reduction reduce) {
  using A = typename Sum<T>::Type;
  A sum = A(valueOf<T>(group.members[0], i));
  for (size_t m = 1; m < group.members.size(); ++m) {
    const A x = A(valueOf<T>(group.members[m], i));
    sum = reduce == Reduction::sum ? sum + x : std::max(sum, x);
  }
  return T(sum);
}

void require(bool holds, const std::string &what) {
  if (!holds)
    throw std::runtime_error(what);
}
template <typename T> bool same(T a, T b) { return float(a) == float(b); }

/// body(ctx) on every rank of a mesh whose groups are: all; the ranks of a column; of a row.
std::vector<std::string> onRanks(int64_t rows, int64_t columns, bool nccl,
                                 const std::function<void(Context &)> &body) {
  const Mesh mesh({{"dp", rows}, {"tp", columns}});
  return onThreads(mesh, {{0, 1}, {0}, {1}}, [&](Comm &comm) {
    Context ctx(1);
    ctx.comm = &comm;
    ctx.link = nccl ? linkByNccl(ctx) : linkThroughHost();
    body(ctx);
    comm.barrier(comm.group(0), "the end");
  });
}
/// By both links.
void onRanks(int64_t rows, int64_t columns, const std::function<void(Context &)> &body) {
  for (bool nccl : {false, true})
    EXPECT_EQ(onRanks(rows, columns, nccl, body), std::vector<std::string>(rows * columns))
        << (nccl ? "NCCL" : "through the host");
}

template <typename T> void checkSums(Context &ctx) {
  for (int g = 0; g < 3; ++g) {
    const Group &group = ctx.comm->group(g);
    const int me = ctx.comm->rank();
    // Empty, one message each, parts, a last part that is shorter, one that is empty.
    for (int64_t n : {0, 1, 33, 20000, 100001})
      for (Reduction reduce : {Reduction::sum, Reduction::max})
        for (bool inPlace : {false, true}) {
          std::vector<T> from = valuesOf<T>(me, n), to(n);
          T *result = inPlace ? from.data() : to.data();
          allReduce(ctx, g, "sum", from.data(), result, n, reduce);
          for (int64_t i = 0; i < n; ++i)
            require(same(result[i], reduced<T>(group, i, reduce)),
                    "all_reduce of " + std::to_string(n) + " at " + std::to_string(i));
          if (!inPlace)
            require(from.empty() || same(from[n - 1], valueOf<T>(me, n - 1)), "changed its input");
        }
    const int64_t members = group.size();
    for (auto [outer, dim, inner] : {std::array<int64_t, 3>{1, 700, 9}, {5, 3, 7}, {4, 1, 1}}) {
      const int64_t run = dim * inner;
      const std::vector<T> from = valuesOf<T>(me, outer * members * run);
      std::vector<T> to(outer * run);
      reduceScatter(ctx, g, "scatter", from.data(), to.data(), outer, dim, inner);
      for (int64_t o = 0; o < outer; ++o)
        for (int64_t i = 0; i < run; ++i)
          require(same(to[o * run + i],
                       reduced<T>(group, (o * members + group.index) * run + i, Reduction::sum)),
                  "reduce_scatter");
    }
  }
}
} // namespace

TEST(DeviceCollectives, SumsAddInAscendingOrder) {
  onRanks(2, 1, checkSums<float>);
  onRanks(3, 2, checkSums<float>);
  onRanks(2, 2, checkSums<double>);
  onRanks(4, 1, checkSums<bf16>);
}

TEST(DeviceCollectives, ANaNStaysInAMaximum) {
  for (int bad : {0, 1, 2})
    onRanks(3, 1, [&](Context &ctx) {
      float x = ctx.comm->rank() == bad ? NAN : float(ctx.comm->rank());
      allReduce(ctx, 0, "max", &x, &x, 1, Reduction::max);
      require(std::isnan(x), "lost it");
    });
}

TEST(DeviceCollectives, MovesAlongAnyDimension) {
  onRanks(3, 2, [](Context &ctx) {
    const int me = ctx.comm->rank();
    for (int g = 0; g < 3; ++g) {
      const Group &group = ctx.comm->group(g);
      const int64_t n = group.size();
      for (auto [outer, dim, inner] : {std::array<int64_t, 3>{1, 5, 3}, {4, 2, 3}, {6, 1, 1}}) {
        const int64_t run = dim * inner;
        const std::vector<float> from = valuesOf<float>(me, outer * run);
        std::vector<float> to(outer * n * run), back(outer * run);
        allGather(ctx, g, "gather", from.data(), to.data(), outer, dim, inner);
        for (int64_t o = 0; o < outer; ++o)
          for (int64_t m = 0; m < n; ++m)
            for (int64_t i = 0; i < run; ++i)
              require(to[(o * n + m) * run + i] == valueOf<float>(group.members[m], o * run + i),
                      "all_gather");
        split(ctx, g, to.data(), back.data(), outer, dim, inner);
        require(back == from, "split");
      }
      int64_t index = -1;
      memberIndex(ctx, g, &index);
      require(index == group.index, "memberIndex");
      const std::vector<float> out = valuesOf<float>(me, n * 11);
      std::vector<float> in(n * 11);
      allToAll(ctx, g, "all_to_all", out.data(), in.data(), 11);
      for (int64_t m = 0; m < n; ++m)
        for (int64_t i = 0; i < 11; ++i)
          require(in[m * 11 + i] == valueOf<float>(group.members[m], group.index * 11 + i),
                  "all_to_all");
      bool flags[3] = {me % 2 == 0, me % 3 == 0, true};
      broadcast(ctx, g, "broadcast", flags, 3, int(n) - 1);
      const int root = group.members[n - 1];
      require(flags[0] == (root % 2 == 0) && flags[1] == (root % 3 == 0) && flags[2], "broadcast");
    }
  });
}

// Slots of a stated size: the host waits where it asks for all layers at once, and nowhere
// else. Without them it waits for the counts of each.
TEST(DeviceCollectives, RowsInSlotsNeedNoHost) {
  constexpr int64_t kRanks = 4, kTokens = 24, kK = 2, kExperts = 8, kWidth = 5, kLayers = 3;
  const auto errors = onRanks(kRanks, 1, true, [](Context &ctx) {
    auto memory = [](int64_t tokens, int64_t k, int64_t experts) {
      return std::vector<char>(Routing::bytes(tokens, k, experts));
    };
    std::vector<char> globalMemory = memory(kTokens, kK, kExperts),
                      localMemory = memory(kRanks * kTokens, kK, kExperts / kRanks);
    const Routing global = Routing::at(globalMemory.data(), kTokens, kK, kExperts);
    const Routing local = Routing::at(localMemory.data(), kRanks * kTokens, kK, kExperts / kRanks);
    std::vector<int64_t> ids(kTokens * kK);
    for (int64_t i = 0; i < kTokens * kK; ++i)
      ids[i] = (i * i + ctx.comm->rank()) % kExperts;
    route(ctx, global, ids.data());
    const std::vector<float> rows = valuesOf<float>(ctx.comm->rank(), kTokens * kK * kWidth);
    for (bool inSlots : {false, true}) {
      const int64_t before = model::hostWaits;
      std::vector<std::vector<int32_t>> exchange(kLayers,
                                                 std::vector<int32_t>(exchangeLength(kExperts)));
      for (std::vector<int32_t> &block : exchange) {
        if (inSlots)
          exchangeRoutingInSlots(ctx, 0, "counts", global, local, block.data());
        else
          exchangeRouting(ctx, 0, "counts", global, local, block.data());
        std::vector<float> there(local.rows() * kWidth), back(rows.size());
        allToAllRows(ctx, 0, "there", rows.data(), there.data(), kWidth * 4, block.data(), false);
        allToAllRows(ctx, 0, "back", there.data(), back.data(), kWidth * 4, block.data(), true);
        require(back == rows, "other rows came back");
      }
      require(model::hostWaits - before == (inSlots ? 0 : kLayers),
              "the host waited " + std::to_string(model::hostWaits - before) + " times");
      checkSlots(ctx);
      require(model::hostWaits - before == (inSlots ? 1 : kLayers), "asked more than once");
    }
  });
  EXPECT_EQ(errors, std::vector<std::string>(kRanks));
}

// More peers than one group of NCCL's may have operations for. No kernels: 130 ranks have
// no room for the stacks of their threads.
TEST(DeviceCollectives, ManyPeers) {
  constexpr int kRanks = 130;
  onRanks(kRanks, 1, [](Context &ctx) {
    const int me = ctx.comm->rank();
    int32_t mine = me * 3;
    std::vector<int32_t> all(kRanks, -1);
    std::vector<DeviceMessage> sends, receives;
    for (int i = 1; i < kRanks; ++i) {
      const int previous = (me + kRanks - i) % kRanks;
      sends.push_back({(me + i) % kRanks, &mine, 4});
      receives.push_back({previous, &all[previous], 4});
    }
    ctx.link->exchange(ctx, "exchange", sends, receives);
    for (int m = 0; m < kRanks; ++m)
      require(all[m] == (m == me ? -1 : 3 * m), "exchange");
  });
}

// A rank whose network fails while it waits for one that does not come.
TEST(NcclLink, AnErrorWhileWaitingEndsTheWaitWithOneSentence) {
  const auto begin = std::chrono::steady_clock::now();
  const auto errors = onRanks(2, 1, true, [](Context &ctx) {
    if (ctx.comm->rank() == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      throw std::runtime_error("left");
    }
    model::breakNccl();
    float x = 1;
    allReduce(ctx, 0, "all_reduce of h/0", &x, &x, 1);
  });
  EXPECT_EQ(errors[0],
            "NCCL fails in all_reduce of h/0 on rank 0 of 2: remote process exited or there was a "
            "network error (the test broke it); NCCL_DEBUG=WARN tells more, --gpu-link host does "
            "without NCCL");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

// One that fails between exchanges: the watchdog sees it, and the end of the step throws.
TEST(NcclLink, TheWatchdogSeesAnErrorWhileTheHostWaitsElsewhere) {
  const auto errors = onRanks(2, 1, true, [](Context &ctx) {
    float x = 1;
    allReduce(ctx, 0, "all_reduce of h/0", &x, &x, 1);
    require(x == 2, "wrong sum");
    if (ctx.comm->rank() == 0)
      model::breakNccl();
    for (int i = 0; i < 1000; ++i) { // as long as the host would wait for the stream
      ctx.link->check();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      if (ctx.comm->rank() == 1)
        return;
    }
  });
  EXPECT_EQ(errors[0].rfind("NCCL fails in all_reduce of h/0 on rank 0 of 2: ", 0), 0u)
      << errors[0];
}
