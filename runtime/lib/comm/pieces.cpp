//===- pieces.cpp - What ranks divide among them --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/pieces.h"
#include "moire/rt/comm.h"
#include "moire/rt/parallel.h"

#include <vector>

namespace moire::rt {

Owned owned(const Context &ctx, const ParameterInfo &p) {
  const int64_t n = shardElements(p);
  if (p.zero == 0 || !ctx.comm)
    return {0, n};
  const Group &group = ctx.comm->group(p.reduceGroup);
  return ownedBy(group.index, n, group.size());
}

namespace {
/// What is moved at once is at most this, of all members together, in elements.
constexpr int64_t kMost = 25'000'000 / sizeof(float);

/// Places [at, at + length) of each member's piece of one parameter.
struct Slab {
  float *shard;
  int64_t n, piece, at, length;

  Piece of(int member) const {
    const int64_t begin = std::min(n, member * piece + at);
    const int64_t end = std::min(n, member * piece + std::min(piece, at + length));
    return {shard + begin, (end - begin) * int64_t(sizeof(float))};
  }
};

/// Slabs of one group that move together.
struct Bucket {
  int group;
  std::vector<Slab> slabs;

  std::vector<Piece> of(int member) const {
    std::vector<Piece> pieces;
    for (const Slab &s : slabs)
      if (const Piece piece = s.of(member); piece.bytes > 0)
        pieces.push_back(piece);
    return pieces;
  }
};

/// All divided parameters of the zero levels up to `most`; block: of shards, in which
/// `place` says where one begins.
template <typename Place>
std::vector<Bucket> bucketsOf(const Context &ctx, int most, float *block, Place place) {
  std::vector<Bucket> buckets;
  const Program &program = *ctx.program;
  for (int group = 0; group < int(program.numGroups); ++group) {
    const int64_t members = ctx.comm->group(group).size();
    int64_t room = 0;
    for (int64_t i = 0; i < program.numParameters; ++i) {
      const ParameterInfo &p = program.parameters[i];
      if (p.zero == 0 || p.zero > most || p.reduceGroup != group)
        continue;
      const int64_t n = shardElements(p), piece = pieceElements(n, members);
      for (int64_t at = 0; at < piece;) {
        if (room == 0) {
          buckets.push_back({group, {}});
          room = std::max<int64_t>(16, kMost / members);
        }
        const int64_t length = std::min(piece - at, room);
        buckets.back().slabs.push_back({block + place(p), n, piece, at, length});
        at += length;
        room -= length;
      }
    }
  }
  return buckets;
}
} // namespace

void sumPieces(Context &ctx) {
  for (const Bucket &bucket : bucketsOf(ctx, 1, ctx.grads.as<float>(), [](const ParameterInfo &p) {
         return p.gradOffset < 0 ? p.offset : p.gradOffset;
       })) {
    const Group &group = ctx.comm->group(bucket.group);
    const int members = group.size(), me = group.index;
    const std::vector<Piece> own = bucket.of(me);
    int64_t bytes = 0;
    for (const Piece &piece : own)
      bytes += piece.bytes;
    // One row a member; the own one stays where it is.
    char *room = static_cast<char *>(ctx.scratch(std::max<int64_t>(64, bytes * members)));
    Comm::Pieces from(members), to(members);
    for (int m = 0; m < members; ++m)
      if (m != me) {
        from[m] = bucket.of(m);
        to[m] = {{room + m * bytes, bytes}};
      }
    ctx.comm->allToAllV(group, "reduce_scatter of gradients", from, to);
    int64_t done = 0;
    for (const Piece &piece : own) {
      float *sum = static_cast<float *>(piece.data);
      parallelFor(ctx, piece.bytes / int64_t(sizeof(float)), kElementwiseGrain,
                  [&](int64_t begin, int64_t end) {
                    constexpr int64_t kTile = 512;
                    for (int64_t tile = begin; tile < end; tile += kTile) {
                      const int64_t count = std::min(kTile, end - tile);
                      float total[kTile];
                      for (int m = 0; m < members; ++m) {
                        const float *x =
                            m == me
                                ? sum + tile
                                : reinterpret_cast<const float *>(room + m * bytes + done) + tile;
                        for (int64_t i = 0; i < count; ++i)
                          total[i] = m == 0 ? x[i] : total[i] + x[i];
                      }
                      std::copy_n(total, count, sum + tile);
                    }
                  });
      done += piece.bytes;
    }
  }
}

void gatherPieces(Context &ctx) {
  for (const Bucket &bucket :
       bucketsOf(ctx, 2, ctx.params.as<float>(), [](const ParameterInfo &p) { return p.offset; })) {
    const Group &group = ctx.comm->group(bucket.group);
    Comm::Pieces from(group.size()), to(group.size());
    for (int m = 0; m < group.size(); ++m)
      if (m != group.index) {
        from[m] = bucket.of(group.index);
        to[m] = bucket.of(m);
      }
    ctx.comm->allToAllV(group, "all_gather of parameters", from, to);
  }
}

} // namespace moire::rt
