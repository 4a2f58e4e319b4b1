//===- norm.h - Row-wise normalisations and softmax -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_NORM_H
#define MOIRE_RT_NORM_H

#include "moire/rt/bf16.h"
#include "moire/rt/context.h"

namespace moire::rt {

/// [rows, cols], dense.
struct Rows {
  int64_t rows, cols;
  float eps = 0;
};

/// X, Y and DY below are float or bf16: (float, float), (float, bf16) and (bf16,
/// bf16). All arithmetic is float.

/// mean = Σ x / cols, rstd = 1 / sqrt(Σ (x - mean)² / cols + eps),
/// y = (x - mean) · rstd · scale + bias. scale, bias [cols] may be null;
/// mean, rstd [rows] are saved where not null. With residual, x + residual is
/// normalised and also stored to sum (the residual stream), in one pass.
template <typename X, typename Y>
void layerNorm(Context &ctx, const Rows &n, const X *x, const float *scale,
               const float *bias, Y *y, float *mean = nullptr,
               float *rstd = nullptr, const Same<X> *residual = nullptr,
               Same<X> *sum = nullptr);
/// g = dy · scale; dx = rstd · (g - mean(g) - xhat · mean(g · xhat)) (+ add);
/// dscale = Σ_rows dy · xhat + beta · dscale; dbias = Σ_rows dy + beta · dbias.
/// dx, dscale, dbias may be null; so may mean and rstd (null: computed again from
/// x, which costs nothing while the row is in the cache). add [rows, cols] (the residual's cotangent)
/// may be null or dx itself.
template <typename X, typename DY>
void layerNormGrad(Context &ctx, const Rows &n, const DY *dy, const X *x,
                   const float *scale, const float *mean, const float *rstd,
                   Same<X> *dx, float *dscale, float *dbias, float betaScale = 0,
                   float betaBias = 0, const Same<X> *add = nullptr);

/// rstd = 1 / sqrt(Σ x² / cols + eps), y = x · rstd · scale.
template <typename X, typename Y>
void rmsNorm(Context &ctx, const Rows &n, const X *x, const float *scale,
             Y *y, float *rstd = nullptr, const Same<X> *residual = nullptr,
             Same<X> *sum = nullptr);
/// g = dy · scale; dx = rstd · (g - xhat · mean(g · xhat)) (+ add);
/// dscale = Σ_rows dy · xhat + beta · dscale.
template <typename X, typename DY>
void rmsNormGrad(Context &ctx, const Rows &n, const DY *dy, const X *x,
                 const float *scale, const float *rstd, Same<X> *dx,
                 float *dscale, float betaScale = 0, const Same<X> *add = nullptr);

/// y = softmax of each row; a row that is all -inf gives zeros.
void softmax(Context &ctx, const Rows &n, const float *x, float *y);
/// dx = y · (dy - Σ_row dy · y).
void softmaxGrad(Context &ctx, const Rows &n, const float *dy, const float *y,
                 float *dx);
/// y = x - log Σ_row exp x.
void logSoftmax(Context &ctx, const Rows &n, const float *x, float *y);
/// dx = dy - exp(y) · Σ_row dy.
void logSoftmaxGrad(Context &ctx, const Rows &n, const float *dy,
                    const float *y, float *dx);

} // namespace moire::rt

#endif // MOIRE_RT_NORM_H
