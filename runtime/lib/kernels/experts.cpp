//===- experts.cpp - Rows to the ranks of their experts and back ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A rank's rows are sorted by global expert, so those for one member are contiguous.
// They arrive as L runs, one per expert of the receiver, which lie apart there:
//
//     sender   | expert 0 | expert 1 | expert 2 | expert 3 |
//                 └── to member 0 ──┘   └── to member 1 ──┘
//     member 0 | expert 0: of member 0, of 1 | expert 1: of member 0, of 1 |
//
//===----------------------------------------------------------------------===//

#include "moire/rt/collectives.h"
#include "moire/rt/comm.h"

#include <algorithm>

namespace moire::rt {

namespace {
/// A view of the block that exchangeLength() describes.
struct Exchange {
  int64_t members, local;
  const int32_t *sent, *received; ///< [members, local]

  Exchange(int64_t members, const int32_t *block)
      : members(members), local(block[0]), sent(block + 1), received(sent + members * local) {}
};

Group alone() { return {{0}, 0}; }

/// Fills received [members, L] from what all members send [members, L].
void exchangeWithinSlots(Comm &comm, const Group &g, const char *what, const Routing &local,
                         const int32_t *sent, int32_t *received) {
  const int64_t members = g.size(), experts = local.experts, all = members * experts;
  std::vector<int32_t> counts(members * all); // [source, holder, L]
  comm.allGather(g, what, sent, counts.data(), 1, all * int64_t(sizeof(int32_t)));
  for (int64_t holder = 0; holder < members; ++holder) {
    int64_t rows = 0;
    for (int64_t source = 0; source < members; ++source)
      for (int64_t l = 0; l < experts; ++l)
        rows += counts[source * all + holder * experts + l];
    if (rows > local.rows())
      throw ExpertOverflow(std::string(what) + ": " + std::to_string(rows) +
                           " rows go to a rank that has room for " +
                           std::to_string(local.rows()));
  }
  for (int64_t source = 0; source < members; ++source)
    for (int64_t l = 0; l < experts; ++l)
      received[source * experts + l] = counts[source * all + g.index * experts + l];
}
} // namespace

static void exchangeCounts(Context &ctx, int group, const char *what, const Routing &global,
                           const Routing &local, int32_t *exchange, bool slots) {
  const Group g = ctx.comm ? ctx.comm->group(group) : alone();
  const int64_t members = g.size(), experts = local.experts;
  if (members * experts != global.experts)
    throw RunError(std::string(what) + ": " + std::to_string(members) + " ranks of " +
                   std::to_string(experts) + " experts each cannot hold " +
                   std::to_string(global.experts));
  exchange[0] = int32_t(experts);
  int32_t *sent = exchange + 1, *received = sent + global.experts;
  for (int64_t e = 0; e < global.experts; ++e)
    sent[e] = global.offsets[e + 1] - global.offsets[e];
  if (ctx.comm && slots)
    exchangeWithinSlots(*ctx.comm, g, what, local, sent, received);
  else if (ctx.comm)
    ctx.comm->allToAll(g, what, sent, received, experts * int64_t(sizeof(int32_t)));
  else
    std::copy(sent, sent + experts, received);
  local.offsets[0] = 0;
  for (int64_t l = 0; l < experts; ++l) {
    int64_t rows = local.offsets[l];
    for (int64_t m = 0; m < members; ++m)
      rows += received[m * experts + l];
    if (rows > local.rows())
      throw RunError(std::string(what) + ": " + std::to_string(rows) +
                     " rows arrive where there is room for " + std::to_string(local.rows()));
    local.offsets[l + 1] = int32_t(rows);
  }
}

void exchangeRouting(Context &ctx, int group, const char *what, const Routing &global,
                     const Routing &local, int32_t *exchange) {
  exchangeCounts(ctx, group, what, global, local, exchange, false);
}

void exchangeRoutingInSlots(Context &ctx, int group, const char *what, const Routing &global,
                            const Routing &local, int32_t *exchange) {
  exchangeCounts(ctx, group, what, global, local, exchange, true);
}

void checkSlots(Context &) {}

void allToAllRows(Context &ctx, int group, const char *what, const void *from, void *to,
                  int64_t rowBytes, const int32_t *exchange, bool back, int64_t part,
                  int64_t parts) {
  const Group g = ctx.comm ? ctx.comm->group(group) : alone();
  const Exchange x(g.size(), exchange);
  const int64_t begin = part * x.local / parts, end = (part + 1) * x.local / parts;
  // Of each member: its rows where they are sorted by global expert, which are one run,
  // and where they are grouped by local expert, one run an expert.
  std::vector<std::vector<Piece>> sorted(x.members), grouped(x.members);
  auto *sortedAt = static_cast<char *>(back ? to : const_cast<void *>(from));
  auto *groupedAt = static_cast<char *>(back ? const_cast<void *>(from) : to);
  for (int64_t m = 0; m < x.members; ++m) {
    sorted[m] = {{sortedAt, 0}};
    for (int64_t l = 0; l < x.local; ++l) {
      const int64_t bytes = x.sent[m * x.local + l] * rowBytes;
      sortedAt += bytes;
      if (l < begin)
        sorted[m][0].data = sortedAt;
      else if (l < end)
        sorted[m][0].bytes += bytes;
    }
  }
  for (int64_t l = 0; l < x.local; ++l)
    for (int64_t m = 0; m < x.members; ++m)
      if (const int64_t bytes = x.received[m * x.local + l] * rowBytes) {
        if (begin <= l && l < end)
          grouped[m].push_back({groupedAt, bytes});
        groupedAt += bytes;
      }
  auto &sent = back ? grouped : sorted, &received = back ? sorted : grouped;
  if (ctx.comm)
    return ctx.comm->allToAllV(g, what, sent, received);
  copyPieces(sent[0], received[0]);
}

} // namespace moire::rt
