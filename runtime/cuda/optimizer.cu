//===- optimizer.cu - Parameter updates -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// All parameters in one launch (a launch for each 90 where they have gaps or
// differ in decay). Bound by memory: AdamW reads p, g, m, v and writes p, m, v,
// 28 bytes an element, 16 bytes an access.
//
// What changes from step to step lies in device memory, as Scalars: the host
// writes the learning rate, the norm's last kernel the clipping factor. So the
// host does not wait for the norm, and a captured graph stays right.
//
//===----------------------------------------------------------------------===//

#include "cuda/ranges.h"
#include "cuda/warp.cuh"
#include "moire/rt/cuda/pack.h"
#include "moire/rt/device.h"
#include "moire/rt/gradients.h"
#include "moire/rt/optimizer.h"
#include "moire/rt/pieces.h"

#include <algorithm>
#include <cmath>

namespace moire::rt {

namespace {
using namespace device;
constexpr int kThreads = 256;

/// Neighbouring elements that are treated alike, and where they begin in the blocks of
/// parameters, of gradients and of state: what ranks divide lies at other places in each.
struct Range {
  int64_t value, grad, state, size;
  bool decay;
  int updateGroup; ///< -1: none
};

/// The blocks that ranges lie in.
struct Blocks {
  float *p;
  const float *g;
  float *m, *v;
};

/// What depends on how often a parameter was updated.
struct Count {
  bool first;       ///< the momentum begins
  float rate, root; ///< of AdamW, with the corrections
};

Blocks blocksOf(const Context &ctx) {
  return {ctx.param(0), ctx.grad(0), ctx.m.as<float>(), ctx.v.as<float>()};
}

struct SGD {
  static constexpr bool kSecond = false;
  float lr, mu, wd;
  bool first, momentum;
  __device__ __forceinline__ void begin(const Count &count) { first = count.first; }
  __device__ __forceinline__ void run(bool decay, float scale, float &p, float g, float &m,
                                      float &) const {
    float d = g * scale + (decay ? wd : 0.0f) * p;
    if (momentum)
      m = d = first ? d : mu * m + d;
    p -= lr * d;
  }
};

struct AdamW {
  static constexpr bool kSecond = true;
  float keep, b1, b2, c2, rate, root, eps;
  static constexpr bool momentum = true;
  __device__ __forceinline__ void begin(const Count &count) {
    rate = count.rate;
    root = count.root;
  }
  __device__ __forceinline__ void run(bool decay, float scale, float &p, float g, float &m,
                                      float &v) const {
    const float d = g * scale;
    m = m + b1 * (d - m);
    v = v * b2 + c2 * d * d;
    p = p * (decay ? keep : 1.0f) - rate * (m / (sqrtf(v) / root + eps));
  }
};

constexpr int kMostGroups = 64; ///< Program::updateGroups

/// The scalars of a step.
struct Scalars {
  SGD sgd;
  AdamW adamw;
  Count counts[1 + kMostGroups]; ///< by Range::updateGroup + 1
  double maxNorm; ///< 0: no clipping
  float scale;    ///< of gradients
  bool update;    ///< false: loss or norm are not finite
};
__device__ inline void take(const Scalars &s, SGD &rule) { rule = s.sgd; }
__device__ inline void take(const Scalars &s, AdamW &rule) { rule = s.adamw; }

constexpr int64_t kUpdatePiece = 2048;

template <typename Rule, int W>
__global__ void __launch_bounds__(kThreads)
    updateKernel(const Scalars *scalars, Pieces<Range> pieces, Blocks b) {
  if (!scalars->update)
    return;
  const int r = pieces.find(blockIdx.x);
  const Range range = pieces.range[r];
  Rule rule;
  take(*scalars, rule);
  rule.begin(scalars->counts[range.updateGroup + 1]);
  const float scale = scalars->scale;
  const int64_t begin = (int64_t(blockIdx.x) - pieces.first[r]) * kUpdatePiece;
  const int64_t end = begin + kUpdatePiece < range.size ? begin + kUpdatePiece : range.size;
  auto update = [&](int64_t i, auto run) {
    constexpr int N = decltype(run)::kCount;
    const int64_t value = range.value + i, state = range.state + i;
    Run<float, N> p, g, m = {}, v = {};
    p.load(b.p + value);
    g.load(b.g + range.grad + i);
    if (rule.momentum)
      m.load(b.m + state);
    if (Rule::kSecond)
      v.load(b.v + state);
#pragma unroll
    for (int j = 0; j < N; ++j)
      rule.run(range.decay, scale, p.at[j], g.at[j], m.at[j], v.at[j]);
    p.store(b.p + value);
    if (rule.momentum)
      m.store(b.m + state);
    if (Rule::kSecond)
      v.store(b.v + state);
  };
  const int64_t vectors = begin + (end - begin) / W * W;
#pragma unroll 2
  for (int64_t i = begin + threadIdx.x * W; i < vectors; i += kThreads * W)
    update(i, Run<float, W>());
  for (int64_t i = vectors + threadIdx.x; i < end; i += kThreads)
    update(i, Run<float, 1>());
}

template <typename Rule>
void updateRanges(Context &ctx, const std::vector<Range> &ranges, const Blocks &b) {
  const auto *scalars = ctx.scalars.as<Scalars>();
  bool wide = isAligned(b.p, 16) && isAligned(b.g, 16) && isAligned(b.m, 16) && isAligned(b.v, 16);
  for (const Range &r : ranges)
    wide &= r.value % 4 == 0 && r.grad % 4 == 0 && r.state % 4 == 0;
  forPieces(ranges, kUpdatePiece, [&](const Pieces<Range> &pieces) {
    const dim3 blocks{unsigned(pieces.first[pieces.count])};
    if (wide)
      MOIRE_LAUNCH(streamOf(ctx), blocks, kThreads, 0, updateKernel<Rule, 4>, scalars, pieces, b);
    else
      MOIRE_LAUNCH(streamOf(ctx), blocks, kThreads, 0, updateKernel<Rule, 1>, scalars, pieces, b);
  });
}

// Scalars are computed in double and rounded once, as PyTorch does.
SGD sgd(const Hyper &h) {
  return {float(h.lr), float(h.momentum), float(h.weightDecay), false, h.momentum != 0};
}
AdamW adamw(const Hyper &h) {
  AdamW a = {};
  a.keep = float(1 - h.lr * h.weightDecay);
  a.b1 = float(1 - h.beta1);
  a.b2 = float(h.beta2);
  a.c2 = float(1 - h.beta2);
  a.eps = float(h.eps);
  return a;
}
Count countOf(const Hyper &h, int64_t update) {
  const double correction1 = 1 - std::pow(h.beta1, double(update));
  const double correction2 = 1 - std::pow(h.beta2, double(update));
  return {update == 1, float(h.lr / correction1), float(std::sqrt(correction2))};
}
Scalars scalarsOf(const Context &ctx, const Hyper &h) {
  Scalars s = {sgd(h), adamw(h), {}, h.maxNorm, float(h.gradScale), true};
  s.counts[0] = countOf(h, h.step);
  const int groups = ctx.program ? int(ctx.program->numUpdateGroups) : 0;
  for (int group = 0; group < groups; ++group)
    s.counts[group + 1] = countOf(h, updateNumber(ctx, group));
  return s;
}
/// Puts the scalars where the kernels read them, after what was started before.
void sendScalars(Context &ctx, const Hyper &h) {
  if (!ctx.scalars.size()) {
    ctx.scalars = DeviceBlock(sizeof(Scalars));
    ctx.hostScalars = Block(sizeof(Scalars));
  }
  *ctx.hostScalars.as<Scalars>() = scalarsOf(ctx, h);
  send(ctx, ctx.scalars.data(), ctx.hostScalars.data(), sizeof(Scalars));
}

/// Whether the optimizer moves it: routers' biases have a rule of their own.
bool isMoved(const Context &ctx, const ParameterInfo &p) {
  return isUpdated(ctx, p) && !(p.balanceRate > 0);
}

/// What this rank owns of a parameter.
Range rangeOf(const Context &ctx, const ParameterInfo &p, bool decay) {
  const Owned mine = owned(ctx, p);
  return {ownedValueAt(p, mine), ownedGradAt(p, mine), ownedStateAt(p), mine.size(), decay,
          p.updateGroup};
}

/// What the optimizer moves on this rank, parameters that touch and decay alike as one.
std::vector<Range> trainedRanges(const Context &ctx, bool decayMatricesOnly) {
  std::vector<Range> ranges;
  for (int64_t i = 0; i < ctx.program->numParameters; ++i)
    if (const ParameterInfo &p = ctx.program->parameters[i]; isMoved(ctx, p))
      ranges.push_back(rangeOf(ctx, p, !decayMatricesOnly || p.rank >= 2));
  std::sort(ranges.begin(), ranges.end(),
            [](const Range &a, const Range &b) { return a.value < b.value; });
  std::vector<Range> merged;
  for (const Range &r : ranges) {
    if (r.size == 0)
      continue;
    auto touches = [&](int64_t Range::*at) {
      return merged.back().*at + merged.back().size == r.*at;
    };
    if (!merged.empty() && merged.back().decay == r.decay &&
        merged.back().updateGroup == r.updateGroup && touches(&Range::value) &&
        touches(&Range::grad) && touches(&Range::state))
      merged.back().size += r.size;
    else
      merged.push_back(r);
  }
  return merged;
}

/// Down where the load was more than the mean, up where it was less.
__global__ void balanceKernel(const Scalars *scalars, float rate, int64_t n, float *p,
                              const float *excess) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (scalars->update && i < n)
    p[i] -= excess[i] > 0 ? rate : excess[i] < 0 ? -rate : 0.0f;
}

void balanceBiases(Context &ctx) {
  const Program &program = *ctx.program;
  for (int64_t i = 0; i < program.numParameters; ++i) {
    const ParameterInfo &p = program.parameters[i];
    if (!isUpdated(ctx, p) || !(p.balanceRate > 0))
      continue;
    const Range r = rangeOf(ctx, p, false);
    MOIRE_LAUNCH(streamOf(ctx), unsigned((r.size + kThreads - 1) / kThreads), kThreads, 0,
                 balanceKernel, ctx.scalars.as<Scalars>(), p.balanceRate, r.size,
                 ctx.param(r.value), ctx.grad(r.grad));
  }
}

//===----------------------------------------------------------------------===//
// Norm
//===----------------------------------------------------------------------===//

constexpr int64_t kNormPiece = 16384;
constexpr int kNormWarps = kThreads / kWarp;

// What squares are taken of: W neighbours of a range's elements.
struct OfGradients {
  const float *grads;
  template <int W>
  __device__ __forceinline__ void take(const Range &range, int64_t i, Run<float, W> &run) const {
    run.load(grads + range.grad + i);
  }
};
struct OfValues {
  const float *params;
  template <int W>
  __device__ __forceinline__ void take(const Range &range, int64_t i, Run<float, W> &run) const {
    run.load(params + range.value + i);
  }
};
/// What SGD has taken from parameters: with momentum of m, else of g.
struct OfSGDSteps {
  Blocks b;
  const Scalars *scalars;
  template <int W>
  __device__ __forceinline__ void take(const Range &range, int64_t i, Run<float, W> &run) const {
    const SGD &sgd = scalars->sgd;
    run.load(sgd.momentum ? b.m + range.state + i : b.g + range.grad + i);
    const float by = sgd.lr * (sgd.momentum ? 1.0f : scalars->scale);
#pragma unroll
    for (int j = 0; j < W; ++j)
      run.at[j] *= by;
  }
};
struct OfAdamWSteps {
  Blocks b;
  const Scalars *scalars;
  template <int W>
  __device__ __forceinline__ void take(const Range &range, int64_t i, Run<float, W> &run) const {
    const Count &count = scalars->counts[range.updateGroup + 1];
    const float eps = scalars->adamw.eps;
    Run<float, W> v;
    run.load(b.m + range.state + i);
    v.load(b.v + range.state + i);
#pragma unroll
    for (int j = 0; j < W; ++j)
      run.at[j] = count.rate * (run.at[j] / (sqrtf(v.at[j]) / count.root + eps));
  }
};

/// partial[b] = Σ x² over piece b, in double. Bound by memory: of gradients and values 4 bytes an
/// element, of AdamW's steps 8.
template <typename Of, int W>
__global__ void __launch_bounds__(kThreads)
    squaresKernel(Pieces<Range> pieces, Of of, double *partial) {
  MOIRE_SHARED(double, warps, kNormWarps);
  const int r = pieces.find(blockIdx.x);
  const Range range = pieces.range[r];
  const int64_t begin = (int64_t(blockIdx.x) - pieces.first[r]) * kNormPiece;
  const int64_t end = begin + kNormPiece < range.size ? begin + kNormPiece : range.size;
  double sum = 0;
  const int64_t vectors = begin + (end - begin) / W * W;
#pragma unroll 4
  for (int64_t i = begin + threadIdx.x * W; i < vectors; i += kThreads * W) {
    Run<float, W> run;
    of.take(range, i, run);
#pragma unroll
    for (int j = 0; j < W; ++j)
      sum += double(run.at[j]) * run.at[j];
  }
  for (int64_t i = vectors + threadIdx.x; i < end; i += kThreads) {
    Run<float, 1> run;
    of.take(range, i, run);
    sum += double(run.at[0]) * run.at[0];
  }
  sum = warpSum(sum);
  if (threadIdx.x % kWarp == 0)
    warps[threadIdx.x / kWarp] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int w = 1; w < kNormWarps; ++w)
      sum += warps[w];
    partial[blockIdx.x] = sum;
  }
}

/// outcome->norm = √Σ partial, by one block; and what the update makes of it.
__global__ void __launch_bounds__(1024)
    normKernel(int64_t n, const double *partial, StepOutcome *outcome, Scalars *scalars) {
  MOIRE_SHARED(double, warps, 32);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += 1024)
    sum += partial[i];
  sum = warpSum(sum);
  if (threadIdx.x % kWarp == 0)
    warps[threadIdx.x / kWarp] = sum;
  __syncthreads();
  if (threadIdx.x < kWarp) {
    sum = warpSum(double(warps[threadIdx.x]));
    if (threadIdx.x == 0) {
      const double norm = sqrt(sum), most = scalars->maxNorm, factor = most / (norm + 1e-6);
      outcome->norm = norm;
      scalars->scale = float(most > 0 && factor < 1 ? factor : 1.0);
      scalars->update = std::isfinite(outcome->loss) && std::isfinite(norm);
    }
  }
}

int64_t piecesOf(const Range &r) { return (r.size + kNormPiece - 1) / kNormPiece; }

/// Starts the kernels of the squares of each range's pieces, in their order.
template <typename Of>
double *startSquares(Context &ctx, const std::vector<Range> &ranges, int64_t count, const Of &of) {
  auto *partials = static_cast<double *>(ctx.scratch(count * sizeof(double)));
  double *partial = partials;
  forPieces(ranges, kNormPiece, [&](const Pieces<Range> &pieces) {
    const int64_t blocks = pieces.first[pieces.count];
    MOIRE_LAUNCH(streamOf(ctx), dim3(unsigned(blocks)), kThreads, 0, squaresKernel<Of, 4>, pieces,
                 of, partial);
    partial += blocks;
  });
  return partials;
}

/// By parameter, Σ x² over what this rank owns of it. The host waits, and adds.
template <typename Of> std::vector<double> squaresOf(Context &ctx, const Of &of) {
  const Program &p = *ctx.program;
  std::vector<Range> ranges;
  std::vector<int64_t> parameters;
  int64_t count = 0;
  for (int64_t i = 0; i < p.numParameters; ++i) {
    if (!isMoved(ctx, p.parameters[i]))
      continue;
    if (const Range r = rangeOf(ctx, p.parameters[i], false); r.size > 0) {
      ranges.push_back(r);
      parameters.push_back(i);
      count += piecesOf(r);
    }
  }
  std::vector<double> partials(count), squares(p.numParameters);
  if (count > 0)
    download(ctx, partials.data(), startSquares(ctx, ranges, count, of), count * sizeof(double));
  const double *partial = partials.data();
  for (size_t r = 0; r < ranges.size(); ++r)
    for (int64_t i = 0; i < piecesOf(ranges[r]); ++i)
      squares[parameters[r]] += *partial++;
  return squares;
}

/// Σ g² of all parameters, those that are sharded or divided over all ranks that hold a
/// part. The host takes part: it has to talk to the other ranks for it.
double sumOverRanks(Context &ctx) {
  std::vector<double> squares = squaresOf(ctx, OfGradients{ctx.grad(0)});
  sumShards(ctx, squares.data());
  return sumStages(ctx, squares);
}

/// Starts the kernels of the norm.
void startNorm(Context &ctx) {
  int64_t count = 1;
  double *partials;
  if (ctx.comm) {
    const double total = sumOverRanks(ctx);
    partials = static_cast<double *>(ctx.scratch(sizeof total));
    upload(ctx, partials, &total, sizeof total);
  } else {
    const auto ranges = trainedRanges(ctx, false);
    count = 0;
    for (const Range &r : ranges)
      count += piecesOf(r);
    partials = startSquares(ctx, ranges, count, OfGradients{ctx.grad(0)});
  }
  MOIRE_LAUNCH(streamOf(ctx), 1, 1024, 0, normKernel, count, partials,
               ctx.outcome.as<StepOutcome>(), ctx.scalars.as<Scalars>());
}
} // namespace

void updateSGD(Context &ctx, const Hyper &h, int64_t n, bool decay, float *p, const float *g,
               float *buf) {
  sendScalars(ctx, h);
  updateRanges<SGD>(ctx, {{0, 0, 0, n, decay, -1}}, {p, g, buf, nullptr});
}
void updateAdamW(Context &ctx, const Hyper &h, int64_t n, bool decay, float *p, const float *g,
                 float *m, float *v) {
  sendScalars(ctx, h);
  updateRanges<AdamW>(ctx, {{0, 0, 0, n, decay, -1}}, {p, g, m, v});
}

void beginStep(Context &ctx) { sendScalars(ctx, ctx.hyper); }

void endStep(Context &ctx) {
  startNorm(ctx);
  const auto ranges = trainedRanges(ctx, ctx.hyper.decayMatricesOnly);
  const Blocks blocks = blocksOf(ctx);
  if (ctx.program->optimizer == OptimizerKind::sgd)
    updateRanges<SGD>(ctx, ranges, blocks);
  else
    updateRanges<AdamW>(ctx, ranges, blocks);
  balanceBiases(ctx);
  if (ctx.comm)
    gatherPieces(ctx);
}

double globalNorm(Context &ctx) {
  beginStep(ctx);
  startNorm(ctx);
  StepOutcome outcome;
  download(ctx, &outcome, ctx.outcome.data(), sizeof outcome);
  return outcome.norm;
}

std::vector<GroupNorms> updateNorms(Context &ctx) {
  const Blocks blocks = blocksOf(ctx);
  const auto *scalars = ctx.scalars.as<Scalars>();
  return groupNorms(ctx,
                    ctx.program->optimizer == OptimizerKind::sgd
                        ? squaresOf(ctx, OfSGDSteps{blocks, scalars})
                        : squaresOf(ctx, OfAdamWSteps{blocks, scalars}),
                    squaresOf(ctx, OfValues{ctx.param(0)}));
}

double clipFactor(double norm, double maxNorm) { return std::min(1.0, maxNorm / (norm + 1e-6)); }

} // namespace moire::rt
