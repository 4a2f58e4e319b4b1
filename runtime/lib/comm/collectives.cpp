//===- collectives.cpp - Sums and moves over a group ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A large sum: every member adds one part of the buffer, to which all others send
// theirs directly, and sends the result to all. A ring would move as many bytes but
// add in an order that depends on the part.
//
//===----------------------------------------------------------------------===//

#include "comm/turns.h"

#include <algorithm>
#include <cstring>

namespace moire::rt {

namespace {
/// Up to here everybody sends everything to everybody: one message instead of two.
constexpr int64_t kSmallBytes = 32 << 10;
/// Room for the messages of a large sum that are added at a time, n - 1 of them.
constexpr int64_t kRoomBytes = 8 << 20;

template <typename T> struct Sum { using Type = T; };
template <> struct Sum<bf16> { using Type = float; };

/// to[i] = sources[0][i] + sources[1][i] + …, in this order. to may be any of them.
template <typename T, typename Add>
void combine(const std::vector<const T *> &sources, T *to, int64_t n, Add add) {
  using A = typename Sum<T>::Type;
  constexpr int64_t kTile = 512;
  A sum[kTile];
  for (int64_t begin = 0; begin < n; begin += kTile) {
    const int64_t count = std::min(kTile, n - begin);
    for (int64_t i = 0; i < count; ++i)
      sum[i] = A(sources[0][begin + i]);
    for (size_t s = 1; s < sources.size(); ++s) {
      const T *x = sources[s] + begin;
      for (int64_t i = 0; i < count; ++i)
        sum[i] = add(sum[i], A(x[i]));
    }
    for (int64_t i = 0; i < count; ++i)
      to[begin + i] = T(sum[i]);
  }
}
template <typename T>
void combine(const std::vector<const T *> &sources, T *to, int64_t n, Reduction reduce) {
  using A = typename Sum<T>::Type;
  if (reduce == Reduction::sum)
    combine(sources, to, n, [](A a, A b) { return a + b; });
  else // a NaN stays, on whichever side it is
    combine(sources, to, n, [](A a, A b) { return a > b || a != a ? a : b; });
}

template <typename T> Message one(int peer, const T *data, int64_t n) {
  return {peer, {{const_cast<T *>(data), n * int64_t(sizeof(T))}}};
}
void copy(void *to, const void *from, int64_t bytes) {
  if (to != from && bytes > 0)
    std::memmove(to, from, bytes);
}
} // namespace

/// Of member m's part, from[m · stride, + n], every member sends its values to m, which
/// writes their sum to `to`, [n]; the last parts may be shorter or empty, cut at `total`.
template <typename T>
void Comm::reducePieces(const Group &group, const char *what, const T *from, T *to, int64_t stride,
                        int64_t total, Reduction reduce) {
  const int n = group.size(), me = group.index;
  auto part = [&](int member) { return std::clamp<int64_t>(total - member * stride, 0, stride); };
  const bool borrows = transport->borrows();
  const int64_t step =
      borrows ? stride : std::max<int64_t>(1024, kRoomBytes / int64_t(sizeof(T)) / n);
  T *incoming = nullptr;
  if (!borrows)
    incoming = reinterpret_cast<T *>(
        grow(incomingRoom, std::min(step, stride) * (n - 1) * int64_t(sizeof(T))));
  for (int64_t at = 0; at < stride; at += step) {
    auto piece = [&](int member) { return std::clamp<int64_t>(part(member) - at, 0, step); };
    const int64_t mine = piece(me);
    std::vector<Message> sends, receives;
    for (int m = 0; m < n; ++m) {
      if (m == me)
        continue;
      if (piece(m) > 0)
        sends.push_back(one(group.members[m], from + m * stride + at, piece(m)));
      if (mine > 0) {
        receives.push_back(one(group.members[m], incoming, mine));
        incoming += borrows ? 0 : mine;
      }
    }
    const Transport::Use add = [&](const void *const *received) {
      std::vector<const T *> sources;
      for (int m = 0, r = 0; m < n; ++m)
        sources.push_back(m == me ? from + me * stride + at
                                  : static_cast<const T *>(received[r++]));
      combine(sources, to + at, mine, reduce);
    };
    exchange(what, sends, receives, mine > 0 ? &add : nullptr);
    if (!borrows)
      incoming = reinterpret_cast<T *>(incomingRoom.data());
  }
}

template <typename T>
void Comm::allReduce(const Group &group, const char *what, const T *from, T *to, int64_t n,
                     Reduction reduce) {
  const Turn turn(*this);
  const int members = group.size(), me = group.index;
  if (n <= 0 || members == 1)
    return copy(to, from, n * int64_t(sizeof(T)));
  if (n * int64_t(sizeof(T)) <= kSmallBytes) {
    std::vector<Message> sends, receives;
    T *incoming = reinterpret_cast<T *>(grow(incomingRoom, n * members * int64_t(sizeof(T))));
    // The own values go first to the room: others read them while `to` is written.
    T *own = incoming + (members - 1) * n;
    copy(own, from, n * int64_t(sizeof(T)));
    for (int m = 0; m < members; ++m) {
      if (m == me)
        continue;
      sends.push_back(one(group.members[m], own, n));
      receives.push_back(one(group.members[m], incoming, n));
      incoming += n;
    }
    const Transport::Use add = [&](const void *const *received) {
      std::vector<const T *> sources;
      for (int m = 0, r = 0; m < members; ++m)
        sources.push_back(m == me ? own : static_cast<const T *>(received[r++]));
      combine(sources, to, n, reduce);
    };
    return exchange(what, sends, receives, &add);
  }
  // Parts of whole cache lines.
  const int64_t stride = ((n + members - 1) / members + 31) / 32 * 32;
  auto part = [&](int member) { return std::clamp<int64_t>(n - member * stride, 0, stride); };
  reducePieces(group, what, from, to + std::min(n, me * stride), stride, n, reduce);
  std::vector<Message> sends, receives;
  for (int m = 0; m < members; ++m) {
    if (m == me)
      continue;
    if (part(me) > 0)
      sends.push_back(one(group.members[m], to + me * stride, part(me)));
    if (part(m) > 0)
      receives.push_back(one(group.members[m], to + m * stride, part(m)));
  }
  exchange(what, sends, receives);
}

template <typename T>
void Comm::reduceScatter(const Group &group, const char *what, const T *from, T *to, int64_t outer,
                         int64_t dim, int64_t inner, Reduction reduce) {
  const Turn turn(*this);
  const int64_t n = group.size(), run = dim * inner, part = outer * run;
  if (n == 1)
    return copy(to, from, part * int64_t(sizeof(T)));
  if (outer == 1)
    return reducePieces(group, what, from, to, part, n * part, reduce);
  // [outer, n, run] → [n, outer, run]
  auto *packed = reinterpret_cast<T *>(grow(packedRoom, n * part * int64_t(sizeof(T))));
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t m = 0; m < n; ++m)
      copy(packed + (m * outer + o) * run, from + (o * n + m) * run, run * int64_t(sizeof(T)));
  reducePieces(group, what, packed, to, part, n * part, reduce);
}

template <typename T>
void Comm::reducePieces(const Group &group, const char *what, T *data, int64_t piece, int64_t n) {
  const Turn turn(*this);
  if (group.size() > 1)
    reducePieces(group, what, data, data + std::min(n, group.index * piece), piece, n,
                 Reduction::sum);
}

void Comm::allGather(const Group &group, const char *what, const void *from, void *to,
                     int64_t outer, int64_t rowBytes) {
  const Turn turn(*this);
  const int64_t n = group.size(), part = outer * rowBytes;
  auto *result = static_cast<char *>(to);
  auto place = [&](int member, const void *data) { // [outer, row] → column `member`
    for (int64_t o = 0; o < outer; ++o)
      copy(result + (o * n + member) * rowBytes, static_cast<const char *>(data) + o * rowBytes,
           rowBytes);
  };
  std::vector<Message> sends, receives;
  const bool room = outer > 1 && !transport->borrows();
  char *incoming = room ? grow(incomingRoom, (n - 1) * part) : nullptr;
  for (int m = 0; m < n; ++m) {
    if (m == group.index)
      continue;
    sends.push_back(one(group.members[m], static_cast<const char *>(from), part));
    receives.push_back(one(group.members[m], outer == 1 ? result + m * part : incoming, part));
    incoming += room ? part : 0;
  }
  place(group.index, from);
  if (part == 0)
    return;
  const Transport::Use use = [&](const void *const *received) {
    for (int m = 0, r = 0; m < n; ++m)
      if (m != group.index)
        place(m, received[r++]);
  };
  exchange(what, sends, receives, outer > 1 ? &use : nullptr);
}

void Comm::broadcast(const Group &group, const char *what, void *data, int64_t bytes, int root) {
  const Turn turn(*this);
  std::vector<Message> sends, receives;
  if (group.index != root)
    receives.push_back({group.members[root], {{data, bytes}}});
  else
    for (int m = 0; m < group.size(); ++m)
      if (m != root)
        sends.push_back({group.members[m], {{data, bytes}}});
  exchange(what, sends, receives);
}

void Comm::gather(const Group &group, const char *what, const void *from, void *to,
                  const std::vector<int64_t> &sizes, int root) {
  const Turn turn(*this);
  std::vector<Message> sends, receives;
  if (group.index != root) {
    sends.push_back(one(group.members[root], static_cast<const char *>(from), sizes[group.index]));
  } else {
    auto *at = static_cast<char *>(to);
    for (int m = 0; m < group.size(); at += sizes[m++])
      if (m == root)
        copy(at, from, sizes[m]);
      else
        receives.push_back(one(group.members[m], at, sizes[m]));
  }
  exchange(what, sends, receives);
}

void Comm::allToAll(const Group &group, const char *what, const void *from, void *to,
                    int64_t bytes) {
  const Turn turn(*this);
  Pieces sent, received;
  for (int m = 0; m < group.size(); ++m) {
    sent.push_back({{const_cast<char *>(static_cast<const char *>(from)) + m * bytes, bytes}});
    received.push_back({{static_cast<char *>(to) + m * bytes, bytes}});
  }
  allToAllV(group, what, sent, received);
}

void Comm::allToAllV(const Group &group, const char *what, const Pieces &from, const Pieces &to) {
  const Turn turn(*this);
  std::vector<Message> sends, receives;
  copyPieces(from[group.index], to[group.index]);
  // Every member starts with the one after it, so that not all knock at one door.
  for (int i = 1; i < group.size(); ++i) {
    const int next = (group.index + i) % group.size();
    const int previous = (group.index + group.size() - i) % group.size();
    sends.push_back({group.members[next], from[next]});
    receives.push_back({group.members[previous], to[previous]});
  }
  exchange(what, sends, receives);
}

void Comm::barrier(const Group &group, const char *what) {
  const Turn turn(*this);
  char mine = 0;
  std::vector<char> theirs(group.size());
  std::vector<Message> sends, receives;
  for (int m = 0; m < group.size(); ++m)
    if (m != group.index) {
      sends.push_back(one(group.members[m], &mine, 1));
      receives.push_back(one(group.members[m], &theirs[m], 1));
    }
  exchange(what, sends, receives);
}

template void Comm::reducePieces(const Group &, const char *, float *, int64_t, int64_t);
#define INSTANTIATE(T)                                                                             \
  template void Comm::allReduce(const Group &, const char *, const T *, T *, int64_t, Reduction);  \
  template void Comm::reduceScatter(const Group &, const char *, const T *, T *, int64_t, int64_t, \
                                    int64_t, Reduction);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bf16)

} // namespace moire::rt
