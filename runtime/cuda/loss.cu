//===- loss.cu - Cross-entropy over rows ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Bound by memory: logits are read once and dlogits written once. A row's
// largest value and its sum of exponentials are found in one pass (M. Milakov
// and N. Gimelshein, "Online normalizer calculation for softmax", 2018); the
// fused form keeps the row in shared memory for the second. Rows of an odd
// vocabulary (50,257) start anywhere: a head and a tail of single elements leave
// aligned vectors between.
//
//===----------------------------------------------------------------------===//

#include "moire/rt/loss.h"
#include "cuda/fault.h"
#include "cuda/row.cuh"
#include "moire/rt/math.h"

namespace moire::rt {

namespace {
using namespace device;

/// e^x within some 2 ulp + |x| 2^-23: of terms of a sum, or of a probability.
__device__ __forceinline__ float fastExp(float x) {
#if defined(MOIRE_CUDA_MODEL)
  return math::exp(x);
#else
  return __expf(x);
#endif
}

/// How the team of a row goes over it: f(index, run) for runs of W or 1.
template <typename T, typename Form> struct RowWalk {
  static constexpr int W = Form::kWidth;
  int64_t n, head, body; ///< [0, head) and [body, n) are single elements

  __device__ __forceinline__ RowWalk(const T *row, int64_t size) : n(size) {
    const int64_t past = (reinterpret_cast<uintptr_t>(row) / sizeof(T)) % W;
    head = past ? W - past : 0;
    head = head < n ? head : n;
    body = head + (n - head) / W * W;
  }
  template <typename F> __device__ __forceinline__ void each(F &&f) const {
    const int lane = Team<Form>::lane();
    if (lane < head)
      f(int64_t(lane), Run<T, 1>());
#pragma unroll 4
    for (int64_t i = head + lane * W; i < body; i += Form::kTeam * W)
      f(i, Run<T, W>());
    for (int64_t i = body + lane; i < n; i += Form::kTeam)
      f(i, Run<T, 1>());
  }
};

/// Σ exp(x - most) over what came so far.
struct ExpSum {
  float most = -HUGE_VALF, sum = 0;

  template <int N> __device__ __forceinline__ void add(const float (&x)[N]) {
    float m = most;
#pragma unroll
    for (int j = 0; j < N; ++j)
      m = x[j] > m ? x[j] : m;
    // Where nothing but -inf came, 0 instead, so that no NaN arises.
    const float base = m == -HUGE_VALF ? 0.0f : m;
    float s = sum * fastExp(most - base);
#pragma unroll
    for (int j = 0; j < N; ++j)
      s += fastExp(x[j] - base);
    most = m;
    sum = s;
  }
  /// The same over the team, in all threads.
  template <typename Form> __device__ __forceinline__ void join(Team<Form> &team) {
    const float m = team.max(most), base = m == -HUGE_VALF ? 0.0f : m;
    sum = team.sum(sum * fastExp(most - base));
    most = m;
  }
  __device__ __forceinline__ float lse() const { return most + math::log(sum); }
};

/// Whether the row counts; a label that is none is noted.
__device__ __forceinline__ bool counts(const CrossEntropy &c, int64_t row, int64_t label,
                                       bool first, Fault *fault) {
  if (label == c.ignoreIndex)
    return false;
  if (label >= 0 && label < c.vocab)
    return true;
  if (first)
    reportLabel(fault, label, row, c);
  return false;
}

template <int N, typename T>
__device__ __forceinline__ void widen(const Run<T, N> &run, float (&x)[N]) {
#pragma unroll
  for (int j = 0; j < N; ++j)
    x[j] = float(run.at[j]);
}

template <typename T, typename Form>
__global__ void __launch_bounds__(Form::kBlock)
    lossKernel(CrossEntropy c, const T *logits, const int64_t *labels, float *losses, float *lse,
               Fault *fault) {
  MOIRE_SHARED(float, buffer, 64);
  Team<Form> team(buffer);
  const int64_t row = int64_t(blockIdx.x) * Form::kTeams + team.number();
  if (row >= c.rows) // a warp, or no thread of the block
    return;
  const T *x = logits + row * c.vocab;
  const int64_t label = labels[row];
  // An ignored row needs no pass: its gradient is 0 whatever lse is.
  float value = 0, l = 0;
  if (counts(c, row, label, team.lane() == 0, fault)) {
    ExpSum s;
    RowWalk<T, Form>(x, c.vocab).each([&](int64_t i, auto run) {
      float v[run.kCount];
      run.load(x + i);
      widen(run, v);
      s.add(v);
    });
    s.join(team);
    l = s.lse();
    value = l - float(x[label]);
  }
  if (team.lane() == 0) {
    losses[row] = value;
    if (lse)
      lse[row] = l;
  }
}

/// d[i …] = p · scale, less scale at the label.
template <int N, typename T>
__device__ __forceinline__ void storeGradient(T *d, int64_t i, int64_t label, float scale,
                                              float (&p)[N]) {
  Run<T, N> run;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const float v = p[j] * scale;
    run.at[j] = T(i + j == label ? v - scale : v);
  }
  run.store(d + i);
}

template <typename T, typename Form>
__device__ __forceinline__ void storeZeros(T *d, int64_t n) {
  RowWalk<T, Form>(d, n).each([&](int64_t i, auto run) {
#pragma unroll
    for (int j = 0; j < run.kCount; ++j)
      run.at[j] = T(0.0f);
    run.store(d + i);
  });
}

template <typename T, typename Form>
__global__ void __launch_bounds__(Form::kBlock)
    lossGradKernel(CrossEntropy c, const T *logits, const int64_t *labels, const float *lse,
                   const float *dloss, int64_t dlossStride, T *dlogits) {
  const int64_t row = int64_t(blockIdx.x) * Form::kTeams + Team<Form>::number();
  if (row >= c.rows)
    return;
  const T *x = logits + row * c.vocab;
  T *d = dlogits + row * c.vocab;
  const int64_t label = labels[row];
  if (label == c.ignoreIndex)
    return storeZeros<T, Form>(d, c.vocab);
  const float scale = dloss[row * dlossStride], shift = lse[row];
  RowWalk<T, Form>(x, c.vocab).each([&](int64_t i, auto run) {
    float v[run.kCount];
    run.load(x + i);
    widen(run, v);
#pragma unroll
    for (int j = 0; j < run.kCount; ++j)
      v[j] = fastExp(v[j] - shift);
    storeGradient(d, i, label, scale, v);
  });
}

/// Both; with Cached the row waits in shared memory, else in the second-level
/// cache.
template <typename T, typename Form, bool Cached>
__global__ void __launch_bounds__(Form::kBlock)
    lossBothKernel(CrossEntropy c, const T *logits, const int64_t *labels, const float *dloss,
                   float *losses, float *lse, T *dlogits, Fault *fault) {
  MOIRE_SHARED(float, buffer, 64);
  MOIRE_SHARED_DYNAMIC(T, cache);
  Team<Form> team(buffer);
  const int64_t row = int64_t(blockIdx.x) * Form::kTeams + team.number();
  if (row >= c.rows)
    return;
  const T *x = logits + row * c.vocab;
  T *d = dlogits + row * c.vocab;
  const int64_t label = labels[row];
  if (!counts(c, row, label, team.lane() == 0, fault)) {
    if (team.lane() == 0) {
      losses[row] = 0;
      if (lse)
        lse[row] = 0;
    }
    return storeZeros<T, Form>(d, c.vocab);
  }
  const RowWalk<T, Form> walk(x, c.vocab);
  // The vectors of the copy are aligned as those of the row.
  const SharedPtr<T> copy = cache + (walk.head ? Form::kWidth - walk.head : 0);
  const float atLabel = float(x[label]); // dlogits may be logits
  ExpSum s;
  walk.each([&](int64_t i, auto run) {
    float v[run.kCount];
    run.load(x + i);
    if constexpr (Cached)
      run.storeShared(copy + i);
    widen(run, v);
    s.add(v);
  });
  s.join(team);
  const float most = s.most, scale = dloss[0], inverse = 1.0f / s.sum;
  walk.each([&](int64_t i, auto run) {
    float v[run.kCount];
    if constexpr (Cached)
      run.loadShared(copy + i);
    else
      run.load(x + i);
    widen(run, v);
#pragma unroll
    for (int j = 0; j < run.kCount; ++j)
      v[j] = fastExp(v[j] - most) * inverse;
    storeGradient(d, i, label, scale, v);
  });
  if (team.lane() == 0) {
    const float l = s.lse();
    losses[row] = l - atLabel;
    if (lse)
      lse[row] = l;
  }
}

/// Of a block's shared memory, 227 KiB less the kernel's own.
constexpr int64_t kCachedBytes = 226 * 1024;

/// Calls body(form): a warp for short rows, a block of `Threads` for long ones.
template <typename T, int Threads, typename Body> void withForm(int64_t vocab, bool vectors, Body &&body) {
  constexpr int W = 16 / sizeof(T);
  if (vocab <= 2048)
    vectors ? body(RowForm<32, 256, W, 0>()) : body(RowForm<32, 256, 1, 0>());
  else
    vectors ? body(RowForm<Threads, Threads, W, 0>()) : body(RowForm<Threads, Threads, 1, 0>());
}
/// Whether rows of both start alike, so that vectors are aligned in both.
template <typename T> bool alike(const T *a, const T *b) {
  return (reinterpret_cast<uintptr_t>(a) - reinterpret_cast<uintptr_t>(b)) % 16 == 0;
}
} // namespace

template <typename T>
void crossEntropy(Context &ctx, const CrossEntropy &c, const T *logits, const int64_t *labels,
                  float *losses, float *lse) {
  if (ctx.tap)
    tapLogits(ctx, c, logits);
  withForm<T, 512>(c.vocab, true, [&](auto form) {
    using Form = decltype(form);
    MOIRE_LAUNCH(streamOf(ctx), rowGrid<Form>(c.rows), Form::kBlock, 0, lossKernel<T, Form>, c,
                 logits, labels, losses, lse, faultOf(ctx));
  });
  checkFaultsOfModel(ctx);
}

template <typename T>
void crossEntropyGrad(Context &ctx, const CrossEntropy &c, const T *logits,
                      const int64_t *labels, const float *lse, const float *dloss,
                      int64_t dlossStride, T *dlogits) {
  withForm<T, 512>(c.vocab, alike<T>(logits, dlogits), [&](auto form) {
    using Form = decltype(form);
    MOIRE_LAUNCH(streamOf(ctx), rowGrid<Form>(c.rows), Form::kBlock, 0, lossGradKernel<T, Form>,
                 c, logits, labels, lse, dloss, dlossStride, dlogits);
  });
}

template <typename T>
void crossEntropyWithGrad(Context &ctx, const CrossEntropy &c, const T *logits,
                          const int64_t *labels, const float *dloss, float *losses, float *lse,
                          T *dlogits) {
  if (ctx.tap)
    tapLogits(ctx, c, logits);
  // A row in shared memory may leave room for one block only: a large one.
  withForm<T, 1024>(c.vocab, alike<T>(logits, dlogits), [&](auto form) {
    using Form = decltype(form);
    // One row a block, and what alignment shifts.
    const int64_t bytes = (c.vocab + Form::kWidth) * int64_t(sizeof(T));
    if constexpr (Form::kTeams == 1)
      if (bytes <= kCachedBytes)
        return MOIRE_LAUNCH(streamOf(ctx), rowGrid<Form>(c.rows), Form::kBlock, bytes,
                            lossBothKernel<T, Form, true>, c, logits, labels, dloss, losses,
                            lse, dlogits, faultOf(ctx));
    MOIRE_LAUNCH(streamOf(ctx), rowGrid<Form>(c.rows), Form::kBlock, 0,
                 lossBothKernel<T, Form, false>, c, logits, labels, dloss, losses, lse, dlogits,
                 faultOf(ctx));
  });
  checkFaultsOfModel(ctx);
}

#define INSTANTIATE(T)                                                                            \
  template void crossEntropy(Context &, const CrossEntropy &, const T *, const int64_t *,        \
                             float *, float *);                                                  \
  template void crossEntropyGrad(Context &, const CrossEntropy &, const T *, const int64_t *,    \
                                 const float *, const float *, int64_t, T *);                    \
  template void crossEntropyWithGrad(Context &, const CrossEntropy &, const T *,                 \
                                     const int64_t *, const float *, float *, float *, T *);
INSTANTIATE(float)
INSTANTIATE(bf16)

} // namespace moire::rt
