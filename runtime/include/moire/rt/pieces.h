//===- pieces.h - What ranks divide among them ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A parameter with ParameterInfo::zero is divided among the R members of its
// reduceGroup (Rajbhandari et al., ZeRO, 2020): of its shard's n elements in row-major
// order member i owns [min(n, i · c), min(n, (i + 1) · c)), c = ceil(n / R) rounded up
// to 16. In blocks a piece takes c elements on every rank.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_PIECES_H
#define MOIRE_RT_PIECES_H

#include "moire/rt/comm.h"
#include "moire/rt/context.h"

#include <algorithm>
#include <vector>

namespace moire::rt {

/// Elements of the shard that a rank holds, or would without zero.
inline int64_t shardElements(const ParameterInfo &p) {
  int64_t n = 1;
  for (int64_t i = 0; i < p.rank; ++i)
    n *= p.shape[i];
  return n;
}

/// c of n elements over R members.
inline int64_t pieceElements(int64_t n, int64_t members) {
  return ((n + members - 1) / members + 15) / 16 * 16;
}

/// Elements [begin, end) of a shard.
struct Owned {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};
inline Owned ownedBy(int64_t member, int64_t n, int64_t members) {
  const int64_t c = pieceElements(n, members);
  return {std::min(n, member * c), std::min(n, (member + 1) * c)};
}
/// What this rank owns: all of its shard where the parameter has no zero.
Owned owned(const Context &ctx, const ParameterInfo &p);

/// Where in each block the owned elements begin.
inline int64_t ownedValueAt(const ParameterInfo &p, const Owned &o) {
  return p.offset + (p.zero >= 3 ? 0 : o.begin);
}
inline int64_t ownedGradAt(const ParameterInfo &p, const Owned &o) {
  return (p.gradOffset < 0 ? p.offset : p.gradOffset) + (p.zero >= 2 ? 0 : o.begin);
}
/// Of m and v.
inline int64_t ownedStateAt(const ParameterInfo &p) {
  return p.stateOffset < 0 ? p.offset : p.stateOffset;
}

/// What moves at once of a shard of n elements that is divided in pieces of `piece`: the
/// places [at, at + length) of each member's.
struct Slab {
  float *shard; ///< of the memory in which kernels run
  int64_t n, piece, at, length;

  Piece of(int member) const {
    const int64_t begin = std::min(n, member * piece + at);
    const int64_t end = std::min(n, member * piece + std::min(piece, at + length));
    return {shard + begin, (end - begin) * int64_t(sizeof(float))};
  }
};
/// Slabs that move together.
using Slabs = std::vector<Slab>;
/// Those of one member, without empty ones.
std::vector<Piece> piecesOf(const Slabs &slabs, int member);
/// Whole pieces cut and put together so that of each result at most 25 MB move, of all
/// members together.
std::vector<Slabs> inGoes(const Slabs &whole, int64_t members);

/// In each range of the block of gradients the sum of this rank's piece, members added in
/// ascending order; the rest stays as it is. Of the target: lib/kernels/collectives.cpp,
/// cuda/pieces.cu.
void reducePieces(Context &ctx, int group, const char *what, const RangeInfo *ranges,
                  int64_t numRanges);
/// Pieces of the memory in which kernels run, [members][…], whole floats, to and from each
/// other member, which lists as many pieces of the same sizes. Of the target.
void exchangePieces(Context &ctx, int group, const char *what, const Comm::Pieces &from,
                    const Comm::Pieces &to);

/// The same in any group; room: roomToExchange() elements. Of the target.
void exchangePieces(Context &ctx, const Group &group, const char *what, const Comm::Pieces &from,
                    const Comm::Pieces &to, float *room);
int64_t roomToExchange(const Group &group, const Comm::Pieces &from, const Comm::Pieces &to);

/// After the update: of parameters with zero 1 and 2 every rank gets all pieces' values.
void gatherPieces(Context &ctx);

} // namespace moire::rt

#endif // MOIRE_RT_PIECES_H
