//===- collectives.h - What generated code calls between ranks ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
//     allReduce(ctx, /*group=*/0, "all_reduce of /h/0/attn/MatMul_1",
//               ctx.at<float>(4096), ctx.at<float>(4096), 20480);
//
// group: an index into Program::groups. what: the operation and its ONNX node, for
// the sentence of a rank that lost another one. All members must make the same calls
// in the same order. Where the program runs as one rank, a group has one member and
// every function copies.
//
// Buffers are of the memory in which kernels run: lib/kernels/collectives.cpp and
// experts.cpp for the CPU, cuda/collectives.cu and experts.cu for a GPU, in whose stream
// they take their place.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_COLLECTIVES_H
#define MOIRE_RT_COLLECTIVES_H

#include "moire/rt/bf16.h"
#include "moire/rt/context.h"
#include "moire/rt/routing.h"

#include <functional>

namespace moire::rt {

enum class Reduction : uint8_t { sum, max };

/// Puts `job`, which calls collectives, at the end of the rank's queue and returns. Jobs
/// are done one after another beside the computation, behind what it was given before, and
/// before a collective outside of jobs; what one reads and writes must be left alone until
/// waitBeside. On the CPU a thread does them; on a GPU they are given at once to a stream of
/// their own. Of the target.
Ticket startBeside(Context &ctx, std::function<void()> job);
/// What the computation is given next finds the job done. Throws what a job threw.
void waitBeside(Context &ctx, const Ticket &ticket);

/// The same of a job by its number, which counts from 0 in a micro-step.
void startAsync(Context &ctx, int number, void (*job)(Context &));
void waitAsync(Context &ctx, int number);

/// In a step's last micro-batch: startAsync of the sum of Program::buckets[bucket], whose
/// gradients are complete. reduceStep() waits for it.
void startReduce(Context &ctx, int bucket);

/// This rank's coordinate on an axis of Program::axes.
int64_t axisIndex(const Context &ctx, int axis);

/// *index = this rank's number among the group's members; index points to an arena's place.
void memberIndex(Context &ctx, int group, int64_t *index);
/// from [outer, n · dim, inner] → to [outer, dim, inner], this member's part of a tensor
/// that all have. Moves nothing between ranks.
template <typename T>
void split(Context &ctx, int group, const T *from, T *to, int64_t outer, int64_t dim,
           int64_t inner);

/// to[i] = from[i] of all members, added in ascending order; to may be from. T: float,
/// bf16 (added in float, rounded once) or double.
template <typename T>
void allReduce(Context &ctx, int group, const char *what, const T *from, T *to, int64_t n,
               Reduction reduce = Reduction::sum);

/// Along any dimension of a row-major tensor, seen as [outer, dimension, inner]. `dim`
/// is a member's share of the dimension in both; n members. Not in place.
/// from [outer, n · dim, inner] → to [outer, dim, inner], this member's part of the sum.
template <typename T>
void reduceScatter(Context &ctx, int group, const char *what, const T *from, T *to, int64_t outer,
                   int64_t dim, int64_t inner, Reduction reduce = Reduction::sum);
/// from [outer, dim, inner] → to [outer, n · dim, inner], members ascending.
template <typename T>
void allGather(Context &ctx, int group, const char *what, const T *from, T *to, int64_t outer,
               int64_t dim, int64_t inner);
/// from [n, count] → to [n, count]: block i of member j becomes block j of member i. Not in
/// place.
template <typename T>
void allToAll(Context &ctx, int group, const char *what, const T *from, T *to, int64_t count);
/// data [count] of the member with index `root` to all.
template <typename T>
void broadcast(Context &ctx, int group, const char *what, T *data, int64_t count, int root = 0);

/// Experts over the n members of a group: E experts in all, L = E / n local ones,
/// expert e = m · L + l is local expert l of member m.
///
/// Length in elements of the int32 block that says how many rows go where. It holds L;
/// then sent [n, L], the rows that this rank sends to expert l of member m; then
/// received [n, L], those that it gets from member m for its own expert l.
constexpr int64_t exchangeLength(int64_t experts) { return 1 + 2 * experts; }

/// The rows that go to the experts of some member of a group find no room there. All
/// members throw it in the same place, before they have changed a gradient.
struct ExpertOverflow : RunError {
  using RunError::RunError;
};

/// Tells every member how many rows it gets. global: this rank's routing over all E
/// experts. local: of the rows that arrive, L experts; only its offsets [L + 1] are
/// written, and its rows() must be at least n · T · min(k, L), which is never exceeded.
void exchangeRouting(Context &ctx, int group, const char *what, const Routing &global,
                     const Routing &local, int32_t *exchange);
/// The same with a local.rows() that may be smaller. On the CPU all members learn all
/// counts, and where one of them gets more rows than it has room for, all throw
/// ExpertOverflow. On a GPU each member's rows have local.rows() / n slots of their own, so
/// that messages have one length and the host need not know the counts: what finds no room
/// is left out, and noted for checkSlots().
void exchangeRoutingInSlots(Context &ctx, int group, const char *what, const Routing &global,
                            const Routing &local, int32_t *exchange);
/// Of programs for GPUs, between the last of these in a micro-step and the first statement
/// that changes a gradient: waits for the stream, and throws ExpertOverflow where rows of
/// some member found no room since the last call. On the CPU they have thrown.
void checkSlots(Context &ctx);

/// Moves rows to the ranks of their experts. Forward: from [T · k, rowBytes] sorted by
/// global expert → to, grouped by (local expert, source member ascending), rows of one
/// source in their order there. back: the inverse, from grouped rows → to sorted ones.
/// Rows of `to` past the last one that arrives are not written. Not in place.
///
/// Part `part` of `parts`, which divides L: of every member only the rows of its local experts
/// [part * L / parts, (part + 1) * L / parts), from and to where the whole exchange has them;
/// other rows of `to` are not written. All parts, in any order that is the same on all members,
/// are the whole. On a GPU not after exchangeRoutingInSlots() with others: a RunError.
void allToAllRows(Context &ctx, int group, const char *what, const void *from, void *to,
                  int64_t rowBytes, const int32_t *exchange, bool back, int64_t part = 0,
                  int64_t parts = 1);

} // namespace moire::rt

#endif // MOIRE_RT_COLLECTIVES_H
