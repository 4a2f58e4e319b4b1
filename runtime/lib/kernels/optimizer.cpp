//===- optimizer.cpp - Parameter updates ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/optimizer.h"
#include "moire/rt/gradients.h"
#include "moire/rt/parallel.h"
#include "moire/rt/pieces.h"

#include <cmath>
#include <utility>
#include <vector>

namespace moire::rt {

namespace {
// Scalars by value in structs and loops of their own: captured by a lambda they
// could alias the stores, and the loops would not vectorise (4 ns an element
// instead of 0.5).
struct SGDScalars {
  float lr, mu, wd, scale;
  bool first;
};
void sgdRange(SGDScalars s, int64_t n, float *__restrict p,
              const float *__restrict g) {
  for (int64_t i = 0; i < n; ++i)
    p[i] -= s.lr * (g[i] * s.scale + s.wd * p[i]);
}
void momentumRange(SGDScalars s, int64_t n, float *__restrict p,
                   const float *__restrict g, float *__restrict buf) {
  for (int64_t i = 0; i < n; ++i) {
    const float d = g[i] * s.scale + s.wd * p[i];
    const float b = s.first ? d : s.mu * buf[i] + d;
    buf[i] = b;
    p[i] -= s.lr * b;
  }
}

struct AdamWScalars {
  float keep, b1, b2, c2, rate, root, eps, scale;
};
void adamwRange(AdamWScalars s, int64_t n, float *__restrict p,
                const float *__restrict g, float *__restrict m,
                float *__restrict v) {
  for (int64_t i = 0; i < n; ++i) {
    const float d = g[i] * s.scale;
    const float mi = m[i] + s.b1 * (d - m[i]);
    const float vi = v[i] * s.b2 + s.c2 * d * d;
    m[i] = mi;
    v[i] = vi;
    p[i] = p[i] * s.keep - s.rate * (mi / (__builtin_sqrtf(vi) / s.root + s.eps));
  }
}

/// Computed in double and rounded once, as PyTorch does.
AdamWScalars adamwScalars(const Hyper &h, bool decay) {
  const double correction1 = 1 - std::pow(h.beta1, double(h.step));
  const double correction2 = 1 - std::pow(h.beta2, double(h.step));
  AdamWScalars s;
  s.keep = float(1 - h.lr * (decay ? h.weightDecay : 0));
  s.b1 = float(1 - h.beta1);
  s.b2 = float(h.beta2);
  s.c2 = float(1 - h.beta2);
  s.rate = float(h.lr / correction1);
  s.root = float(std::sqrt(correction2));
  s.eps = float(h.eps);
  s.scale = float(h.gradScale);
  return s;
}
} // namespace

void updateSGD(Context &ctx, const Hyper &h, int64_t n, bool decay, float *p,
               const float *g, float *buf) {
  const SGDScalars s = {float(h.lr), float(h.momentum),
                        decay ? float(h.weightDecay) : 0.0f, float(h.gradScale),
                        h.step == 1};
  parallelFor(ctx, n, kElementwiseGrain, [&](int64_t begin, int64_t end) {
    if (h.momentum == 0)
      sgdRange(s, end - begin, p + begin, g + begin);
    else
      momentumRange(s, end - begin, p + begin, g + begin, buf + begin);
  });
}

void updateAdamW(Context &ctx, const Hyper &h, int64_t n, bool decay, float *p,
                 const float *g, float *m, float *v) {
  const AdamWScalars s = adamwScalars(h, decay);
  parallelFor(ctx, n, kElementwiseGrain, [&](int64_t begin, int64_t end) {
    adamwRange(s, end - begin, p + begin, g + begin, m + begin, v + begin);
  });
}

/// Down where the load was more than the mean, up where it was less.
static void balance(float rate, int64_t n, float *p, const float *excess) {
  for (int64_t i = 0; i < n; ++i)
    p[i] -= excess[i] > 0 ? rate : excess[i] < 0 ? -rate : 0.0f;
}

static void update(Context &ctx, const ParameterInfo &p) {
  Hyper h = ctx.hyper;
  h.step = updateNumber(ctx, p.updateGroup);
  const bool decay = !h.decayMatricesOnly || p.rank >= 2;
  const Owned mine = owned(ctx, p);
  float *value = ctx.param(ownedValueAt(p, mine)), *grad = ctx.grad(ownedGradAt(p, mine));
  if (p.balanceRate > 0)
    return balance(p.balanceRate, mine.size(), value, grad);
  float *m = ctx.m.size() ? ctx.m.as<float>() + ownedStateAt(p) : nullptr;
  if (ctx.program->optimizer == OptimizerKind::sgd)
    updateSGD(ctx, h, mine.size(), decay, value, grad, m);
  else
    updateAdamW(ctx, h, mine.size(), decay, value, grad, m, ctx.v.as<float>() + ownedStateAt(p));
}

static void updateAll(Context &ctx) {
  for (int64_t i = 0; i < ctx.program->numParameters; ++i)
    if (isUpdated(ctx, ctx.program->parameters[i]))
      update(ctx, ctx.program->parameters[i]);
}

/// Whether the norm counts it, in which routers' biases and copies do not.
static bool isCounted(const Context &ctx, const ParameterInfo &p) {
  return isUpdated(ctx, p) && !(p.balanceRate > 0) && p.counted;
}

/// By parameter, Σ term(i)² over what this rank owns of it: of those that count the sums over
/// fixed pieces in double, added in order. termOf(parameter, owned) gives its term.
template <typename TermOf> static std::vector<double> squaresOf(Context &ctx, TermOf termOf) {
  constexpr int64_t kPiece = 65536;
  using Term = decltype(termOf(std::declval<const ParameterInfo &>(), Owned()));
  struct Piece {
    Term term;
    int64_t begin, end, tensor;
  };
  std::vector<Piece> pieces;
  const Program &program = *ctx.program;
  for (int64_t t = 0; t < program.numParameters; ++t) {
    const ParameterInfo &p = program.parameters[t];
    if (!isCounted(ctx, p))
      continue;
    const Owned mine = owned(ctx, p);
    const Term term = termOf(p, mine);
    for (int64_t i = 0, n = mine.size(); i < n; i += kPiece)
      pieces.push_back({term, i, std::min(i + kPiece, n), t});
  }
  std::vector<double> partial(pieces.size());
  parallelTasks(ctx, pieces.size(), [&](int64_t i) {
    // Eight running sums, so that it vectorises in a fixed order.
    double s[8] = {0};
    const Term term = pieces[i].term;
    const int64_t end = pieces[i].end;
    int64_t j = pieces[i].begin;
    for (; j + 8 <= end; j += 8)
      for (int l = 0; l < 8; ++l)
        s[l] += double(term(j + l)) * term(j + l);
    for (; j < end; ++j)
      s[0] += double(term(j)) * term(j);
    partial[i] = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
  });
  std::vector<double> squares(program.numParameters);
  for (size_t i = 0; i < pieces.size(); ++i)
    squares[pieces[i].tensor] += partial[i];
  return squares;
}

namespace {
/// x[i] · by
struct Scaled {
  const float *x;
  float by;
  float operator()(int64_t i) const { return x[i] * by; }
};
/// What AdamW has taken from a parameter.
struct AdamWStep {
  const float *m, *v;
  AdamWScalars s;
  float operator()(int64_t i) const {
    return s.rate * (m[i] / (__builtin_sqrtf(v[i]) / s.root + s.eps));
  }
};
} // namespace

double globalNorm(Context &ctx) {
  std::vector<double> squares = squaresOf(ctx, [&](const ParameterInfo &p, const Owned &mine) {
    return Scaled{ctx.grad(ownedGradAt(p, mine)), 1};
  });
  if (ctx.comm)
    sumShards(ctx, squares.data());
  return std::sqrt(sumStages(ctx, squares));
}

static std::vector<double> updateSquares(Context &ctx) {
  const Hyper &h = ctx.hyper;
  if (ctx.program->optimizer == OptimizerKind::sgd)
    return squaresOf(ctx, [&](const ParameterInfo &p, const Owned &mine) {
      if (h.momentum != 0)
        return Scaled{ctx.m.as<float>() + ownedStateAt(p), float(h.lr)};
      return Scaled{ctx.grad(ownedGradAt(p, mine)), float(h.lr * h.gradScale)};
    });
  return squaresOf(ctx, [&](const ParameterInfo &p, const Owned &) {
    Hyper own = h;
    own.step = updateNumber(ctx, p.updateGroup);
    return AdamWStep{ctx.m.as<float>() + ownedStateAt(p), ctx.v.as<float>() + ownedStateAt(p),
                     adamwScalars(own, false)};
  });
}

std::vector<GroupNorms> updateNorms(Context &ctx) {
  return groupNorms(ctx, updateSquares(ctx),
                    squaresOf(ctx, [&](const ParameterInfo &p, const Owned &mine) {
                      return Scaled{ctx.param(ownedValueAt(p, mine)), 1};
                    }));
}

void beginStep(Context &) {}

void endStep(Context &ctx) {
  StepOutcome &outcome = *ctx.outcome.as<StepOutcome>();
  outcome.norm = globalNorm(ctx);
  if (!std::isfinite(outcome.loss) || !std::isfinite(outcome.norm))
    return;
  Hyper &h = ctx.hyper;
  h.gradScale = h.maxNorm > 0 ? clipFactor(outcome.norm, h.maxNorm) : 1;
  updateAll(ctx);
  if (ctx.comm)
    gatherPieces(ctx);
}

double clipFactor(double norm, double maxNorm) {
  return std::min(1.0, maxNorm / (norm + 1e-6));
}

} // namespace moire::rt
