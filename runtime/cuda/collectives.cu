//===- collectives.cu - What generated code calls between ranks -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Of device memory. The algorithms are those of lib/comm/collectives.cpp: a large sum
// is cut in as many parts as there are members, each adds one and sends it to all.
//
//===----------------------------------------------------------------------===//

#include "cuda/link.h"
#include "moire/rt/collectives.h"
#include "moire/rt/comm.h"
#include "moire/rt/cuda/launch.h"
#include "moire/rt/tensor.h"

#include <algorithm>
#include <type_traits>

namespace moire::rt {

namespace {
/// Up to here everybody sends everything to everybody: one message instead of two.
constexpr int64_t kSmallBytes = 32 << 10;
/// Room for the messages of a large sum that are added at a time.
constexpr int64_t kRoomBytes = int64_t(64) << 20;
constexpr int kThreads = 256;

template <typename T> struct Sum { using Type = T; };
template <> struct Sum<bf16> { using Type = float; };

/// to[i] = Σ over members, ascending, of their value i: `own` is member me's, the others'
/// lie one after another in `incoming`, n values each. to may be own. Bound by memory.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    sumKernel(int64_t n, int members, int me, Reduction reduce, const T *own, const T *incoming,
              T *to) {
  using A = typename Sum<T>::Type;
  const int64_t step = int64_t(gridDim.x) * kThreads;
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step) {
    A sum = A(me == 0 ? own[i] : incoming[i]);
    for (int m = 1; m < members; ++m) {
      const A x = A(m == me ? own[i] : incoming[(m < me ? m : m - 1) * n + i]);
      if (reduce == Reduction::sum)
        sum += x;
      else // a NaN stays, on whichever side it is
        sum = sum > x || sum != sum ? sum : x;
    }
    to[i] = T(sum);
  }
}

/// What copies move: bool has no kernels of its own.
template <typename T> using Bits = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;
template <typename T> const Bits<T> *bits(const T *p) {
  return reinterpret_cast<const Bits<T> *>(p);
}
template <typename T> Bits<T> *bits(T *p) { return reinterpret_cast<Bits<T> *>(p); }

template <typename T> void copyTo(Context &ctx, const T *from, T *to, int64_t n) {
  if (from != to && n > 0)
    copy(ctx, n, bits(from), bits(to));
}
/// `rows` runs of `run` elements, their starts fromStep and toStep apart.
template <typename T>
void copyRuns(Context &ctx, int64_t rows, int64_t run, const T *from, int64_t fromStep, T *to,
              int64_t toStep) {
  copyStrided(ctx, {rows, run}, bits(from), {fromStep, 1}, bits(to), {toStep, 1});
}

/// A group's collectives over the context's link.
class Members {
public:
  Members(Context &ctx, int group, const char *what)
      : ctx(ctx), group(ctx.comm->group(group)), what(what) {}

  int size() const { return group.size(); }
  int me() const { return group.index; }

  /// send(m), receive(m): {data, bytes} to and from member m. Every member starts with the
  /// one after it, so that not all knock at one door.
  template <typename Send, typename Receive> void exchange(Send &&send, Receive &&receive) {
    std::vector<DeviceMessage> sends, receives;
    for (int i = 1; i < size(); ++i) {
      const int next = (me() + i) % size(), previous = (me() + size() - i) % size();
      add(sends, next, send(next));
      add(receives, previous, receive(previous));
    }
    ctx.link->exchange(ctx, what, sends, receives);
  }

  /// Of member m's part, from[m · stride, + n], every member sends its values to m, which
  /// writes their sum to `to`; the last parts may be shorter or empty, cut at `total`.
  /// incoming: room of roomFor() elements.
  template <typename T>
  void reduceParts(const T *from, T *to, int64_t stride, int64_t total, T *incoming,
                   Reduction reduce) {
    const int64_t step = stepOf<T>(stride);
    for (int64_t at = 0; at < stride; at += step) {
      auto piece = [&](int m) {
        return std::clamp<int64_t>(std::clamp<int64_t>(total - m * stride, 0, stride) - at, 0,
                                   step);
      };
      const int64_t mine = piece(me());
      exchange(
          [&](int m) {
            return Run{from + m * stride + at, piece(m) * int64_t(sizeof(T))};
          },
          [&](int m) {
            return Run{incoming + slot(m) * mine, mine * int64_t(sizeof(T))};
          });
      sum(mine, from + me() * stride + at, incoming, to + at, reduce);
    }
  }
  template <typename T> int64_t roomFor(int64_t stride) const {
    return stepOf<T>(stride) * (size() - 1);
  }

  template <typename T>
  void sum(int64_t n, const T *own, const T *incoming, T *to, Reduction reduce) {
    const int64_t blocks = std::min<int64_t>((n + kThreads - 1) / kThreads, 2048);
    MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned(blocks)), kThreads, 0, sumKernel<T>, n, size(), me(),
                 reduce, own, incoming, to);
  }
  /// A member's place among the others.
  int slot(int m) const { return m < me() ? m : m - 1; }

  struct Run {
    const void *data;
    int64_t bytes;
  };

private:
  template <typename T> int64_t stepOf(int64_t stride) const {
    return std::min(stride, std::max<int64_t>(1024, kRoomBytes / int64_t(sizeof(T)) / size()));
  }
  void add(std::vector<DeviceMessage> &list, int m, Run run) {
    list.push_back({group.members[m], const_cast<void *>(run.data), run.bytes});
  }

  Context &ctx;
  const Group &group;
  const char *what;
};

template <typename T> T *roomOf(Context &ctx, int64_t elements) {
  return static_cast<T *>(ctx.scratch(elements * int64_t(sizeof(T))));
}
} // namespace

int64_t axisIndex(const Context &ctx, int axis) { return ctx.comm ? ctx.comm->axisIndex(axis) : 0; }

void memberIndex(Context &ctx, int group, int64_t *index) {
  fill(ctx, 1, int64_t(ctx.comm ? ctx.comm->group(group).index : 0), index);
}

template <typename T>
void split(Context &ctx, int group, const T *from, T *to, int64_t outer, int64_t dim,
           int64_t inner) {
  const int64_t run = dim * inner;
  if (!ctx.comm)
    return copyTo(ctx, from, to, outer * run);
  const Group &g = ctx.comm->group(group);
  copyRuns(ctx, outer, run, from + g.index * run, g.size() * run, to, run);
}

template <typename T>
void allReduce(Context &ctx, int group, const char *what, const T *from, T *to, int64_t n,
               Reduction reduce) {
  if (!ctx.comm || ctx.comm->group(group).size() == 1)
    return copyTo(ctx, from, to, n);
  if (n <= 0)
    return;
  Members g(ctx, group, what);
  using Run = Members::Run;
  const int64_t bytes = n * int64_t(sizeof(T));
  if (bytes <= kSmallBytes) {
    T *incoming = roomOf<T>(ctx, n * (g.size() - 1));
    g.exchange(
        [&](int) {
          return Run{from, bytes};
        },
        [&](int m) {
          return Run{incoming + g.slot(m) * n, bytes};
        });
    return g.sum(n, from, incoming, to, reduce);
  }
  // Parts of whole cache lines.
  const int64_t stride = ((n + g.size() - 1) / g.size() + 31) / 32 * 32;
  g.reduceParts(from, to + std::min(n, g.me() * stride), stride, n,
                roomOf<T>(ctx, g.roomFor<T>(stride)), reduce);
  auto part = [&](int m) {
    const int64_t size = std::clamp<int64_t>(n - m * stride, 0, stride);
    return Run{to + m * stride, size * int64_t(sizeof(T))};
  };
  g.exchange([&](int) { return part(g.me()); }, part);
}

template <typename T>
void reduceScatter(Context &ctx, int group, const char *what, const T *from, T *to, int64_t outer,
                   int64_t dim, int64_t inner, Reduction reduce) {
  const int64_t run = dim * inner, part = outer * run;
  if (!ctx.comm || ctx.comm->group(group).size() == 1)
    return copyTo(ctx, from, to, part);
  if (part == 0)
    return;
  Members g(ctx, group, what);
  const int64_t n = g.size(), room = g.roomFor<T>(part);
  T *incoming = roomOf<T>(ctx, room + (outer == 1 ? 0 : n * part));
  if (outer > 1) { // [outer, n, run] → [n, outer, run]
    T *packed = incoming + room;
    copyStrided(ctx, {n, outer, run}, from, {run, n * run, 1}, packed, {part, run, 1});
    from = packed;
  }
  g.reduceParts(from, to, part, n * part, incoming, reduce);
}

template <typename T>
void allGather(Context &ctx, int group, const char *what, const T *from, T *to, int64_t outer,
               int64_t dim, int64_t inner) {
  const int64_t run = dim * inner, part = outer * run;
  if (!ctx.comm || ctx.comm->group(group).size() == 1)
    return copyTo(ctx, from, to, part);
  Members g(ctx, group, what);
  using Run = Members::Run;
  const int64_t n = g.size(), bytes = part * int64_t(sizeof(T));
  T *incoming = outer == 1 ? nullptr : roomOf<T>(ctx, part * (n - 1));
  auto place = [&](int m) { return outer == 1 ? to + m * part : incoming + g.slot(m) * part; };
  g.exchange([&](int) { return Run{from, bytes}; }, [&](int m) { return Run{place(m), bytes}; });
  for (int m = 0; m < n; ++m) // [outer, run] → column m
    if (m == g.me() || outer > 1)
      copyRuns(ctx, outer, run, m == g.me() ? from : place(m), run, to + m * run, n * run);
}

template <typename T>
void allToAll(Context &ctx, int group, const char *what, const T *from, T *to, int64_t count) {
  if (!ctx.comm)
    return copyTo(ctx, from, to, count);
  Members g(ctx, group, what);
  using Run = Members::Run;
  const int64_t bytes = count * int64_t(sizeof(T));
  copyTo(ctx, from + g.me() * count, to + g.me() * count, count);
  g.exchange(
      [&](int m) {
        return Run{from + m * count, bytes};
      },
      [&](int m) {
        return Run{to + m * count, bytes};
      });
}

template <typename T>
void broadcast(Context &ctx, int group, const char *what, T *data, int64_t count, int root) {
  if (!ctx.comm)
    return;
  Members g(ctx, group, what);
  using Run = Members::Run;
  const int64_t bytes = count * int64_t(sizeof(T));
  g.exchange(
      [&](int) {
        return Run{data, g.me() == root ? bytes : 0};
      },
      [&](int m) {
        return Run{data, m == root ? bytes : 0};
      });
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
