//===- elementwise.h - The loop around generated scalar expressions -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A fused elementwise kernel is a functor, the scalar expression of one
// iteration space; launch() is the loop around it:
//
//     // silu(%gate) * %up, and silu's derivative for the backward
//     struct Kernel7 {
//       MOIRE_FUNCTOR run(float gate, float up, float &y, float &d) {
//         float s = math::sigmoid(gate);
//         y = gate * s * up;
//         d = s * (1.0f + gate * (1.0f - s));
//       }
//     };
//     launch<Kernel7>(ctx, {512, 1024},
//                     in<1>(ctx.at<float>(0), {2048}),     // rows of 2048
//                     in<1>(ctx.at<float>(4096), {2048}),
//                     out<1>(ctx.at<float>(65536), {1024}),
//                     out<1>(ctx.at<float>(131072), {1024}));
//
// {512, 1024} is the iteration space, at most 6 dimensions, the last one runs
// fastest. in<I>(pointer, {strides}): I is the stride of the last dimension, a
// compile-time 0 (the same value for the row) or 1, or kStrided with the last
// dimension's stride at the end of the list; the list holds the strides of the
// other dimensions in elements (it may be left out where there are none: a
// space of one dimension, or all zero). index(d) is an input whose value is the
// coordinate along dimension d (int64_t). run() takes inputs by value in the
// order of launch's arguments, then outputs by reference. Types: float, double,
// int64_t, int32_t, and bool for uint8_t memory.
//
// An output may lie in the memory of an input with the same strides. Each
// element is computed once, by the same instructions wherever it lies: results
// do not depend on the number of threads.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_ELEMENTWISE_H
#define MOIRE_RT_ELEMENTWISE_H

#include "moire/rt/context.h"
#include "moire/rt/parallel.h"

#include <algorithm>
#include <initializer_list>
#include <tuple>
#include <type_traits>
#include <utility>

#define MOIRE_FUNCTOR static inline __attribute__((always_inline)) void

namespace moire::rt {

inline constexpr int kMaxDims = 6;
/// Inner stride known only at run time.
inline constexpr int kStrided = -1;

/// The iteration space.
struct Space {
  int64_t dims[kMaxDims] = {1, 1, 1, 1, 1, 1};
  int rank = 0;
  Space(std::initializer_list<int64_t> list) {
    for (int64_t d : list)
      dims[rank++] = d;
  }
  int64_t inner() const { return rank ? dims[rank - 1] : 1; }
  int64_t outer() const {
    int64_t n = 1;
    for (int i = 0; i + 1 < rank; ++i)
      n *= dims[i];
    return n;
  }
};

template <typename T, int Inner, bool IsOutput> struct Operand {
  using Value = std::conditional_t<std::is_same_v<T, uint8_t>, bool, T>;
  using Pointer = std::conditional_t<IsOutput, T *, const T *>;
  Pointer base;
  int64_t strides[kMaxDims] = {0, 0, 0, 0, 0, 0};

  /// Where row number `outer coordinates` starts.
  Pointer row(const int64_t *coordinates, int outerRank) const {
    Pointer p = base;
    for (int i = 0; i < outerRank; ++i)
      p += coordinates[i] * strides[i];
    return p;
  }
  int64_t innerStride(int outerRank) const {
    return Inner == kStrided ? strides[outerRank] : Inner;
  }
};

/// The coordinate along one dimension as an input.
struct IndexOperand {
  using Value = int64_t;
  int dim;
};

template <int Inner, typename T>
Operand<T, Inner, false> in(const T *base,
                            std::initializer_list<int64_t> strides = {}) {
  Operand<T, Inner, false> op{base};
  int i = 0;
  for (int64_t s : strides)
    op.strides[i++] = s;
  return op;
}
template <int Inner, typename T>
Operand<T, Inner, true> out(T *base,
                            std::initializer_list<int64_t> strides = {}) {
  static_assert(Inner != 0, "an output has one place for each element");
  Operand<T, Inner, true> op{base};
  int i = 0;
  for (int64_t s : strides)
    op.strides[i++] = s;
  return op;
}
inline IndexOperand index(int dim) { return {dim}; }

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
void launch(Context &ctx, const Space &space, const Ops &...ops) {
  const int outerRank = space.rank ? space.rank - 1 : 0;
  const int64_t inner = space.inner(), total = space.outer() * inner;
  std::tuple<typename Ops::Value...> *types = nullptr;
  // Threads cut the flattened space; an operand costs about 4 bytes a element.
  parallelFor(ctx, total, kElementwiseGrain, [&](int64_t begin, int64_t end) {
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

#endif // MOIRE_RT_ELEMENTWISE_H
