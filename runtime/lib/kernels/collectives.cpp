//===- statements.cpp - What generated code calls between ranks -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/collectives.h"
#include "moire/rt/comm.h"
#include "moire/rt/pieces.h"

#include <cstring>

namespace moire::rt {

Ticket startBeside(Context &ctx, std::function<void()> job) {
  return ctx.comm->start(std::move(job));
}
void waitBeside(Context &ctx, const Ticket &ticket) { ctx.comm->wait(ticket); }

int64_t axisIndex(const Context &ctx, int axis) { return ctx.comm ? ctx.comm->axisIndex(axis) : 0; }

namespace {
template <typename T> void copy(const T *from, T *to, int64_t n) {
  if (from != to && n > 0)
    std::memcpy(to, from, n * sizeof(T));
}
} // namespace

void memberIndex(Context &ctx, int group, int64_t *index) {
  *index = ctx.comm ? ctx.comm->group(group).index : 0;
}

template <typename T>
void split(Context &ctx, int group, const T *from, T *to, int64_t outer, int64_t dim,
           int64_t inner) {
  if (!ctx.comm)
    return copy(from, to, outer * dim * inner);
  const Group &g = ctx.comm->group(group);
  const int64_t run = dim * inner, members = int64_t(g.members.size());
  for (int64_t i = 0; i < outer; ++i)
    copy(from + (i * members + g.index) * run, to + i * run, run);
}

template <typename T>
void allReduce(Context &ctx, int group, const char *what, const T *from, T *to, int64_t n,
               Reduction reduce) {
  if (!ctx.comm)
    return copy(from, to, n);
  ctx.comm->allReduce(ctx.comm->group(group), what, from, to, n, reduce);
}

template <typename T>
void reduceScatter(Context &ctx, int group, const char *what, const T *from, T *to, int64_t outer,
                   int64_t dim, int64_t inner, Reduction reduce) {
  if (!ctx.comm)
    return copy(from, to, outer * dim * inner);
  ctx.comm->reduceScatter(ctx.comm->group(group), what, from, to, outer, dim, inner, reduce);
}

template <typename T>
void allGather(Context &ctx, int group, const char *what, const T *from, T *to, int64_t outer,
               int64_t dim, int64_t inner) {
  if (!ctx.comm)
    return copy(from, to, outer * dim * inner);
  ctx.comm->allGather(ctx.comm->group(group), what, from, to, outer,
                      dim * inner * int64_t(sizeof(T)));
}

template <typename T>
void allToAll(Context &ctx, int group, const char *what, const T *from, T *to, int64_t count) {
  if (!ctx.comm)
    return copy(from, to, count);
  ctx.comm->allToAll(ctx.comm->group(group), what, from, to, count * int64_t(sizeof(T)));
}

template <typename T>
void broadcast(Context &ctx, int group, const char *what, T *data, int64_t count, int root) {
  if (ctx.comm)
    ctx.comm->broadcast(ctx.comm->group(group), what, data, count * int64_t(sizeof(T)), root);
}

void reducePieces(Context &ctx, int group, const char *what, const RangeInfo *ranges,
                  int64_t numRanges) {
  for (const RangeInfo *r = ranges; r < ranges + numRanges; ++r)
    ctx.comm->reducePieces(ctx.comm->group(group), what, ctx.grad(r->begin), r->piece,
                           r->end - r->begin);
}

void exchangePieces(Context &ctx, int group, const char *what, const Comm::Pieces &from,
                    const Comm::Pieces &to) {
  ctx.comm->allToAllV(ctx.comm->group(group), what, from, to);
}

#define INSTANTIATE_MOVES(T)                                                                       \
  template void split(Context &, int, const T *, T *, int64_t, int64_t, int64_t);                  \
  template void allGather(Context &, int, const char *, const T *, T *, int64_t, int64_t,          \
                          int64_t);                                                                \
  template void allToAll(Context &, int, const char *, const T *, T *, int64_t);                   \
  template void broadcast(Context &, int, const char *, T *, int64_t, int);
#define INSTANTIATE_SUMS(T)                                                                        \
  template void allReduce(Context &, int, const char *, const T *, T *, int64_t, Reduction);       \
  template void reduceScatter(Context &, int, const char *, const T *, T *, int64_t, int64_t,      \
                              int64_t, Reduction);
INSTANTIATE_MOVES(float)
INSTANTIATE_MOVES(double)
INSTANTIATE_MOVES(bf16)
INSTANTIATE_MOVES(int64_t)
INSTANTIATE_MOVES(int32_t)
INSTANTIATE_MOVES(bool)
INSTANTIATE_MOVES(uint8_t)
INSTANTIATE_SUMS(float)
INSTANTIATE_SUMS(double)
INSTANTIATE_SUMS(bf16)

} // namespace moire::rt
