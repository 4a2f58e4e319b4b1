//===- pieces.cpp - What ranks divide among them --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/pieces.h"
#include "moire/rt/optimizer.h"

namespace moire::rt {

Owned owned(const Context &ctx, const ParameterInfo &p) {
  const int64_t n = shardElements(p);
  if (p.zero == 0 || !ctx.comm)
    return {0, n};
  const Group &group = ctx.comm->group(p.reduceGroup);
  return ownedBy(group.index, n, group.size());
}

std::vector<Piece> piecesOf(const Slabs &slabs, int member) {
  std::vector<Piece> pieces;
  for (const Slab &s : slabs)
    if (const Piece piece = s.of(member); piece.bytes > 0)
      pieces.push_back(piece);
  return pieces;
}

std::vector<Slabs> inGoes(const Slabs &whole, int64_t members) {
  constexpr int64_t kMost = 25'000'000 / sizeof(float);
  std::vector<Slabs> goes;
  int64_t room = 0;
  for (const Slab &slab : whole)
    for (int64_t at = 0; at < slab.piece;) {
      if (room == 0) {
        goes.emplace_back();
        room = std::max<int64_t>(16, kMost / members / 16 * 16);
      }
      const int64_t length = std::min(slab.piece - at, room);
      goes.back().push_back({slab.shard, slab.n, slab.piece, at, length});
      at += length;
      room -= length;
    }
  return goes;
}

void gatherPieces(Context &ctx) {
  const Program &program = *ctx.program;
  for (int index = 0; index < int(program.numGroups); ++index) {
    const Group &group = ctx.comm->group(index);
    Slabs whole;
    for (int64_t i = 0; i < program.numParameters; ++i)
      if (const ParameterInfo &p = program.parameters[i];
          p.zero > 0 && p.zero < 3 && p.reduceGroup == index && isUpdated(ctx, p)) {
        const int64_t n = shardElements(p), piece = pieceElements(n, group.size());
        whole.push_back({ctx.param(p.offset), n, piece, 0, piece});
      }
    for (const Slabs &slabs : inGoes(whole, group.size())) {
      Comm::Pieces from(group.size()), to(group.size());
      for (int m = 0; m < group.size(); ++m)
        if (m != group.index) {
          from[m] = piecesOf(slabs, group.index);
          to[m] = piecesOf(slabs, m);
        }
      exchangePieces(ctx, index, "all_gather of parameters", from, to);
    }
  }
}

} // namespace moire::rt
