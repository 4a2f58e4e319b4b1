//===- experts.cu - Rows to the ranks of their experts and back -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A rank's rows are sorted by global expert, so those for one member are contiguous.
// What comes from one member is sorted by local expert; a kernel regroups the rows of
// all members by local expert, or, on the way back, by member:
//
//     by member | of 0: expert 0, expert 1 | of 1: expert 0, expert 1 |
//     grouped   | expert 0: of 0, of 1 | expert 1: of 0, of 1 |
//
// The host waits once per exchange of counts: it must know how long messages are.
//
//===----------------------------------------------------------------------===//

#include "cuda/link.h"
#include "cuda/warp.cuh"
#include "moire/rt/collectives.h"
#include "moire/rt/comm.h"
#include "moire/rt/cuda/launch.h"
#include "moire/rt/device.h"
#include "moire/rt/tensor.h"

#include <algorithm>

namespace moire::rt {

namespace {
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

/// sent[e] = rows of global expert e.
__global__ void __launch_bounds__(kThreads)
    countsKernel(int64_t experts, int64_t local, const int32_t *offsets, int32_t *exchange) {
  if (threadIdx.x == 0)
    exchange[0] = int32_t(local);
  for (int64_t e = threadIdx.x; e < experts; e += kThreads)
    exchange[1 + e] = offsets[e + 1] - offsets[e];
}

/// offsets[l + 1] = Σ of what comes for local experts up to l. One thread: a few hundred
/// experts at most, once per layer.
__global__ void offsetsKernel(int64_t members, int64_t local, const int32_t *received,
                              int32_t *offsets) {
  int32_t rows = offsets[0] = 0;
  for (int64_t l = 0; l < local; ++l) {
    for (int64_t m = 0; m < members; ++m)
      rows += received[m * local + l];
    offsets[l + 1] = rows;
  }
}

/// Moves rows between the two orders: a block takes a (member m, local expert l) after
/// another, of which blockIdx.y shares the bytes. U: what one thread moves at once, `units`
/// of them a row.
template <typename U>
__global__ void __launch_bounds__(kThreads)
    regroupKernel(int64_t members, const int32_t *exchange, int64_t units, bool toGrouped,
                  const U *from, U *to) {
  MOIRE_SHARED(int32_t, sums, 2 * kWarps);
  const int64_t local = exchange[0], segments = members * local;
  const int32_t *received = exchange + 1 + segments;
  for (int64_t segment = blockIdx.x; segment < segments; segment += gridDim.x) {
    const int64_t m = segment / local, l = segment % local;
    // Rows before this segment in each order.
    int32_t byMember = 0, byExpert = 0;
    for (int64_t i = threadIdx.x; i < segments; i += kThreads) {
      const int64_t otherM = i / local, otherL = i % local;
      byMember += i < segment ? received[i] : 0;
      byExpert += otherL < l || (otherL == l && otherM < m) ? received[i] : 0;
    }
    byMember = warpSum(byMember);
    byExpert = warpSum(byExpert);
    if (threadIdx.x % kWarp == 0) {
      sums[threadIdx.x / kWarp] = byMember;
      sums[kWarps + threadIdx.x / kWarp] = byExpert;
    }
    __syncthreads();
    byMember = byExpert = 0;
    for (int w = 0; w < kWarps; ++w) {
      byMember += sums[w];
      byExpert += sums[kWarps + w];
    }
    __syncthreads(); // before the next segment's sums
    const U *x = from + (toGrouped ? byMember : byExpert) * units;
    U *y = to + (toGrouped ? byExpert : byMember) * units;
    const int64_t count = received[segment] * units, step = int64_t(gridDim.y) * kThreads;
    for (int64_t i = int64_t(blockIdx.y) * kThreads + threadIdx.x; i < count; i += step)
      y[i] = x[i];
  }
}

template <typename U>
void regroup(Context &ctx, int64_t members, const int32_t *exchange, int64_t rowBytes,
             bool toGrouped, const void *from, void *to) {
  const dim3 blocks(unsigned(std::min<int64_t>(members * 8, 128)), 8);
  MOIRE_LAUNCH(streamOf(ctx), blocks, kThreads, 0, regroupKernel<U>, members, exchange,
               rowBytes / int64_t(sizeof(U)), toGrouped, static_cast<const U *>(from),
               static_cast<U *>(to));
}

/// toGrouped: from the order by member to that by local expert; else the inverse.
void regroup(Context &ctx, int64_t members, const int32_t *exchange, int64_t rowBytes,
             bool toGrouped, const void *from, void *to) {
  auto fits = [&](int64_t unit) {
    return rowBytes % unit == 0 && reinterpret_cast<uintptr_t>(from) % unit == 0 &&
           reinterpret_cast<uintptr_t>(to) % unit == 0;
  };
  const auto go = fits(16)  ? regroup<float4>
                  : fits(4) ? regroup<int32_t>
                  : fits(2) ? regroup<uint16_t>
                            : regroup<uint8_t>;
  go(ctx, members, exchange, rowBytes, toGrouped, from, to);
}
} // namespace

void exchangeRouting(Context &ctx, int group, const char *what, const Routing &global,
                     const Routing &local, int32_t *exchange) {
  const int64_t members = ctx.comm ? ctx.comm->group(group).size() : 1, experts = local.experts;
  if (members * experts != global.experts)
    throw RunError(std::string(what) + ": " + std::to_string(members) + " ranks of " +
                   std::to_string(experts) + " experts each cannot hold " +
                   std::to_string(global.experts));
  int32_t *sent = exchange + 1, *received = sent + global.experts;
  MOIRE_LAUNCH(streamOf(ctx), 1, kThreads, 0, countsKernel, global.experts, experts,
               static_cast<const int32_t *>(global.offsets), exchange);
  allToAll(ctx, group, what, sent, received, experts);
  MOIRE_LAUNCH(streamOf(ctx), 1, 1, 0, offsetsKernel, members, experts,
               static_cast<const int32_t *>(received), local.offsets);
  if (!ctx.comm)
    return;
  std::vector<int32_t> &known = ctx.link->exchanges[exchange];
  known.resize(exchangeLength(global.experts));
  download(ctx, known.data(), exchange, int64_t(known.size()) * 4);
  ctx.link->check();
  int64_t rows = 0;
  for (int64_t i = 0; i < global.experts; ++i)
    rows += known[1 + global.experts + i];
  if (rows > local.rows())
    throw RunError(std::string(what) + ": " + std::to_string(rows) +
                   " rows arrive where there is room for " + std::to_string(local.rows()));
}

void allToAllRows(Context &ctx, int group, const char *what, const void *from, void *to,
                  int64_t rowBytes, const int32_t *exchange, bool back) {
  if (!ctx.comm) // one member, so that both orders are the same
    return regroup(ctx, 1, exchange, rowBytes, !back, from, to);
  const Group &g = ctx.comm->group(group);
  const std::vector<int32_t> &known = ctx.link->exchanges.at(exchange);
  const int64_t members = g.size(), local = known[0];
  const int32_t *sent = known.data() + 1, *received = sent + members * local;
  // Where each member's rows begin in the two orders by member, in bytes.
  std::vector<int64_t> sortedAt(members + 1), memberAt(members + 1);
  for (int64_t m = 0; m < members; ++m) {
    int64_t there = 0, here = 0;
    for (int64_t l = 0; l < local; ++l) {
      there += sent[m * local + l];
      here += received[m * local + l];
    }
    sortedAt[m + 1] = sortedAt[m] + there * rowBytes;
    memberAt[m + 1] = memberAt[m] + here * rowBytes;
  }

  // What comes for this rank's experts and goes back. With one local expert the order by
  // member is the grouped one, too.
  const bool same = local == 1;
  char *sorted = static_cast<char *>(back ? to : const_cast<void *>(from));
  char *grouped = static_cast<char *>(back ? const_cast<void *>(from) : to);
  char *byMember = same ? grouped : static_cast<char *>(ctx.scratch(memberAt[members]));
  if (back && !same)
    regroup(ctx, members, exchange, rowBytes, false, grouped, byMember);
  auto rows = [](char *base, const std::vector<int64_t> &starts, int64_t m) {
    return std::pair(base + starts[m], starts[m + 1] - starts[m]);
  };
  std::vector<DeviceMessage> sends, receives;
  for (int64_t i = 0; i < members; ++i) {
    const int64_t next = (g.index + i) % members, previous = (g.index + members - i) % members;
    const auto [out, outBytes] =
        back ? rows(byMember, memberAt, next) : rows(sorted, sortedAt, next);
    const auto [in, inBytes] =
        back ? rows(sorted, sortedAt, previous) : rows(byMember, memberAt, previous);
    if (i == 0) {
      copy(ctx, outBytes, reinterpret_cast<uint8_t *>(out), reinterpret_cast<uint8_t *>(in));
      continue;
    }
    sends.push_back({g.members[next], out, outBytes});
    receives.push_back({g.members[previous], in, inBytes});
  }
  ctx.link->exchange(ctx, what, sends, receives);
  if (!back && !same)
    regroup(ctx, members, exchange, rowBytes, true, byMember, grouped);
}

} // namespace moire::rt
