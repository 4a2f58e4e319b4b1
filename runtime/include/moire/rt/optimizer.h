//===- optimizer.h - Parameter updates ------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_OPTIMIZER_H
#define MOIRE_RT_OPTIMIZER_H

#include "moire/rt/context.h"

namespace moire::rt {

/// torch.optim.SGD: g += wd · p; with momentum mu: buf = g at the first step,
/// buf = mu · buf + g later, g = buf; p -= lr · g. n elements. buf is not used
/// where momentum is 0.
void updateSGD(Context &ctx, const Hyper &h, int64_t n, bool decay, float *p,
               const float *g, float *buf);

/// torch.optim.AdamW: p *= 1 - lr · wd; m = b1 m + (1 - b1) g;
/// v = b2 v + (1 - b2) g²; p -= lr / (1 - b1^t) · m / (sqrt(v) /
/// sqrt(1 - b2^t) + eps).
void updateAdamW(Context &ctx, const Hyper &h, int64_t n, bool decay, float *p,
                 const float *g, float *m, float *v);

/// Whether the step trains the parameter.
inline bool isUpdated(const Context &ctx, const ParameterInfo &p) {
  return p.trainable && (p.updateGroup < 0 || (ctx.updates >> p.updateGroup & 1));
}
/// Which of its updates the step is, 1 the first: of AdamW's corrections and SGD's first momentum.
inline int64_t updateNumber(const Context &ctx, int updateGroup) {
  return updateGroup < 0 || ctx.groupSteps.empty() ? ctx.hyper.step : ctx.groupSteps[updateGroup];
}

/// Hands ctx.hyper, ctx.updates and ctx.groupSteps to the step that follows: to be called before
/// its first micro-batch. What changes from step to step lies in device memory, so that a
/// step captured once can be replayed.
void beginStep(Context &ctx);

/// The end of a step: the norm of the gradients, the clipping factor of
/// ctx.hyper.maxNorm and the update of every parameter that the step trains by the program's
/// optimizer. Where loss or norm are not finite, nothing is updated. Does not
/// wait; ctx.outcome then holds loss and norm.
void endStep(Context &ctx);

/// ‖g‖₂ over all parameters that the step trains: per-tensor partial sums of squares in
/// double over fixed pieces, added in parameter order.
double globalNorm(Context &ctx);

/// Of the parameters of an update group, on all ranks: the Euclidean norm of what the step added
/// to them, weight decay left out, and their own.
struct GroupNorms {
  double update = 0, value = 0;
};
/// By Program::updateGroups, by all ranks together after endStep(): 0 for those that rested.
std::vector<GroupNorms> updateNorms(Context &ctx);

/// The factor of torch.nn.utils.clip_grad_norm_: min(1, maxNorm / (norm + 1e-6)).
double clipFactor(double norm, double maxNorm);

} // namespace moire::rt

#endif // MOIRE_RT_OPTIMIZER_H
