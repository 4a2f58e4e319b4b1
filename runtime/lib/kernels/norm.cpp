//===- norm.cpp - Layer and RMS normalisation -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/norm.h"
#include "kernels/rows.h"
#include "kernels/simd.h"
#include "moire/rt/parallel.h"

#include <cmath>
#include <cstring>

namespace moire::rt {

namespace {
int64_t rowGrain(const Rows &n) {
  return std::max<int64_t>(1, kElementwiseGrain / std::max<int64_t>(n.cols, 1));
}

struct Stats {
  float mean, rstd;
};
/// Two passes over a row that stays in the cache: no cancellation.
Stats layerStats(const float *x, const Rows &n) {
  float mean = simd::sum(x, n.cols) / n.cols;
  float variance = simd::squaredDistance(x, mean, n.cols) / n.cols;
  return {mean, 1.0f / std::sqrt(variance + n.eps)};
}
Stats rmsStats(const float *x, const Rows &n) {
  return {0, 1.0f / std::sqrt(simd::dot(x, x, n.cols) / n.cols + n.eps)};
}

/// The residual stream's rows: x, or x + residual stored to sum.
template <typename X> class Stream {
public:
  explicit Stream(int64_t cols)
      : cols(cols), inputs(cols), residuals(cols), sums(cols) {}
  const float *row(const X *x, const X *residual, X *sum) {
    const float *xr = inputs.read(x);
    if (!residual)
      return xr;
    const float *rr = residuals.read(residual);
    float *sr = sums.open(sum);
#pragma GCC ivdep
    for (int64_t i = 0; i < cols; ++i)
      sr[i] = rounded<X>(xr[i] + rr[i]);
    sums.store(sum);
    return sr;
  }

private:
  int64_t cols;
  FloatRow<X> inputs, residuals, sums;
};

/// Rows are cut into pieces whose number depends on the shape alone; each piece
/// sums its rows' contributions to dscale and dbias.
struct Pieces {
  int64_t rows, count;
  explicit Pieces(int64_t total)
      : rows(std::max<int64_t>(8, (total + 31) / 32)),
        count((total + rows - 1) / rows) {}
};

/// result = Σ_pieces partial[piece] + beta · result, pieces ascending.
void addPieces(Context &ctx, const float *partial, int64_t stride,
               int64_t pieces, int64_t cols, float beta, float *result) {
  if (!result)
    return;
  parallelFor(ctx, cols, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float s = 0;
      for (int64_t p = 0; p < pieces; ++p)
        s += partial[p * stride + i];
      result[i] = beta == 0 ? s : s + beta * result[i];
    }
  });
}

/// dx of one row; s1 = mean(g), s2 = mean(g · xhat), g = dy · scale. Products and sums are
/// rounded each: the sum with `add` is in this kernel where a stage's backward is one function,
/// and in one of its own where it is two, and both must give the same bits.
template <bool Scale, bool Add>
__attribute__((optimize("fp-contract=off"))) void inputGradRow(const float *dy, const float *x, const float *scale, Stats st,
                  float s1, float s2, const float *add, float *dx,
                  int64_t cols) {
#pragma GCC ivdep
  for (int64_t i = 0; i < cols; ++i) {
    float g = Scale ? dy[i] * scale[i] : dy[i];
    float xhat = (x[i] - st.mean) * st.rstd;
    float d = st.rstd * (g - s1 - xhat * s2);
    dx[i] = Add ? d + add[i] : d;
  }
}

/// Both norms: RMS is the same with mean 0 and s1 0, and no dbias.
template <bool Layer, typename X, typename DY>
void normGrad(Context &ctx, const Rows &n, const DY *dy, const X *x,
              const float *scale, const float *mean, const float *rstd,
              X *dx, float *dscale, float *dbias, float betaScale,
              float betaBias, const X *add) {
  const Pieces pieces(n.rows);
  const int64_t cols = n.cols, stride = 2 * ((cols + 15) / 16 * 16);
  auto *partial =
      static_cast<float *>(ctx.scratch(pieces.count * stride * sizeof(float)));
  auto piece = [&](int64_t p) {
    float *ds = partial + p * stride, *db = ds + stride / 2;
    std::memset(ds, 0, stride * sizeof(float));
    FloatRow<DY> dys(cols);
    FloatRow<X> xs(cols), dxs(cols), adds(cols);
    const int64_t end = std::min(n.rows, (p + 1) * pieces.rows);
    for (int64_t r = p * pieces.rows; r < end; ++r) {
      const float *dyr = dys.read(dy + r * cols), *xr = xs.read(x + r * cols);
      Stats st;
      if (rstd)
        st = {Layer ? mean[r] : 0.0f, rstd[r]};
      else
        st = Layer ? layerStats(xr, n) : rmsStats(xr, n);
      if (dscale || dbias) {
#pragma GCC ivdep
        for (int64_t i = 0; i < cols; ++i) {
          ds[i] += dyr[i] * ((xr[i] - st.mean) * st.rstd);
          if (Layer)
            db[i] += dyr[i];
        }
      }
      if (!dx)
        continue;
      const simd::Vec meanV = simd::splat(st.mean);
      float s1 = 0, s2;
      if (scale) {
        if (Layer)
          s1 = simd::dot(dyr, scale, cols) / cols;
        s2 = simd::sumOf(
            cols,
            [&](int64_t i) {
              return simd::load(dyr + i) * simd::load(scale + i) *
                     (simd::load(xr + i) - meanV);
            },
            [&](int64_t i) { return dyr[i] * scale[i] * (xr[i] - st.mean); });
      } else {
        if (Layer)
          s1 = simd::sum(dyr, cols) / cols;
        s2 = simd::sumOf(
            cols,
            [&](int64_t i) {
              return simd::load(dyr + i) * (simd::load(xr + i) - meanV);
            },
            [&](int64_t i) { return dyr[i] * (xr[i] - st.mean); });
      }
      s2 = s2 * st.rstd / cols;
      float *dxr = dxs.open(dx + r * cols);
      const float *addr = adds.read(add ? add + r * cols : nullptr);
      if (scale && add)
        inputGradRow<true, true>(dyr, xr, scale, st, s1, s2, addr, dxr, cols);
      else if (scale)
        inputGradRow<true, false>(dyr, xr, scale, st, s1, s2, addr, dxr, cols);
      else if (add)
        inputGradRow<false, true>(dyr, xr, scale, st, s1, s2, addr, dxr, cols);
      else
        inputGradRow<false, false>(dyr, xr, scale, st, s1, s2, addr, dxr, cols);
      dxs.store(dx + r * cols);
    }
  };
  if (n.rows * cols < 2 * kElementwiseGrain)
    for (int64_t p = 0; p < pieces.count; ++p)
      piece(p);
  else
    parallelTasks(ctx, pieces.count, piece);
  addPieces(ctx, partial, stride, pieces.count, cols, betaScale, dscale);
  if (Layer)
    addPieces(ctx, partial + stride / 2, stride, pieces.count, cols, betaBias,
              dbias);
}
} // namespace

template <typename X, typename Y>
void layerNorm(Context &ctx, const Rows &n, const X *x, const float *scale,
               const float *bias, Y *y, float *mean, float *rstd,
               const Same<X> *residual, Same<X> *sum) {
  parallelFor(ctx, n.rows, rowGrain(n), [&](int64_t begin, int64_t end) {
    Stream<X> stream(n.cols);
    FloatRow<Y> ys(n.cols);
    for (int64_t r = begin; r < end; ++r) {
      const int64_t at = r * n.cols;
      const float *xr = stream.row(x + at, residual ? residual + at : nullptr, sum + at);
      const Stats st = layerStats(xr, n);
      float *yr = ys.open(y + at);
      if (scale && bias) {
#pragma GCC ivdep
        for (int64_t i = 0; i < n.cols; ++i)
          yr[i] = (xr[i] - st.mean) * st.rstd * scale[i] + bias[i];
      } else {
#pragma GCC ivdep
        for (int64_t i = 0; i < n.cols; ++i)
          yr[i] = (xr[i] - st.mean) * st.rstd;
        if (scale)
          for (int64_t i = 0; i < n.cols; ++i)
            yr[i] *= scale[i];
        if (bias)
          for (int64_t i = 0; i < n.cols; ++i)
            yr[i] += bias[i];
      }
      ys.store(y + at);
      if (mean)
        mean[r] = st.mean;
      if (rstd)
        rstd[r] = st.rstd;
    }
  });
}

template <typename X, typename DY>
void layerNormGrad(Context &ctx, const Rows &n, const DY *dy, const X *x,
                   const float *scale, const float *mean, const float *rstd,
                   Same<X> *dx, float *dscale, float *dbias, float betaScale,
                   float betaBias, const Same<X> *add) {
  normGrad<true, X, DY>(ctx, n, dy, x, scale, mean, rstd, dx, dscale, dbias, betaScale,
                 betaBias, add);
}

template <typename X, typename Y>
void rmsNorm(Context &ctx, const Rows &n, const X *x, const float *scale,
             Y *y, float *rstd, const Same<X> *residual, Same<X> *sum) {
  parallelFor(ctx, n.rows, rowGrain(n), [&](int64_t begin, int64_t end) {
    Stream<X> stream(n.cols);
    FloatRow<Y> ys(n.cols);
    for (int64_t r = begin; r < end; ++r) {
      const int64_t at = r * n.cols;
      const float *xr = stream.row(x + at, residual ? residual + at : nullptr, sum + at);
      const Stats st = rmsStats(xr, n);
      float *yr = ys.open(y + at);
      if (scale) {
#pragma GCC ivdep
        for (int64_t i = 0; i < n.cols; ++i)
          yr[i] = xr[i] * st.rstd * scale[i];
      } else {
#pragma GCC ivdep
        for (int64_t i = 0; i < n.cols; ++i)
          yr[i] = xr[i] * st.rstd;
      }
      ys.store(y + at);
      if (rstd)
        rstd[r] = st.rstd;
    }
  });
}

template <typename X, typename DY>
void rmsNormGrad(Context &ctx, const Rows &n, const DY *dy, const X *x,
                 const float *scale, const float *rstd, Same<X> *dx,
                 float *dscale, float betaScale, const Same<X> *add) {
  normGrad<false, X, DY>(ctx, n, dy, x, scale, nullptr, rstd, dx, dscale, nullptr,
                         betaScale, 0, add);
}

#define INSTANTIATE(X, Y)                                                                  \
  template void layerNorm(Context &, const Rows &, const X *, const float *,               \
                          const float *, Y *, float *, float *, const X *, X *);           \
  template void layerNormGrad(Context &, const Rows &, const Y *, const X *,               \
                              const float *, const float *, const float *, X *, float *,   \
                              float *, float, float, const X *);                           \
  template void rmsNorm(Context &, const Rows &, const X *, const float *, Y *, float *,   \
                        const X *, X *);                                                   \
  template void rmsNormGrad(Context &, const Rows &, const Y *, const X *, const float *,  \
                            const float *, X *, float *, float, const X *);
INSTANTIATE(float, float)
INSTANTIATE(float, bf16)
INSTANTIATE(bf16, bf16)

} // namespace moire::rt
