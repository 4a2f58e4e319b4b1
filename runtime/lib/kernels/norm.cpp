//===- norm.cpp - Layer and RMS normalisation -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/norm.h"
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

/// The residual stream's row: x, or x + residual stored to sum.
const float *addResidual(const float *x, const float *residual, float *sum,
                         int64_t cols) {
  if (!residual)
    return x;
#pragma GCC ivdep
  for (int64_t i = 0; i < cols; ++i)
    sum[i] = x[i] + residual[i];
  return sum;
}

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

/// dx of one row; s1 = mean(g), s2 = mean(g · xhat), g = dy · scale.
template <bool Scale, bool Add>
void inputGradRow(const float *dy, const float *x, const float *scale, Stats st,
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
template <bool Layer>
void normGrad(Context &ctx, const Rows &n, const float *dy, const float *x,
              const float *scale, const float *mean, const float *rstd,
              float *dx, float *dscale, float *dbias, float betaScale,
              float betaBias, const float *add) {
  const Pieces pieces(n.rows);
  const int64_t cols = n.cols, stride = 2 * ((cols + 15) / 16 * 16);
  auto *partial =
      static_cast<float *>(ctx.scratch(pieces.count * stride * sizeof(float)));
  auto piece = [&](int64_t p) {
    float *ds = partial + p * stride, *db = ds + stride / 2;
    std::memset(ds, 0, stride * sizeof(float));
    const int64_t end = std::min(n.rows, (p + 1) * pieces.rows);
    for (int64_t r = p * pieces.rows; r < end; ++r) {
      const float *dyr = dy + r * cols, *xr = x + r * cols;
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
      float *dxr = dx + r * cols;
      const float *addr = add ? add + r * cols : nullptr;
      if (scale && add)
        inputGradRow<true, true>(dyr, xr, scale, st, s1, s2, addr, dxr, cols);
      else if (scale)
        inputGradRow<true, false>(dyr, xr, scale, st, s1, s2, addr, dxr, cols);
      else if (add)
        inputGradRow<false, true>(dyr, xr, scale, st, s1, s2, addr, dxr, cols);
      else
        inputGradRow<false, false>(dyr, xr, scale, st, s1, s2, addr, dxr, cols);
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

void layerNorm(Context &ctx, const Rows &n, const float *x, const float *scale,
               const float *bias, float *y, float *mean, float *rstd,
               const float *residual, float *sum) {
  parallelFor(ctx, n.rows, rowGrain(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t at = r * n.cols;
      const float *xr = addResidual(x + at, residual ? residual + at : nullptr,
                                    sum + at, n.cols);
      const Stats st = layerStats(xr, n);
      float *yr = y + at;
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
      if (mean)
        mean[r] = st.mean;
      if (rstd)
        rstd[r] = st.rstd;
    }
  });
}

void layerNormGrad(Context &ctx, const Rows &n, const float *dy, const float *x,
                   const float *scale, const float *mean, const float *rstd,
                   float *dx, float *dscale, float *dbias, float betaScale,
                   float betaBias, const float *add) {
  normGrad<true>(ctx, n, dy, x, scale, mean, rstd, dx, dscale, dbias, betaScale,
                 betaBias, add);
}

void rmsNorm(Context &ctx, const Rows &n, const float *x, const float *scale,
             float *y, float *rstd, const float *residual, float *sum) {
  parallelFor(ctx, n.rows, rowGrain(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t at = r * n.cols;
      const float *xr = addResidual(x + at, residual ? residual + at : nullptr,
                                    sum + at, n.cols);
      const Stats st = rmsStats(xr, n);
      float *yr = y + at;
      if (scale) {
#pragma GCC ivdep
        for (int64_t i = 0; i < n.cols; ++i)
          yr[i] = xr[i] * st.rstd * scale[i];
      } else {
#pragma GCC ivdep
        for (int64_t i = 0; i < n.cols; ++i)
          yr[i] = xr[i] * st.rstd;
      }
      if (rstd)
        rstd[r] = st.rstd;
    }
  });
}

void rmsNormGrad(Context &ctx, const Rows &n, const float *dy, const float *x,
                 const float *scale, const float *rstd, float *dx,
                 float *dscale, float betaScale, const float *add) {
  normGrad<false>(ctx, n, dy, x, scale, nullptr, rstd, dx, dscale, nullptr,
                  betaScale, 0, add);
}

} // namespace moire::rt
