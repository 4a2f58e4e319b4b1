//===- reduce.cpp - Sums and the like over dimensions ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "kernels/rows.h"
#include "kernels/simd.h"
#include "kernels/walk.h"
#include "moire/rt/parallel.h"

#include <cstring>
#include <limits>
#include <type_traits>

namespace moire::rt {

namespace {
struct Sum {
  template <typename T> static T identity() { return 0; }
  template <typename T> static T combine(T a, T b) { return a + b; }
};
struct Prod {
  template <typename T> static T identity() { return 1; }
  template <typename T> static T combine(T a, T b) { return a * b; }
};
struct Max {
  template <typename T> static T identity() {
    return std::is_floating_point_v<T> ? -std::numeric_limits<T>::infinity()
                                       : std::numeric_limits<T>::lowest();
  }
  // NaN wins, as in PyTorch and ONNX Runtime.
  template <typename T> static T combine(T a, T b) {
    return a > b || a != a ? a : b;
  }
};
struct Min {
  template <typename T> static T identity() {
    return std::is_floating_point_v<T> ? std::numeric_limits<T>::infinity()
                                       : std::numeric_limits<T>::max();
  }
  template <typename T> static T combine(T a, T b) {
    return a < b || a != a ? a : b;
  }
};

/// One output: the innermost group is reduced. Sums of float run in double over
/// the groups, each group by fixed lanes.
template <typename Op, typename T, typename X>
T reduceScalar(const Groups &g, const X *x) {
  constexpr bool floatSum = std::is_same_v<Op, Sum> && std::is_same_v<T, float>;
  std::conditional_t<floatSum, double, T> acc =
      Op::template identity<decltype(acc)>();
  Odometer o(g.reduced, g.reducedStride, g.reducedStride, 0);
  for (int64_t i = 0, n = product(g.reduced); i < n; ++i, o.next()) {
    const X *p = x + o.offsetA;
    if constexpr (floatSum) {
      // Pieces bound the rounding of a long row.
      for (int64_t j = 0; j < g.inner; j += 4096) {
        const int64_t n = std::min<int64_t>(4096, g.inner - j);
        if constexpr (std::is_same_v<X, bf16>) {
          float wide[4096];
          widen(p + j, n, wide);
          acc += simd::sum(wide, n);
        } else {
          acc += simd::sum(p + j, n);
        }
      }
    } else {
      for (int64_t j = 0; j < g.inner; ++j)
        acc = Op::combine(acc, static_cast<decltype(acc)>(p[j]));
    }
  }
  return static_cast<T>(acc);
}

/// Columns [begin, end) of a kept innermost group, rows ascending. Sums add
/// runs of 64 rows, then the runs: the rounding of n rows grows as n / 64 + 64.
template <typename Op, typename T, typename X>
void reduceColumns(const Groups &g, const X *x, int64_t begin, int64_t end,
                   float beta, T *y) {
  constexpr int64_t kRun = 64, kWidth = 256;
  const int64_t rows = product(g.reduced);
  for (int64_t c0 = begin; c0 < end; c0 += kWidth) {
    const int64_t n = std::min(kWidth, end - c0);
    T total[kWidth], run[kWidth];
    std::fill(total, total + n, Op::template identity<T>());
    Odometer o(g.reduced, g.reducedStride, g.reducedStride, 0);
    for (int64_t r0 = 0; r0 < rows; r0 += kRun) {
      std::fill(run, run + n, Op::template identity<T>());
      for (int64_t r = r0; r < std::min(rows, r0 + kRun); ++r, o.next()) {
        const X *p = x + o.offsetA + c0;
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i)
          run[i] = Op::combine(run[i], static_cast<T>(p[i]));
      }
      for (int64_t i = 0; i < n; ++i)
        total[i] = Op::combine(total[i], run[i]);
    }
    for (int64_t i = 0; i < n; ++i)
      y[c0 + i] = beta == 0 ? total[i]
                            : static_cast<T>(total[i] + static_cast<T>(beta) * y[c0 + i]);
  }
}

template <typename Op, typename T, typename X>
void run(Context &ctx, const Reduce &r, const X *x, T *y) {
  const Groups g = group(r);
  const int64_t outputs = product(g.kept);
  const int64_t depth = std::max<int64_t>(1, product(g.reduced));
  if (g.innerReduced) {
    const int64_t work = depth * g.inner;
    parallelFor(ctx, outputs, std::max<int64_t>(1, kElementwiseGrain / work),
                [&](int64_t begin, int64_t end) {
      Odometer o(g.kept, g.keptStride, g.keptStride, begin);
      for (int64_t i = begin; i < end; ++i, o.next()) {
        T value = reduceScalar<Op, T>(g, x + o.offsetA);
        y[i] = r.beta == 0 ? value
                           : static_cast<T>(value + static_cast<T>(r.beta) * y[i]);
      }
    });
    return;
  }
  // The flattened outputs are cut: few long rows as well as many short ones.
  parallelFor(ctx, outputs * g.inner,
              std::max<int64_t>(16, kElementwiseGrain / depth),
              [&](int64_t begin, int64_t end) {
    Odometer o(g.kept, g.keptStride, g.keptStride, begin / g.inner);
    for (int64_t at = begin, column = begin % g.inner; at < end; column = 0) {
      const int64_t m = std::min(g.inner - column, end - at);
      reduceColumns<Op, T>(g, x + o.offsetA, column, column + m, r.beta,
                        y + at - column);
      at += m;
      o.next();
    }
  });
}
} // namespace

template <typename T>
void reduce(Context &ctx, ReduceKind kind, const Reduce &r, const T *x, T *y) {
  switch (kind) {
  case ReduceKind::sum:
    return run<Sum>(ctx, r, x, y);
  case ReduceKind::max:
    return run<Max>(ctx, r, x, y);
  case ReduceKind::min:
    return run<Min>(ctx, r, x, y);
  case ReduceKind::prod:
    return run<Prod>(ctx, r, x, y);
  }
}

void reduce(Context &ctx, ReduceKind kind, const Reduce &r, const bf16 *x, float *y) {
  if (kind != ReduceKind::sum)
    throw RunError("a reduction from bf16 to float can only be a sum");
  run<Sum>(ctx, r, x, y);
}

template <typename T>
void argReduce(Context &ctx, int64_t outer, int64_t axis, int64_t inner,
               bool max, bool lastOfEqual, const T *x, int64_t *y) {
  parallelFor(ctx, outer * inner,
              std::max<int64_t>(1, kElementwiseGrain / std::max<int64_t>(axis, 1)),
              [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T *p = x + i / inner * axis * inner + i % inner;
      int64_t best = 0;
      for (int64_t a = 1; a < axis; ++a) {
        const T value = p[a * inner], now = p[best * inner];
        bool better = max ? value > now : value < now;
        if (better || (lastOfEqual && value == now))
          best = a;
      }
      y[i] = best;
    }
  });
}

#define INSTANTIATE(T)                                                         \
  template void reduce(Context &, ReduceKind, const Reduce &, const T *, T *); \
  template void argReduce(Context &, int64_t, int64_t, int64_t, bool, bool,    \
                          const T *, int64_t *);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(int64_t)
INSTANTIATE(int32_t)
INSTANTIATE(uint8_t)

} // namespace moire::rt
