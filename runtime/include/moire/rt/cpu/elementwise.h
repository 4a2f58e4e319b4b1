//===- elementwise.h - launch() over the threads of the CPU ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The CPU side of moire/rt/elementwise.h, which includes it.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CPU_ELEMENTWISE_H
#define MOIRE_RT_CPU_ELEMENTWISE_H

#include "moire/rt/parallel.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace moire::rt {

namespace detail {

/// One operand at one row: element i is load(i) or a reference.
template <typename T, int Inner> struct RowIn {
  const T *p;
  int64_t stride;
  T splat;
  template <typename V> V get(int64_t i) const {
    if constexpr (Inner == 0)
      return static_cast<V>(splat);
    else if constexpr (Inner == 1)
      return static_cast<V>(p[i]);
    else
      return static_cast<V>(p[i * stride]);
  }
};
template <typename T, int Inner> struct RowOut {
  T *p;
  int64_t stride;
  template <typename V> void set(int64_t i, V v) const {
    if constexpr (Inner == 1)
      p[i] = static_cast<T>(v);
    else
      p[i * stride] = static_cast<T>(v);
  }
};
struct RowIndex {
  int64_t base, step;
  template <typename V> V get(int64_t i) const { return base + i * step; }
};

template <typename T, int Inner>
RowIn<T, Inner> rowOf(const Operand<T, Inner, false> &op, const int64_t *c,
                      int outerRank, int64_t first) {
  const T *p = op.row(c, outerRank) + first * op.innerStride(outerRank);
  return {p, op.innerStride(outerRank), Inner == 0 ? *p : T()};
}
template <typename T, int Inner>
RowOut<T, Inner> rowOf(const Operand<T, Inner, true> &op, const int64_t *c,
                       int outerRank, int64_t first) {
  return {op.row(c, outerRank) + first * op.innerStride(outerRank),
          op.innerStride(outerRank)};
}
inline RowIndex rowOf(const IndexOperand &op, const int64_t *c, int outerRank,
                      int64_t first) {
  return op.dim == outerRank ? RowIndex{first, 1} : RowIndex{c[op.dim], 0};
}

template <typename T, int I> constexpr bool isRowOut(const RowOut<T, I> *) {
  return true;
}
constexpr bool isRowOut(const void *) { return false; }

/// Calls F::run with inputs by value, results in locals, then stores: so the
/// compiler sees neither aliasing nor a read of an output.
template <typename F, typename... Values, typename... Rows, size_t... I>
inline __attribute__((always_inline)) void
element(std::index_sequence<I...>, int64_t i, std::tuple<Values...> *,
        const Rows &...rows) {
  std::tuple<Values...> v;
  auto load = [&](auto &slot, const auto &row) __attribute__((always_inline)) {
    if constexpr (!isRowOut(static_cast<std::decay_t<decltype(row)> *>(nullptr)))
      slot = row.template get<std::decay_t<decltype(slot)>>(i);
  };
  auto store = [&](auto &slot, const auto &row) __attribute__((always_inline)) {
    if constexpr (isRowOut(static_cast<std::decay_t<decltype(row)> *>(nullptr)))
      row.set(i, slot);
  };
  (load(std::get<I>(v), rows), ...);
  F::run(std::get<I>(v)...);
  (store(std::get<I>(v), rows), ...);
}

template <typename F, typename... Values, typename... Rows>
inline void rowLoop(int64_t n, std::tuple<Values...> *types,
                    const Rows &...rows) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i)
    element<F>(std::index_sequence_for<Rows...>(), i, types, rows...);
}

} // namespace detail

/// Runs F over the space. See the top of this file.
template <typename F, typename... Ops>
void launch(Context &ctx, const Space &whole, const Ops &...ops) {
  Space space = whole;
  int64_t skipped = 0; // indices of the first dimension
  if (space.count) {
    const int64_t perRow = space.dims[0] / space.rows;
    const int64_t rows = std::min<int64_t>(*space.count, space.rows);
    skipped = space.first ? perRow * std::min<int64_t>(*space.first, rows) : 0;
    space.dims[0] = perRow * rows;
  }
  const int outerRank = space.rank ? space.rank - 1 : 0;
  const int64_t inner = space.inner(), total = space.outer() * inner;
  const int64_t from = skipped ? total / space.dims[0] * skipped : 0;
  std::tuple<typename Ops::Value...> *types = nullptr;
  // Threads cut the flattened space; an operand costs about 4 bytes a element.
  parallelFor(ctx, total - from, kElementwiseGrain, [&](int64_t begin, int64_t end) {
    begin += from;
    end += from;
    int64_t c[kMaxDims] = {0};
    int64_t column = begin % inner, rest = begin / inner;
    for (int d = outerRank - 1; d >= 0; --d) {
      c[d] = rest % space.dims[d];
      rest /= space.dims[d];
    }
    for (int64_t at = begin; at < end;) {
      int64_t n = std::min(inner - column, end - at);
      detail::rowLoop<F>(n, types,
                         detail::rowOf(ops, c, outerRank, column)...);
      at += n;
      column = 0;
      for (int d = outerRank - 1; d >= 0; --d) {
        if (++c[d] < space.dims[d])
          break;
        c[d] = 0;
      }
    }
  });
}

} // namespace moire::rt

#endif // MOIRE_RT_CPU_ELEMENTWISE_H
