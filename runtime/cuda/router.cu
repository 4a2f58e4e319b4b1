//===- router.cu - Choice of experts and their weights --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A warp to a token; lane l holds the experts l, l + 32, … in registers. The k
// choices are k maxima over the warp of a key that holds score and expert, so
// nothing has to be marked as taken: the next choice is the largest key below
// the last one.
//
//===----------------------------------------------------------------------===//

#include "moire/rt/cuda/launch.h"
#include "moire/rt/math.h"
#include "moire/rt/routing.h"
#include "warp.cuh"

namespace moire::rt {

namespace {
constexpr int kTokens = 4; // of a block

/// Orders by score, then by the lower id; NaN is largest, -0 equals 0.
__device__ inline unsigned long long keyOf(float score, int32_t id) {
  const uint32_t bits = score == score ? uint32_t(math::floatToBits(score + 0.0f)) : 0x7fffffffu;
  const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<unsigned long long>(ordered) << 32 | ~uint32_t(id);
}
__device__ inline int32_t idOf(unsigned long long key) { return int32_t(~uint32_t(key)); }

/// s[i] = score of expert i · 32 + lane from its logit; 0 where there is none.
/// With `only` (may be null), the softmax is over the experts it marks.
template <int N>
__device__ inline void scoreAll(const Router &r, const float (&logits)[N], const bool *only,
                                float (&s)[N]) {
  const int32_t lane = threadIdx.x;
  if (r.scoring == Scoring::sigmoid) {
#pragma unroll
    for (int i = 0; i < N; ++i)
      s[i] = i * kWarp + lane < r.experts ? math::sigmoid(logits[i]) : 0.0f;
    return;
  }
  float most = -HUGE_VALF, sum = 0;
#pragma unroll
  for (int i = 0; i < N; ++i)
    if (i * kWarp + lane < r.experts && (!only || only[i]))
      most = logits[i] > most ? logits[i] : most;
  most = warpMax(most);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const bool in = i * kWarp + lane < r.experts && (!only || only[i]);
    s[i] = in ? math::exp(logits[i] - most) : 0.0f;
    sum += s[i];
  }
  sum = warpSum(sum);
#pragma unroll
  for (int i = 0; i < N; ++i)
    s[i] = s[i] / sum;
}

template <int N> __device__ inline void load(const Router &r, const float *from, float (&to)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const int32_t e = i * kWarp + int32_t(threadIdx.x);
    to[i] = e < r.experts ? from[e] : 0.0f;
  }
}

template <int N>
__global__ void routerKernel(Router r, const float *logits, const float *selectionBias,
                             float *weights, int64_t *ids) {
  const int64_t t = int64_t(blockIdx.x) * kTokens + threadIdx.y;
  const int32_t lane = threadIdx.x;
  if (t >= r.tokens) // the whole warp
    return;
  const bool selected = r.scoring == Scoring::softmaxSelected;
  float x[N], score[N];
  load(r, logits + t * r.experts, x);
  if (!selected)
    scoreAll(r, x, nullptr, score);
  bool chosen[N];
  unsigned long long key[N];
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const int32_t e = i * kWarp + lane;
    chosen[i] = false;
    float by = selected ? x[i] : score[i];
    if (selectionBias && e < r.experts)
      by += selectionBias[e];
    key[i] = e < r.experts ? keyOf(by, e) : 0;
  }
  // The choice. Lane k % 32 keeps the k-th weight, so that it reads back what it
  // wrote itself.
  unsigned long long last = ~0ull;
  for (int64_t k = 0; k < r.k; ++k) {
    unsigned long long best = 0;
#pragma unroll
    for (int i = 0; i < N; ++i)
      best = key[i] < last && key[i] > best ? key[i] : best;
    last = best = warpMax(best);
    const int32_t id = idOf(best);
    float mine = 0;
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (i * kWarp + lane == id) {
        chosen[i] = true;
        mine = selected ? x[i] : score[i];
      }
    mine = __shfl_sync(kFullWarp, mine, id % kWarp);
    if (lane == k % kWarp) {
      ids[t * r.k + k] = id;
      weights[t * r.k + k] = mine;
    }
  }
  float most = 0, sum = 1;
  if (selected) {
    most = -HUGE_VALF;
#pragma unroll
    for (int i = 0; i < N; ++i)
      most = chosen[i] && x[i] > most ? x[i] : most;
    most = warpMax(most);
    sum = 0;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      score[i] = chosen[i] ? math::exp(x[i] - most) : 0.0f;
      sum += score[i];
    }
    sum = warpSum(sum);
#pragma unroll
    for (int i = 0; i < N; ++i)
      score[i] /= sum;
  }
  float den = 1;
  if (r.normalize) {
    den = 0;
#pragma unroll
    for (int i = 0; i < N; ++i)
      den += chosen[i] ? score[i] : 0.0f;
    den = warpSum(den) + r.epsilon;
  }
  for (int64_t k = lane; k < r.k; k += kWarp) {
    float &w = weights[t * r.k + k];
    const float s = selected ? math::exp(w - most) / sum : w;
    w = s / den * r.scale;
  }
}

template <int N>
__global__ void routerGradKernel(Router r, const float *logits, const int64_t *ids,
                                 const float *dweights, float *dlogits) {
  const int64_t t = int64_t(blockIdx.x) * kTokens + threadIdx.y;
  const int32_t lane = threadIdx.x;
  if (t >= r.tokens) // the whole warp
    return;
  float x[N], score[N], dw[N];
  bool chosen[N];
  load(r, logits + t * r.experts, x);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    chosen[i] = false;
    dw[i] = 0;
  }
  for (int64_t k = 0; k < r.k; ++k) {
    const int64_t id = ids[t * r.k + k];
    const float d = dweights[t * r.k + k];
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (i * kWarp + lane == id) {
        chosen[i] = true;
        dw[i] = d;
      }
  }
  scoreAll(r, x, r.scoring == Scoring::softmaxSelected ? chosen : nullptr, score);
  // w = s / (Σ s + eps) · scale  ~~>  ds = scale (dw - Σ dw s / den) / den.
  float den = 1, mean = 0;
  if (r.normalize) {
    den = 0;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      den += chosen[i] ? score[i] : 0.0f;
      mean = fmaf(dw[i], score[i], mean);
    }
    den = warpSum(den) + r.epsilon;
    mean = warpSum(mean) / den;
  }
  float ds[N], dot = 0;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    ds[i] = chosen[i] ? r.scale * (dw[i] - mean) / den : 0.0f;
    dot = fmaf(ds[i], score[i], dot);
  }
  // Softmax: dx = s (ds - Σ s ds); sigmoid: dx = ds s (1 - s).
  dot = warpSum(dot);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const int32_t e = i * kWarp + lane;
    if (e < r.experts)
      dlogits[t * r.experts + e] = r.scoring == Scoring::sigmoid ? ds[i] * score[i] * (1 - score[i])
                                                                 : score[i] * (ds[i] - dot);
  }
}

/// Calls body with the smallest number of experts per lane that holds them all.
template <typename Body> void withLanes(const Router &r, Body &&body) {
  if (r.experts <= 32)
    body(std::integral_constant<int, 1>());
  else if (r.experts <= 64)
    body(std::integral_constant<int, 2>());
  else if (r.experts <= 128)
    body(std::integral_constant<int, 4>());
  else if (r.experts <= 256)
    body(std::integral_constant<int, 8>());
  else if (r.experts <= 512)
    body(std::integral_constant<int, 16>());
  else
    throw RunError(std::to_string(r.experts) + " experts are more than the CUDA runtime's router " +
                   "takes; it takes up to 512");
}
dim3 gridOf(const Router &r) {
  return dim3(static_cast<unsigned>((r.tokens + kTokens - 1) / kTokens));
}
} // namespace

void router(Context &ctx, const Router &r, const float *logits, const float *selectionBias,
            float *weights, int64_t *ids) {
  if (r.tokens == 0)
    return;
  withLanes(r, [&](auto n) {
    MOIRE_LAUNCH(streamOf(ctx), gridOf(r), dim3(kWarp, kTokens), 0,
                 routerKernel<decltype(n)::value>, r, logits, selectionBias, weights, ids);
  });
}

void routerGrad(Context &ctx, const Router &r, const float *logits, const int64_t *ids,
                const float *dweights, float *dlogits) {
  if (r.tokens == 0)
    return;
  withLanes(r, [&](auto n) {
    MOIRE_LAUNCH(streamOf(ctx), gridOf(r), dim3(kWarp, kTokens), 0,
                 routerGradKernel<decltype(n)::value>, r, logits, ids, dweights, dlogits);
  });
}

} // namespace moire::rt
