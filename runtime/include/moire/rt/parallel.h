//===- parallel.h - Cutting work over threads -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// OpenMP with the number of threads of the rank. Pieces never change what is
// added to what: reductions cut their data into a number of pieces that does
// not depend on the threads, and add the pieces' results in order.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_PARALLEL_H
#define MOIRE_RT_PARALLEL_H

#include "moire/rt/context.h"

#include <algorithm>

namespace moire::rt {

/// Elements below which an elementwise kernel is not worth a second thread
/// (waking one costs about 2 to 5 us).
inline constexpr int64_t kElementwiseGrain = 16384;

/// Calls body(begin, end) on contiguous ranges that cover [0, n), one per
/// thread, each at least `grain` long; serially where n < 2 · grain. Ranges are
/// cut at multiples of 16 elements, so that threads share no cache line.
template <typename Body>
void parallelFor(Context &ctx, int64_t n, int64_t grain, Body &&body) {
  int64_t parts = std::min<int64_t>(ctx.threads, n / std::max<int64_t>(grain, 1));
  if (parts <= 1) {
    if (n > 0)
      body(int64_t(0), n);
    return;
  }
  int64_t unit = grain >= 16 ? 16 : 1;
  int64_t step = (n / unit + parts - 1) / parts * unit;
  step = std::max(step, unit);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
  for (int64_t i = 0; i < parts; ++i) {
    int64_t begin = i * step, end = i + 1 == parts ? n : std::min(n, begin + step);
    if (begin < end)
      body(begin, end);
  }
}

/// Calls body(i) for i in [0, n), tasks of unequal length handed out as threads
/// become free. Which thread runs a task must not matter to the result.
template <typename Body>
void parallelTasks(Context &ctx, int64_t n, Body &&body) {
  if (ctx.threads <= 1 || n <= 1) {
    for (int64_t i = 0; i < n; ++i)
      body(i);
    return;
  }
#pragma omp parallel for num_threads(ctx.threads) schedule(dynamic, 1)
  for (int64_t i = 0; i < n; ++i)
    body(i);
}

} // namespace moire::rt

#endif // MOIRE_RT_PARALLEL_H
