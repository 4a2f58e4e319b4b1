//===- optimizer.cpp - Parameter updates ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/optimizer.h"
#include "moire/rt/parallel.h"

#include <cmath>
#include <vector>

namespace moire::rt {

void updateSGD(Context &ctx, const Hyper &h, int64_t n, bool decay, float *p,
               const float *g, float *buf) {
  const float lr = static_cast<float>(h.lr), mu = static_cast<float>(h.momentum);
  const float wd = decay ? static_cast<float>(h.weightDecay) : 0.0f;
  const float scale = static_cast<float>(h.gradScale);
  const bool first = h.step == 1;
  parallelFor(ctx, n, kElementwiseGrain, [&](int64_t begin, int64_t end) {
    if (h.momentum == 0) {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i)
        p[i] -= lr * (g[i] * scale + wd * p[i]);
      return;
    }
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
      float d = g[i] * scale + wd * p[i];
      float b = first ? d : mu * buf[i] + d;
      buf[i] = b;
      p[i] -= lr * b;
    }
  });
}

void updateAdamW(Context &ctx, const Hyper &h, int64_t n, bool decay, float *p,
                 const float *g, float *m, float *v) {
  // Scalars are computed in double and rounded once, as PyTorch does.
  const double correction1 = 1 - std::pow(h.beta1, double(h.step));
  const double correction2 = 1 - std::pow(h.beta2, double(h.step));
  const float keep = static_cast<float>(1 - h.lr * (decay ? h.weightDecay : 0));
  const float b1 = static_cast<float>(1 - h.beta1);
  const float b2 = static_cast<float>(h.beta2);
  const float c2 = static_cast<float>(1 - h.beta2);
  const float rate = static_cast<float>(h.lr / correction1);
  const float root = static_cast<float>(std::sqrt(correction2));
  const float eps = static_cast<float>(h.eps);
  const float scale = static_cast<float>(h.gradScale);
  parallelFor(ctx, n, kElementwiseGrain, [&](int64_t begin, int64_t end) {
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
      const float d = g[i] * scale;
      const float mi = m[i] + b1 * (d - m[i]);
      const float vi = v[i] * b2 + c2 * d * d;
      m[i] = mi;
      v[i] = vi;
      p[i] = p[i] * keep - rate * (mi / (__builtin_sqrtf(vi) / root + eps));
    }
  });
}

namespace {
int64_t elements(const ParameterInfo &p) {
  int64_t n = 1;
  for (int64_t i = 0; i < p.rank; ++i)
    n *= p.shape[i];
  return n;
}
} // namespace

void update(Context &ctx, int64_t index) {
  const ParameterInfo &p = ctx.program->parameters[index];
  const bool decay = !ctx.hyper.decayMatricesOnly || p.rank >= 2;
  float *value = ctx.param(p.offset), *grad = ctx.grad(p.offset);
  float *m = ctx.m.size() ? ctx.m.as<float>() + p.offset : nullptr;
  if (ctx.program->optimizer == OptimizerKind::sgd)
    updateSGD(ctx, ctx.hyper, elements(p), decay, value, grad, m);
  else
    updateAdamW(ctx, ctx.hyper, elements(p), decay, value, grad, m,
                ctx.v.as<float>() + p.offset);
}

double globalNorm(Context &ctx) {
  constexpr int64_t kPiece = 65536;
  struct Piece {
    const float *g;
    int64_t n, tensor;
  };
  std::vector<Piece> pieces;
  const Program &program = *ctx.program;
  for (int64_t t = 0; t < program.numParameters; ++t) {
    const ParameterInfo &p = program.parameters[t];
    if (!p.trainable)
      continue;
    for (int64_t i = 0, n = elements(p); i < n; i += kPiece)
      pieces.push_back({ctx.grad(p.offset + i), std::min(kPiece, n - i), t});
  }
  std::vector<double> partial(pieces.size());
  parallelTasks(ctx, pieces.size(), [&](int64_t i) {
    // Eight running sums, so that it vectorises in a fixed order.
    double s[8] = {0};
    const float *g = pieces[i].g;
    int64_t n = pieces[i].n, j = 0;
    for (; j + 8 <= n; j += 8)
      for (int l = 0; l < 8; ++l)
        s[l] += double(g[j + l]) * g[j + l];
    for (; j < n; ++j)
      s[0] += double(g[j]) * g[j];
    partial[i] = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
  });
  double total = 0, tensor = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    tensor += partial[i];
    if (i + 1 == pieces.size() || pieces[i + 1].tensor != pieces[i].tensor) {
      total += tensor;
      tensor = 0;
    }
  }
  return std::sqrt(total);
}

double clipFactor(double norm, double maxNorm) {
  return std::min(1.0, maxNorm / (norm + 1e-6));
}

} // namespace moire::rt
