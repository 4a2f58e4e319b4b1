//===- CommBattery.h - Every collective once, against plain loops ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Runs on any transport. What it returns is every bit that came out, to compare
// transports.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RUNTIME_COMMBATTERY_H
#define MOIRE_RUNTIME_COMMBATTERY_H

#include "moire/rt/comm.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <stdexcept>

namespace moire::rt::test {

/// What rank `rank` gives for `n` elements: values whose float sum depends on the order.
template <typename T> std::vector<T> contribution(int64_t n, int rank, uint32_t seed) {
  std::mt19937 gen(seed * 131 + uint32_t(rank));
  std::vector<T> v(n);
  for (T &x : v)
    x = T(std::ldexp(float(gen() % 2001) - 1000.0f, int(gen() % 24) - 12));
  return v;
}

class Battery {
public:
  Battery(Comm &comm, const Group &group) : comm(comm), group(group), n(group.size()) {}

  std::string run() {
    for (int64_t count : {0, 1, 3, 31, 4097, 20001})
      sums(count);
    const int64_t shapes[][3] = {{1, 1, 1},   {1, 3, 5},    {4, 3, 5},
                                 {7, 2, 129}, {1, 45, 211}, {2, 0, 3}};
    for (auto [outer, dim, inner] : shapes)
      along(outer, dim, inner);
    moves();
    return bits;
  }

private:
  void need(bool ok, const std::string &what) {
    if (!ok)
      throw std::runtime_error("wrong: " + what);
  }
  template <typename T> void keep(const std::vector<T> &v) {
    bits.append(reinterpret_cast<const char *>(v.data()), v.size() * sizeof(T));
  }

  void sums(int64_t count) {
    sum<float, float>(count);
    sum<double, double>(count);
    sum<bf16, float>(count);
  }
  /// Exactly the sum in ascending order; A is what is added in.
  template <typename T, typename A> void sum(int64_t count) {
    ++seed;
    std::vector<std::vector<T>> all;
    for (int member : group.members)
      all.push_back(contribution<T>(count, member, seed));
    std::vector<T> want(count), largest(count);
    for (int64_t i = 0; i < count; ++i) {
      A s = A(all[0][i]), most = s;
      double exact = 0, size = 0;
      for (int m = 0; m < n; ++m) {
        exact += double(float(all[m][i]));
        size += std::fabs(double(float(all[m][i])));
        if (m > 0)
          s += A(all[m][i]);
        most = std::max(most, A(all[m][i]));
      }
      want[i] = T(s);
      largest[i] = T(most);
      need(std::fabs(double(float(want[i])) - exact) <= size / 100, "the test's own sum");
    }
    std::vector<T> to(count, T(7.0f)), inPlace = all[group.index];
    comm.allReduce(group, "sum", all[group.index].data(), to.data(), count);
    comm.allReduce(group, "sum in place", inPlace.data(), inPlace.data(), count);
    need(same(to, want), "all_reduce of " + std::to_string(count));
    need(same(inPlace, want), "all_reduce in place of " + std::to_string(count));
    keep(to);
    comm.allReduce(group, "max", all[group.index].data(), to.data(), count, Reduction::max);
    need(same(to, largest), "max");
  }

  void along(int64_t outer, int64_t dim, int64_t inner) {
    ++seed;
    const int64_t whole = outer * n * dim * inner, part = outer * dim * inner;
    std::vector<std::vector<float>> all, parts;
    for (int member : group.members) {
      all.push_back(contribution<float>(whole, member, seed));
      parts.push_back(contribution<float>(part, member, seed + 999));
    }
    std::vector<float> scattered(part), gathered(whole);
    comm.reduceScatter(group, "reduce_scatter", all[group.index].data(), scattered.data(), outer,
                       dim, inner);
    comm.allGather(group, "all_gather", parts[group.index].data(), gathered.data(), outer,
                   dim * inner * 4);
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t d = 0; d < n * dim; ++d)
        for (int64_t i = 0; i < inner; ++i) {
          const int64_t at = (o * n * dim + d) * inner + i, member = d / dim;
          const int64_t local = (o * dim + d % dim) * inner + i;
          need(gathered[at] == parts[member][local], "all_gather");
          if (member != group.index)
            continue;
          float s = all[0][at];
          for (int m = 1; m < n; ++m)
            s += all[m][at];
          need(scattered[local] == s, "reduce_scatter");
        }
    keep(scattered);
    keep(gathered);
  }

  void moves() {
    const int64_t count = 1001;
    std::vector<float> from = contribution<float>(n * count, group.members[group.index], 5);
    std::vector<float> to(n * count);
    comm.allToAll(group, "all_to_all", from.data(), to.data(), count * 4);
    for (int m = 0; m < n; ++m) {
      auto theirs = contribution<float>(n * count, group.members[m], 5);
      need(!std::memcmp(&to[m * count], &theirs[group.index * count], count * 4), "all_to_all");
    }
    keep(to);
    pieces();
    for (int root = 0; root < n; ++root) {
      auto data = contribution<float>(count, group.members[group.index], 6);
      comm.broadcast(group, "broadcast", data.data(), count * 4, root);
      need(data == contribution<float>(count, group.members[root], 6), "broadcast");
      std::vector<int64_t> sizes;
      std::vector<float> want, got(n * (n + 1) / 2);
      for (int m = 0; m < n; ++m) {
        sizes.push_back((n - m) * 4);
        auto theirs = contribution<float>(n - m, group.members[m], 8);
        want.insert(want.end(), theirs.begin(), theirs.end());
      }
      auto mine = contribution<float>(n - group.index, group.members[group.index], 8);
      comm.gather(group, "gather", mine.data(), got.data(), sizes, root);
      need(group.index != root || got == want, "gather");
    }
    comm.barrier(group, "barrier");
  }

  /// Messages in many pieces, of other sizes at the two ends, empty ones among them.
  void pieces() {
    auto length = [](int from, int to) { return int64_t((from * 7 + to * 3) % 5 * 1009); };
    auto cut = [](float *data, int64_t count, int64_t step) {
      std::vector<Piece> list = {{data, 0}};
      for (int64_t at = 0; at < count; at += step, step = step % 23 + 5)
        list.push_back({data + at, std::min(step, count - at) * 4});
      return list;
    };
    std::vector<std::vector<float>> from, to, want;
    Comm::Pieces sent, received;
    const int me = group.index;
    for (int m = 0; m < n; ++m) {
      from.push_back(contribution<float>(length(me, m), group.members[me], uint32_t(m)));
      want.push_back(contribution<float>(length(m, me), group.members[m], uint32_t(me)));
      to.emplace_back(length(m, me));
    }
    for (int m = 0; m < n; ++m) {
      sent.push_back(cut(from[m].data(), length(me, m), 11));
      received.push_back(cut(to[m].data(), length(m, me), 17));
    }
    comm.allToAllV(group, "all_to_all of pieces", sent, received);
    need(to == want, "all_to_all of pieces");
    for (const auto &part : to)
      keep(part);
  }

  template <typename T> static bool same(const std::vector<T> &a, const std::vector<T> &b) {
    return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
  }

  Comm &comm;
  const Group &group;
  const int n;
  uint32_t seed = 0;
  std::string bits;
};

} // namespace moire::rt::test

#endif
