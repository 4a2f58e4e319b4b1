//===- pieces.cu - What ranks divide among them, in GPU memory ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A rank sends another one message. Where that is of several pieces, a kernel packs them
// before it leaves and another one unpacks them where it arrives; a single piece leaves
// from where it lies.
//
//===----------------------------------------------------------------------===//

#include "cuda/link.h"
#include "cuda/ranges.h"
#include "moire/rt/cuda/pack.h"
#include "moire/rt/pieces.h"
#include "train/stage_messages.h"

namespace moire::rt {

namespace {
using namespace device;
constexpr int kThreads = 256;
constexpr int64_t kBlockElements = 4096;

struct Move {
  const float *from;
  float *to;
  int64_t size;
};
/// Of a sum, what is this rank's, and what comes from the first of the others.
struct Addend {
  float *own;
  const float *incoming;
  int64_t size;
};

/// What is added up of one parameter.
struct Copies {
  static constexpr int kMost = 256;
  int count;
  const float *values[kMost];
};

/// Calls body(i, n) for the elements of the block's piece, n of them at i at a time.
template <int W, typename Range, typename Body>
__device__ __forceinline__ void forElements(const Pieces<Range> &pieces, int r, Body &&body) {
  const int64_t size = pieces.range[r].size;
  const int64_t begin = (int64_t(blockIdx.x) - pieces.first[r]) * kBlockElements;
  const int64_t end = begin + kBlockElements < size ? begin + kBlockElements : size;
  const int64_t vectors = begin + (end - begin) / W * W;
  for (int64_t i = begin + threadIdx.x * W; i < vectors; i += kThreads * W)
    body(i, Run<float, W>());
  for (int64_t i = vectors + threadIdx.x; i < end; i += kThreads)
    body(i, Run<float, 1>());
}

/// Bound by memory: 8 bytes an element.
template <int W> __global__ void __launch_bounds__(kThreads) moveKernel(Pieces<Move> moves) {
  const int r = moves.find(blockIdx.x);
  const Move move = moves.range[r];
  forElements<W>(moves, r, [&](int64_t i, auto run) {
    run.load(move.from + i);
    run.store(move.to + i);
  });
}

/// own[i] = Σ over members, ascending, of their value i; the others' are `stride` apart.
/// Bound by memory.
template <int W>
__global__ void __launch_bounds__(kThreads)
    addKernel(Pieces<Addend> addends, int members, int me, int64_t stride) {
  const int r = addends.find(blockIdx.x);
  const Addend a = addends.range[r];
  forElements<W>(addends, r, [&](int64_t i, auto run) {
    auto sum = run;
    for (int m = 0; m < members; ++m) {
      run.load(m == me ? a.own + i : a.incoming + (m < me ? m : m - 1) * stride + i);
#pragma unroll
      for (int j = 0; j < decltype(run)::kCount; ++j)
        sum.at[j] = m == 0 ? run.at[j] : sum.at[j] + run.at[j];
    }
    sum.store(a.own + i);
  });
}

/// Packed pieces begin at whole cache lines: elements of one in a message.
int64_t packed(int64_t elements) { return (elements + 15) / 16 * 16; }
int64_t elementsOf(const Piece &piece) { return piece.bytes / int64_t(sizeof(float)); }
int64_t packed(const std::vector<Piece> &pieces) {
  int64_t sum = 0;
  for (const Piece &piece : pieces)
    sum += packed(elementsOf(piece));
  return sum;
}
bool isPacked(const std::vector<Piece> &pieces) { return pieces.size() > 1; }

void move(Context &ctx, const std::vector<Move> &moves) {
  bool wide = true;
  for (const Move &m : moves)
    wide &= isAligned(m.from, 16) && isAligned(m.to, 16);
  forPieces(moves, kBlockElements, [&](const Pieces<Move> &pieces) {
    MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned(pieces.first[pieces.count])), kThreads, 0,
                 wide ? moveKernel<4> : moveKernel<1>, pieces);
  });
}

/// Messages to and from the other members of a group, in the order of their calls.
class Messages {
public:
  /// room: elements for what is packed, roomFor() of all messages.
  Messages(Context &ctx, const Group &group, float *room) : ctx(ctx), group(group), room(room) {}

  static int64_t roomFor(const std::vector<Piece> &pieces) {
    return isPacked(pieces) ? packed(pieces) : 0;
  }
  void send(int member, const std::vector<Piece> &pieces) {
    sends.push_back(message(member, pieces, [&](float *piece, float *at, int64_t n) {
      before.push_back({piece, at, n});
    }));
  }
  void receive(int member, const std::vector<Piece> &pieces) {
    receives.push_back(message(member, pieces, [&](float *piece, float *at, int64_t n) {
      after.push_back({at, piece, n});
    }));
  }
  /// As they come, packed where they are several pieces.
  void receive(int member, float *to, int64_t elements) {
    receives.push_back({group.members[member], to, elements * int64_t(sizeof(float))});
  }
  void exchange(const char *what) {
    move(ctx, before);
    ctx.link->exchange(ctx, what, sends, receives);
    move(ctx, after);
  }

private:
  template <typename Add>
  DeviceMessage message(int member, const std::vector<Piece> &pieces, Add &&add) {
    const int rank = group.members[member];
    if (pieces.empty())
      return {rank, nullptr, 0};
    if (!isPacked(pieces))
      return {rank, pieces[0].data, pieces[0].bytes};
    float *const start = room;
    for (const Piece &piece : pieces) {
      add(static_cast<float *>(piece.data), room, elementsOf(piece));
      room += packed(elementsOf(piece));
    }
    return {rank, start, (room - start) * int64_t(sizeof(float))};
  }

  Context &ctx;
  const Group &group;
  float *room;
  std::vector<Move> before, after;
  std::vector<DeviceMessage> sends, receives;
};

/// Calls body(next, previous) for all other members: every one starts with the one after
/// it, so that not all knock at one door.
template <typename Body> void forOthers(const Group &group, Body &&body) {
  for (int i = 1; i < group.size(); ++i)
    body((group.index + i) % group.size(), (group.index + group.size() - i) % group.size());
}

float *roomOf(Context &ctx, int64_t elements) {
  return static_cast<float *>(ctx.scratch(elements * int64_t(sizeof(float))));
}
} // namespace

int64_t roomToExchange(const Group &group, const Comm::Pieces &from, const Comm::Pieces &to) {
  int64_t room = 0;
  forOthers(group, [&](int next, int previous) {
    room += Messages::roomFor(from[next]) + Messages::roomFor(to[previous]);
  });
  return room;
}

void exchangePieces(Context &ctx, const Group &group, const char *what, const Comm::Pieces &from,
                    const Comm::Pieces &to, float *room) {
  Messages messages(ctx, group, room);
  forOthers(group, [&](int next, int previous) {
    messages.send(next, from[next]);
    messages.receive(previous, to[previous]);
  });
  messages.exchange(what);
}

void exchangePieces(Context &ctx, int group, const char *what, const Comm::Pieces &from,
                    const Comm::Pieces &to) {
  const Group &g = ctx.comm->group(group);
  exchangePieces(ctx, g, what, from, to, roomOf(ctx, roomToExchange(g, from, to)));
}

/// Bound by memory: 4 bytes a value and 4 more an element.
__global__ static void __launch_bounds__(kThreads) copiesKernel(Copies copies, int64_t n,
                                                                float *to) {
  const int64_t step = int64_t(gridDim.x) * kThreads;
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step) {
    float sum = copies.values[0][i];
    for (int k = 1; k < copies.count; ++k)
      sum += copies.values[k][i];
    to[i] = sum;
  }
}

void addCopies(Context &ctx, const std::vector<const float *> &values, int64_t n, float *to) {
  Copies copies;
  if (values.size() > size_t(copies.kMost))
    throw RunError("a parameter's gradient is added up of " + std::to_string(values.size()) +
                   " copies, a GPU adds at most " + std::to_string(copies.kMost) +
                   "; use a schedule with fewer stages a rank");
  copies.count = int(values.size());
  std::copy(values.begin(), values.end(), copies.values);
  const int64_t blocks = std::min<int64_t>((n + kThreads - 1) / kThreads, 2048);
  MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned(blocks)), kThreads, 0, copiesKernel, copies, n, to);
}

void reducePieces(Context &ctx, int group, const char *what, const RangeInfo *ranges,
                  int64_t numRanges) {
  const Group &g = ctx.comm->group(group);
  const int members = g.size();
  if (members == 1)
    return;
  Slabs whole;
  for (const RangeInfo *r = ranges; r < ranges + numRanges; ++r)
    whole.push_back({ctx.grad(r->begin), r->end - r->begin, r->piece, 0, r->piece});
  for (const Slabs &slabs : inGoes(whole, members)) {
    const std::vector<Piece> own = piecesOf(slabs, g.index);
    const int64_t stride = packed(own);
    int64_t room = stride * (members - 1);
    forOthers(g, [&](int next, int) { room += Messages::roomFor(piecesOf(slabs, next)); });
    float *const incoming = roomOf(ctx, room);
    Messages messages(ctx, g, incoming + stride * (members - 1));
    forOthers(g, [&](int next, int previous) {
      messages.send(next, piecesOf(slabs, next));
      const int slot = previous < g.index ? previous : previous - 1;
      messages.receive(previous, incoming + slot * stride,
                       own.size() == 1 ? elementsOf(own[0]) : stride);
    });
    messages.exchange(what);
    std::vector<Addend> addends;
    bool wide = true;
    int64_t at = 0;
    for (const Piece &piece : own) {
      addends.push_back({static_cast<float *>(piece.data), incoming + at, elementsOf(piece)});
      at += packed(elementsOf(piece));
      wide &= isAligned(piece.data, 16);
    }
    forPieces(addends, kBlockElements, [&](const Pieces<Addend> &pieces) {
      MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned(pieces.first[pieces.count])), kThreads, 0,
                   wide ? addKernel<4> : addKernel<1>, pieces, members, g.index, stride);
    });
  }
}

} // namespace moire::rt
