//===- routing.cpp - Tokens to experts and back ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/routing.h"
#include "kernels/rows.h"
#include "kernels/simd.h"
#include "moire/rt/parallel.h"

#include <cstring>
#include <utility>

namespace moire::rt {

namespace {
int64_t rowGrain(int64_t width) {
  return std::max<int64_t>(1, kElementwiseGrain / std::max<int64_t>(width, 1));
}
/// The expert of each row of [begin, end), ascending: body(row, expert).
template <typename Body>
void eachRow(const Routing &r, int64_t begin, int64_t end, Body &&body) {
  end = std::min<int64_t>(end, r.offsets[r.experts]); // on many ranks there is room for more
  int64_t e = 0;
  for (int64_t row = begin; row < end; ++row) {
    while (r.offsets[e + 1] <= row)
      ++e;
    body(row, e);
  }
}
} // namespace

// Counting sort, stable in the pair: O(T K + E), serial (a pair costs about
// 2 ns, so 4,096 tokens with 8 choices 65 us).
void route(Context &ctx, const Routing &r, const int64_t *ids) {
  const Context::Part &part = ctx.part;
  const int64_t perRow = part.rows ? r.rows() / part.rows : 0; // pairs of one
  const int64_t begin = part.begin * perRow, end = part.rows ? part.end * perRow : r.rows();
  auto isLeftOut = [&](int64_t p) { return ids[p] == -1 || p < begin || p >= end; };
  std::memset(r.offsets, 0, (r.experts + 1) * sizeof(int32_t));
  for (int64_t p = 0; p < r.rows(); ++p) {
    if (isLeftOut(p))
      continue;
    if (ids[p] < 0 || ids[p] >= r.experts)
      throw RunError("expert " + std::to_string(ids[p]) + " chosen by token " +
                     std::to_string(p / r.k) + " is outside 0.." +
                     std::to_string(r.experts - 1));
    ++r.offsets[ids[p] + 1];
  }
  for (int64_t e = 0; e < r.experts; ++e)
    r.offsets[e + 1] += r.offsets[e];
  // offsets[e] runs ahead while rows are placed, then all are moved back.
  for (int64_t p = 0; p < r.rows(); ++p) {
    if (isLeftOut(p)) {
      r.pairToRow[p] = -1;
      continue;
    }
    int32_t row = r.offsets[ids[p]]++;
    r.rowToPair[row] = static_cast<int32_t>(p);
    r.pairToRow[p] = row;
  }
  for (int64_t e = r.experts; e > 0; --e)
    r.offsets[e] = r.offsets[e - 1];
  r.offsets[0] = 0;
}

template <typename T>
void dispatch(Context &ctx, const Routing &r, int64_t width, const T *x,
              T *rows) {
  parallelFor(ctx, *r.count(), rowGrain(width), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      std::memcpy(rows + row * width, x + r.rowToPair[row] / r.k * width,
                  width * sizeof(T));
  });
}

template <typename T>
void dispatchGrad(Context &ctx, const Routing &r, int64_t width,
                  const T *drows, T *dx, float beta) {
  combine(ctx, r, width, drows, nullptr, dx, beta);
}

template <typename T>
void combine(Context &ctx, const Routing &r, int64_t width, const T *rows,
             const float *weights, T *y, float beta) {
  parallelFor(ctx, r.tokens, rowGrain(width * r.k),
              [&](int64_t begin, int64_t end) {
    FloatRow<T> in(width), out(width);
    for (int64_t t = begin; t < end; ++t) {
      float *yt = out.open(y + t * width);
      if (!std::is_same_v<T, float> && beta != 0)
        out.read(y + t * width);
      bool begun = beta != 0;
      for (int64_t k = 0; k < r.k; ++k) {
        const int64_t at = r.pairToRow[t * r.k + k];
        if (at < 0)
          continue;
        const float *row = in.read(rows + at * width);
        const float w = weights ? weights[t * r.k + k] : 1.0f;
        if (!std::exchange(begun, true)) {
#pragma GCC ivdep
          for (int64_t i = 0; i < width; ++i)
            yt[i] = w * row[i];
        } else {
#pragma GCC ivdep
          for (int64_t i = 0; i < width; ++i)
            yt[i] += w * row[i];
        }
      }
      if (!begun)
        std::fill(yt, yt + width, 0.0f);
      out.store(y + t * width);
    }
  });
}

template <typename T>
void combineGrad(Context &ctx, const Routing &r, int64_t width, const T *rows,
                 const float *weights, const T *dy, Same<T> *drows,
                 float *dweights) {
  if (dweights && *r.count() < r.rows())
    for (int64_t p = 0; p < r.rows(); ++p)
      if (r.pairToRow[p] < 0)
        dweights[p] = 0;
  parallelFor(ctx, *r.count(), rowGrain(width), [&](int64_t begin, int64_t end) {
    FloatRow<T> in(width), cotangent(width), out(width);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t p = r.rowToPair[row];
      const float *dyt = cotangent.read(dy + p / r.k * width);
      if (dweights)
        dweights[p] = simd::dot(in.read(rows + row * width), dyt, width);
      if (drows) {
        const float w = weights ? weights[p] : 1.0f;
        float *d = out.open(drows + row * width);
#pragma GCC ivdep
        for (int64_t i = 0; i < width; ++i)
          d[i] = w * dyt[i];
        out.store(drows + row * width);
      }
    }
  });
}

template <typename T>
void perExpert(Context &ctx, const Routing &r, int64_t width,
               const float *values, T *rows, const Same<T> *x) {
  const int64_t first = r.offsets[0]; // of a part of the experts
  parallelFor(ctx, *r.count() - first, rowGrain(width), [&](int64_t begin, int64_t end) {
    eachRow(r, first + begin, first + end, [&](int64_t row, int64_t e) {
      const float *v = values + e * width;
      T *out = rows + row * width;
      if (!x) {
#pragma GCC ivdep
        for (int64_t i = 0; i < width; ++i)
          out[i] = static_cast<T>(v[i]);
        return;
      }
      const T *in = x + row * width;
#pragma GCC ivdep
      for (int64_t i = 0; i < width; ++i)
        out[i] = static_cast<T>(in[i] + v[i]);
    });
  });
}

void perExpertSum(Context &ctx, const Routing &r, int64_t width,
                  const float *rows, float *sums, float beta) {
  // Columns are cut over the threads: a sum stays with one, rows ascending.
  parallelFor(ctx, width, 64, [&](int64_t begin, int64_t end) {
    for (int64_t e = 0; e < r.experts; ++e) {
      float *s = sums + e * width;
      if (beta == 0)
        std::memset(s + begin, 0, (end - begin) * sizeof(float));
      for (int64_t row = r.offsets[e]; row < r.offsets[e + 1]; ++row) {
        const float *x = rows + row * width;
#pragma GCC ivdep
        for (int64_t i = begin; i < end; ++i)
          s[i] += x[i];
      }
    }
  });
}

void pairsToRows(Context &ctx, const Routing &r, int64_t width,
                 const float *pairs, float *rows) {
  parallelFor(ctx, *r.count(), rowGrain(width), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      std::memcpy(rows + row * width, pairs + r.rowToPair[row] * width,
                  width * sizeof(float));
  });
}

void rowsToPairs(Context &ctx, const Routing &r, int64_t width,
                 const float *rows, float *pairs) {
  parallelFor(ctx, r.rows(), rowGrain(width), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      if (r.pairToRow[p] < 0)
        std::fill(pairs + p * width, pairs + (p + 1) * width, 0.0f);
      else
        std::memcpy(pairs + p * width, rows + r.pairToRow[p] * width,
                    width * sizeof(float));
  });
}

void expertCounts(Context &, const Routing &r, int64_t *counts) {
  for (int64_t e = 0; e < r.experts; ++e)
    counts[e] = r.offsets[e + 1] - r.offsets[e];
}

void countRows(Context &ctx, const TaskState &task, int64_t router, const Routing &r) {
  if (!ctx.loads.size())
    return;
  int64_t *loads =
      ctx.loads.as<int64_t>() + ctx.program->routers[task.firstRouter + router].offset;
  for (int64_t e = 0; e < r.experts; ++e)
    loads[e] += r.offsets[e + 1] - r.offsets[e];
}

#define INSTANTIATE(T)                                                                    \
  template void dispatch(Context &, const Routing &, int64_t, const T *, T *);             \
  template void dispatchGrad(Context &, const Routing &, int64_t, const T *, T *, float);  \
  template void combine(Context &, const Routing &, int64_t, const T *, const float *,     \
                        T *, float);                                                       \
  template void combineGrad(Context &, const Routing &, int64_t, const T *, const float *, \
                            const T *, T *, float *);                                      \
  template void perExpert(Context &, const Routing &, int64_t, const float *, T *,         \
                          const T *);
INSTANTIATE(float)
INSTANTIATE(bf16)

} // namespace moire::rt
