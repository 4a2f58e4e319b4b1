//===- router.cpp - Choice of experts and their weights -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/parallel.h"
#include "moire/rt/routing.h"
#include "moire/rt/tensor.h"

#include "kernels/simd.h"

#include <cmath>
#include <vector>

namespace moire::rt {

namespace {
/// scores = softmax or sigmoid of all logits of a token.
void scoreAll(const Router &r, const float *logits, float *scores) {
  if (r.scoring == Scoring::sigmoid) {
    for (int64_t e = 0; e < r.experts; ++e)
      scores[e] = math::sigmoid(logits[e]);
    return;
  }
  float sum = simd::expAndSum(logits, simd::max(logits, r.experts), scores,
                              r.experts);
  for (int64_t e = 0; e < r.experts; ++e)
    scores[e] /= sum;
}
/// The scores of the chosen ones, before normalize and scale.
void chosenScores(const Router &r, const float *logits, const int64_t *ids,
                  float *all, float *chosen) {
  if (r.scoring != Scoring::softmaxSelected) {
    scoreAll(r, logits, all);
    for (int64_t k = 0; k < r.k; ++k)
      chosen[k] = all[ids[k]];
    return;
  }
  float m = -HUGE_VALF, sum = 0;
  for (int64_t k = 0; k < r.k; ++k)
    m = std::max(m, logits[ids[k]]);
  for (int64_t k = 0; k < r.k; ++k)
    sum += chosen[k] = math::exp(logits[ids[k]] - m);
  for (int64_t k = 0; k < r.k; ++k)
    chosen[k] /= sum;
}
int64_t tokenGrain(const Router &r) {
  return std::max<int64_t>(1, kElementwiseGrain / 8 / r.experts);
}
} // namespace

void router(Context &ctx, const Router &r, const float *logits,
            const float *selectionBias, float *weights, int64_t *ids) {
  Context serial(1); // topK of one token must not start threads
  parallelFor(ctx, r.tokens, tokenGrain(r), [&](int64_t begin, int64_t end) {
    std::vector<float> all(r.experts), biased(r.experts);
    for (int64_t t = begin; t < end; ++t) {
      const float *x = logits + t * r.experts;
      // Softmax keeps the order, but rounding may tie what differed: choose by
      // scores, as the models do.
      if (r.scoring == Scoring::softmaxSelected)
        std::copy(x, x + r.experts, biased.begin());
      else
        scoreAll(r, x, biased.data());
      if (selectionBias)
        for (int64_t e = 0; e < r.experts; ++e)
          biased[e] += selectionBias[e];
      int64_t *id = ids + t * r.k;
      topK<float>(serial, {1, r.experts, 1, r.k, true}, biased.data(), nullptr, id);
      float *w = weights + t * r.k;
      chosenScores(r, x, id, all.data(), w);
      float den = 1;
      if (r.normalize) {
        den = 0;
        for (int64_t k = 0; k < r.k; ++k)
          den += w[k];
        den += r.epsilon;
      }
      for (int64_t k = 0; k < r.k; ++k)
        w[k] = w[k] / den * r.scale;
    }
  });
}

void routerGrad(Context &ctx, const Router &r, const float *logits,
                const int64_t *ids, const float *dweights, float *dlogits) {
  parallelFor(ctx, r.tokens, tokenGrain(r), [&](int64_t begin, int64_t end) {
    std::vector<float> all(r.experts), chosen(r.k), ds(r.k);
    for (int64_t t = begin; t < end; ++t) {
      const int64_t *id = ids + t * r.k;
      const float *dw = dweights + t * r.k;
      float *dx = dlogits + t * r.experts;
      chosenScores(r, logits + t * r.experts, id, all.data(), chosen.data());
      // w = s / (Σ s + eps) · scale  ~~>  ds = scale (dw - Σ dw s / den) / den.
      float den = 1, mean = 0;
      if (r.normalize) {
        den = 0;
        for (int64_t k = 0; k < r.k; ++k)
          den += chosen[k];
        den += r.epsilon;
        for (int64_t k = 0; k < r.k; ++k)
          mean += dw[k] * chosen[k];
        mean /= den;
      }
      for (int64_t k = 0; k < r.k; ++k)
        ds[k] = r.scale * (dw[k] - mean) / den;
      std::fill(dx, dx + r.experts, 0.0f);
      if (r.scoring == Scoring::sigmoid) {
        for (int64_t k = 0; k < r.k; ++k)
          dx[id[k]] = ds[k] * chosen[k] * (1 - chosen[k]);
        continue;
      }
      // Softmax: dx = s (ds - Σ s ds), ds is 0 where not chosen.
      float dot = 0;
      for (int64_t k = 0; k < r.k; ++k)
        dot += ds[k] * chosen[k];
      if (r.scoring == Scoring::softmax)
        for (int64_t e = 0; e < r.experts; ++e)
          dx[e] = -all[e] * dot;
      for (int64_t k = 0; k < r.k; ++k)
        dx[id[k]] = chosen[k] * (ds[k] - dot);
    }
  });
}

} // namespace moire::rt
