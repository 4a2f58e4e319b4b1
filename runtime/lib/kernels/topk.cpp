//===- topk.cpp - The largest elements along an axis ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/parallel.h"
#include "moire/rt/tensor.h"

#include <numeric>
#include <vector>

namespace moire::rt {

namespace {
/// Whether a comes before b where their indices do not decide. NaN is largest.
template <typename T> bool before(T a, T b, bool largest) {
  if (a != a || b != b)
    return largest ? (a != a && b == b) : (a == a && b != b);
  return largest ? a > b : a < b;
}
} // namespace

template <typename T>
void topK(Context &ctx, const TopK &t, const T *x, T *values, int64_t *ids) {
  const int64_t grain = std::max<int64_t>(
      1, kElementwiseGrain / 4 / std::max<int64_t>(t.axis, 1));
  parallelFor(ctx, t.outer * t.inner, grain, [&](int64_t begin, int64_t end) {
    std::vector<int64_t> best(t.axis);
    for (int64_t i = begin; i < end; ++i) {
      const T *p = x + i / t.inner * t.axis * t.inner + i % t.inner;
      auto less = [&](int64_t a, int64_t b) {
        return before(p[a * t.inner], p[b * t.inner], t.largest);
      };
      if (t.k <= 16) {
        // Insertion into the k best so far; a later equal stays behind.
        int64_t n = 0;
        for (int64_t a = 0; a < t.axis; ++a) {
          if (n == t.k && !less(a, best[n - 1]))
            continue;
          int64_t at = n < t.k ? n++ : n - 1;
          for (; at > 0 && less(a, best[at - 1]); --at)
            best[at] = best[at - 1];
          best[at] = a;
        }
      } else {
        std::iota(best.begin(), best.end(), int64_t(0));
        std::stable_sort(best.begin(), best.end(), less);
      }
      for (int64_t k = 0; k < t.k; ++k) {
        const int64_t at = (i / t.inner * t.k + k) * t.inner + i % t.inner;
        if (values)
          values[at] = p[best[k] * t.inner];
        if (ids)
          ids[at] = best[k];
      }
    }
  });
}

template void topK(Context &, const TopK &, const float *, float *, int64_t *);
template void topK(Context &, const TopK &, const double *, double *, int64_t *);
template void topK(Context &, const TopK &, const int64_t *, int64_t *, int64_t *);
template void topK(Context &, const TopK &, const int32_t *, int32_t *, int64_t *);

} // namespace moire::rt
