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
// The host waits once per exchange of counts: it must know how long messages are. With
// slots of a stated size it need not: a message is all slots that one member's rows have at
// another one, filled from the first, and only the kernels on both sides know how many are:
//
//     by member | of 0: expert 0, expert 1, empty | of 1: expert 0, expert 1, empty |
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
#include <numeric>
#include <set>

namespace moire::rt {

namespace {
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

/// The largest of a block's values, in all of its threads. warps: room for kWarps.
template <typename T> __device__ __forceinline__ T blockMax(T x, SharedPtr<T> warps) {
  x = warpMax(x);
  if (threadIdx.x % kWarp == 0)
    warps[threadIdx.x / kWarp] = x;
  __syncthreads();
  for (int w = 0; w < kWarps; ++w) {
    const T other = warps[w];
    x = other > x ? other : x;
  }
  return x;
}

/// sent[e] = rows of global expert e.
__global__ void __launch_bounds__(kThreads)
    countsKernel(int64_t experts, int64_t local, const int32_t *offsets, int32_t *exchange) {
  if (threadIdx.x == 0)
    exchange[0] = int32_t(local);
  for (int64_t e = threadIdx.x; e < experts; e += kThreads)
    exchange[1 + e] = offsets[e + 1] - offsets[e];
}

/// The same of as many rows as the slots at each member take; *most = the most rows that
/// went to a member and found no room, or the larger of it and what stood there.
__global__ void __launch_bounds__(kThreads)
    slotCountsKernel(int64_t members, int64_t local, int64_t slots, bool keep,
                     const int32_t *offsets, int32_t *exchange, float *most) {
  MOIRE_SHARED(int32_t, warps, kWarps);
  if (threadIdx.x == 0)
    exchange[0] = int32_t(local);
  int32_t without = 0;
  for (int64_t m = threadIdx.x; m < members; m += kThreads) {
    const int32_t *first = offsets + m * local;
    for (int64_t l = 0; l < local; ++l) {
      const int64_t before = first[l] - first[0], after = first[l + 1] - first[0];
      exchange[1 + m * local + l] =
          int32_t((after < slots ? after : slots) - (before < slots ? before : slots));
    }
    const int32_t rows = first[local] - first[0];
    if (rows > slots && rows > without)
      without = rows;
  }
  without = blockMax<int32_t>(without, warps);
  if (threadIdx.x == 0)
    *most = keep && *most > float(without) ? *most : float(without);
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

/// Rows by member, and the other order that they have on this rank.
struct Orders {
  int64_t members;
  int64_t slots; ///< that a member's rows have; 0: they follow one another without gaps
  /// The other order: the sender's, by global expert, which is by member, too; or the
  /// receiver's, by local expert.
  bool sender;
  /// Of the local experts that move, at most, for the size of the launch; 0: the host does not
  /// know.
  int64_t local = 0, rows = 0;
  /// Only rows of this part of the local experts move.
  int64_t part = 0, parts = 1;
  /// By member, too, rows are where those of all parts have their places; else the part's
  /// rows follow one another.
  bool allPlaces = false;
};

/// Moves rows between the two orders: a block takes a (member m, local expert l) after
/// another, of which blockIdx.y shares the bytes. U: what one thread moves at once, `units`
/// of them a row.
template <typename U>
__global__ void __launch_bounds__(kThreads)
    regroupKernel(Orders orders, const int32_t *exchange, int64_t units, bool fromMembers,
                  const U *from, U *to) {
  MOIRE_SHARED(int32_t, sums, 2 * kWarps);
  const int64_t local = exchange[0], all = orders.members * local;
  const int64_t begin = orders.part * local / orders.parts;
  const int64_t end = (orders.part + 1) * local / orders.parts, own = end - begin;
  const int32_t *counts = exchange + 1 + (orders.sender ? 0 : all);
  for (int64_t number = blockIdx.x; number < orders.members * own; number += gridDim.x) {
    const int64_t m = number / own, l = begin + number % own, segment = m * local + l;
    // Rows before this segment in each order.
    int32_t byMember = 0, other = 0;
    for (int64_t i = threadIdx.x; i < all; i += kThreads) {
      const int64_t otherM = i / local, otherL = i % local;
      const bool isBefore = i < segment;
      const bool moves = orders.allPlaces || (begin <= otherL && otherL < end);
      byMember += isBefore && moves && (orders.slots == 0 || otherM == m) ? counts[i] : 0;
      other +=
          (orders.sender ? isBefore : otherL < l || (otherL == l && otherM < m)) ? counts[i] : 0;
    }
    byMember = warpSum(byMember);
    other = warpSum(other);
    if (threadIdx.x % kWarp == 0) {
      sums[threadIdx.x / kWarp] = byMember;
      sums[kWarps + threadIdx.x / kWarp] = other;
    }
    __syncthreads();
    int64_t memberAt = m * orders.slots, otherAt = 0;
    for (int w = 0; w < kWarps; ++w) {
      memberAt += sums[w];
      otherAt += sums[kWarps + w];
    }
    __syncthreads(); // before the next segment's sums
    const U *x = from + (fromMembers ? memberAt : otherAt) * units;
    U *y = to + (fromMembers ? otherAt : memberAt) * units;
    const int64_t count = counts[segment] * units, step = int64_t(gridDim.y) * kThreads;
    for (int64_t i = int64_t(blockIdx.y) * kThreads + threadIdx.x; i < count; i += step)
      y[i] = x[i];
  }
}

template <typename U>
void regroup(Context &ctx, const Orders &orders, const int32_t *exchange, int64_t rowBytes,
             bool fromMembers, const void *from, void *to) {
  const int64_t units = rowBytes / int64_t(sizeof(U));
  const int64_t segments = orders.members * (orders.local ? orders.local : 8);
  // Of each segment 8 units a thread, if all are as long.
  const int64_t shares = orders.rows ? orders.rows * units / segments / (8 * kThreads) + 1 : 8;
  const dim3 blocks(unsigned(std::min<int64_t>(segments, 128)),
                    unsigned(std::min<int64_t>(shares, 8)));
  MOIRE_LAUNCH(streamOf(ctx), blocks, kThreads, 0, regroupKernel<U>, orders, exchange, units,
               fromMembers, static_cast<const U *>(from), static_cast<U *>(to));
}

/// fromMembers: from the order by member to the other one; else the inverse.
void regroup(Context &ctx, const Orders &orders, const int32_t *exchange, int64_t rowBytes,
             bool fromMembers, const void *from, void *to) {
  auto fits = [&](int64_t unit) {
    return rowBytes % unit == 0 && reinterpret_cast<uintptr_t>(from) % unit == 0 &&
           reinterpret_cast<uintptr_t>(to) % unit == 0;
  };
  const auto go = fits(16)  ? regroup<float4>
                  : fits(4) ? regroup<int32_t>
                  : fits(2) ? regroup<uint16_t>
                            : regroup<uint8_t>;
  go(ctx, orders, exchange, rowBytes, fromMembers, from, to);
}

/// How many members hold the experts; throws where they cannot.
int64_t checkMembers(Context &ctx, int group, const char *what, const Routing &global,
                     const Routing &local) {
  const int64_t members = ctx.comm ? ctx.comm->group(group).size() : 1;
  if (members * local.experts != global.experts)
    throw RunError(std::string(what) + ": " + std::to_string(members) + " ranks of " +
                   std::to_string(local.experts) + " experts each cannot hold " +
                   std::to_string(global.experts));
  return members;
}

/// allToAllRows() in messages of one length.
void allToAllSlots(Context &ctx, const Group &g, const char *what, const void *from, void *to,
                   int64_t rowBytes, const int32_t *exchange, const ExpertSlots::Room &room,
                   bool back) {
  const int64_t members = g.size(), bytes = room.slots * rowBytes;
  if (bytes == 0)
    return;
  char *out = static_cast<char *>(ctx.scratch(2 * members * bytes)), *in = out + members * bytes;
  // What goes there is what was sent, what goes back what was received.
  Orders orders = {members, room.slots, !back, room.local, members * room.slots};
  regroup(ctx, orders, exchange, rowBytes, false, from, out);
  copy(ctx, bytes, reinterpret_cast<uint8_t *>(out + g.index * bytes),
       reinterpret_cast<uint8_t *>(in + g.index * bytes));
  std::vector<DeviceMessage> sends, receives;
  for (int64_t i = 1; i < members; ++i) {
    const int64_t next = (g.index + i) % members, previous = (g.index + members - i) % members;
    sends.push_back({g.members[next], out + next * bytes, bytes});
    receives.push_back({g.members[previous], in + previous * bytes, bytes});
  }
  ctx.link->exchange(ctx, what, sends, receives);
  orders.sender = back;
  regroup(ctx, orders, exchange, rowBytes, true, in, to);
}
} // namespace

void exchangeRouting(Context &ctx, int group, const char *what, const Routing &global,
                     const Routing &local, int32_t *exchange) {
  const int64_t members = checkMembers(ctx, group, what, global, local), experts = local.experts;
  int32_t *sent = exchange + 1, *received = sent + global.experts;
  MOIRE_LAUNCH(streamOf(ctx), 1, kThreads, 0, countsKernel, global.experts, experts,
               static_cast<const int32_t *>(global.offsets), exchange);
  allToAll(ctx, group, what, sent, received, experts);
  MOIRE_LAUNCH(streamOf(ctx), 1, 1, 0, offsetsKernel, members, experts,
               static_cast<const int32_t *>(received), local.offsets);
  if (!ctx.comm)
    return;
  ctx.link->slots.of.erase(exchange);
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

void exchangeRoutingInSlots(Context &ctx, int group, const char *what, const Routing &global,
                            const Routing &local, int32_t *exchange) {
  if (!ctx.comm)
    return exchangeRouting(ctx, group, what, global, local, exchange);
  const int64_t members = checkMembers(ctx, group, what, global, local), experts = local.experts;
  const int64_t slots = local.rows() / members;
  ExpertSlots &all = ctx.link->slots;
  if (!all.most.size())
    all.most = DeviceBlock(ExpertSlots::kMost * int64_t(sizeof(float)));
  const size_t last = ExpertSlots::kMost - 1, number = std::min(all.asked.size(), last);
  int32_t *sent = exchange + 1, *received = sent + global.experts;
  MOIRE_LAUNCH(streamOf(ctx), 1, kThreads, 0, slotCountsKernel, members, experts, slots,
               all.asked.size() > last, static_cast<const int32_t *>(global.offsets), exchange,
               all.most.as<float>() + number);
  all.of[exchange] = {experts, slots};
  all.asked.push_back({what, group, slots});
  allToAll(ctx, group, what, sent, received, experts);
  MOIRE_LAUNCH(streamOf(ctx), 1, 1, 0, offsetsKernel, members, experts,
               static_cast<const int32_t *>(received), local.offsets);
}

void checkSlots(Context &ctx) {
  if (!ctx.comm)
    return;
  followJobs(ctx); // exchanges of counts may be among them; and after a throw all is done
  if (ctx.link->slots.asked.empty())
    return;
  ExpertSlots &all = ctx.link->slots;
  const std::vector<ExpertSlots::Asked> asked = std::exchange(all.asked, {});
  std::vector<float> most(std::min<size_t>(asked.size(), ExpertSlots::kMost));
  std::set<int> groups;
  for (const ExpertSlots::Asked &a : asked)
    if (groups.insert(a.group).second)
      allReduce(ctx, a.group, "the experts' slots", all.most.as<float>(), all.most.as<float>(),
                int64_t(most.size()), Reduction::max);
  download(ctx, most.data(), all.most.data(), int64_t(most.size() * sizeof(float)));
  ctx.link->check();
  for (size_t i = 0; i < most.size(); ++i)
    if (most[i] > 0)
      throw ExpertOverflow(asked[i].what + ": " + std::to_string(int64_t(most[i])) +
                           " rows of a rank go to one that has room for " +
                           std::to_string(asked[i].slots) + " of them");
}

void allToAllRows(Context &ctx, int group, const char *what, const void *from, void *to,
                  int64_t rowBytes, const int32_t *exchange, bool back, int64_t part,
                  int64_t parts) {
  if (!ctx.comm) // one member, so that both orders are the same
    return regroup(ctx, {1, 0, false, 0, 0, part, parts, true}, exchange, rowBytes, !back, from,
                   to);
  const Group &g = ctx.comm->group(group);
  if (const auto found = ctx.link->slots.of.find(exchange); found != ctx.link->slots.of.end()) {
    if (parts != 1)
      throw RunError(std::string(what) + ": rows that have slots are not exchanged in parts");
    return allToAllSlots(ctx, g, what, from, to, rowBytes, exchange, found->second, back);
  }
  const std::vector<int32_t> &known = ctx.link->exchanges.at(exchange);
  const int64_t members = g.size(), local = known[0];
  const int32_t *sent = known.data() + 1, *received = sent + members * local;
  const int64_t begin = part * local / parts, end = (part + 1) * local / parts;
  // The run that each member's rows of the part are in the two orders by member, in bytes:
  // among all rows that are sent, and among those of the part that arrive.
  struct Run {
    int64_t at, bytes;
  };
  std::vector<Run> sortedRuns, memberRuns;
  int64_t sentBytes = 0, arrived = 0, before = 0; // before: grouped rows of earlier parts
  for (int64_t m = 0; m < members; ++m) {
    auto bytesOf = [&](const int32_t *counts, int64_t first, int64_t last) {
      return std::accumulate(counts + m * local + first, counts + m * local + last, int64_t(0)) *
             rowBytes;
    };
    sortedRuns.push_back({sentBytes + bytesOf(sent, 0, begin), bytesOf(sent, begin, end)});
    memberRuns.push_back({arrived, bytesOf(received, begin, end)});
    sentBytes += bytesOf(sent, 0, local);
    arrived += memberRuns.back().bytes;
    before += bytesOf(received, 0, begin);
  }

  // What comes for this rank's experts and goes back. With one of them the order by member
  // is the grouped one, too.
  const bool same = end - begin == 1;
  char *sorted = static_cast<char *>(back ? to : const_cast<void *>(from));
  char *grouped = static_cast<char *>(back ? const_cast<void *>(from) : to);
  char *byMember = same ? grouped + before : static_cast<char *>(ctx.scratch(arrived));
  const int64_t rowsHere = std::max<int64_t>(1, arrived / rowBytes);
  const Orders orders = {members, 0, false, end - begin, rowsHere, part, parts};
  if (back && !same)
    regroup(ctx, orders, exchange, rowBytes, false, grouped, byMember);
  auto rows = [](char *base, const std::vector<Run> &runs, int64_t m) {
    return std::pair(base + runs[m].at, runs[m].bytes);
  };
  std::vector<DeviceMessage> sends, receives;
  for (int64_t i = 0; i < members; ++i) {
    const int64_t next = (g.index + i) % members, previous = (g.index + members - i) % members;
    const auto [out, outBytes] =
        back ? rows(byMember, memberRuns, next) : rows(sorted, sortedRuns, next);
    const auto [in, inBytes] =
        back ? rows(sorted, sortedRuns, previous) : rows(byMember, memberRuns, previous);
    if (i == 0) {
      copy(ctx, outBytes, reinterpret_cast<uint8_t *>(out), reinterpret_cast<uint8_t *>(in));
      continue;
    }
    sends.push_back({g.members[next], out, outBytes});
    receives.push_back({g.members[previous], in, inBytes});
  }
  ctx.link->exchange(ctx, what, sends, receives);
  if (!back && !same)
    regroup(ctx, orders, exchange, rowBytes, true, byMember, grouped);
}

} // namespace moire::rt
