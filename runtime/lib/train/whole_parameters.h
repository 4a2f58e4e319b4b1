//===- whole_parameters.h - Logical parameters put together ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_WHOLE_PARAMETERS_H
#define MOIRE_RT_WHOLE_PARAMETERS_H

#include "moire/rt/context.h"

#include <functional>

namespace moire::rt {

enum class OfParameters { values, gradients };

/// By all ranks at the same time, at the end of a step: puts one parameter after another
/// together on rank 0, from the shards of ranks, pieces of them and stages, and gives it to
/// `use` there: its number in allParameters() and its elements, of the global shape. What one
/// parameter takes is free again before the next. block: ctx.params or ctx.grads on the host.
/// wanted: asked on all ranks, with the same answer.
void gatherParameters(Context &ctx, OfParameters what, const float *block,
                      const std::function<bool(const ParameterInfo &)> &wanted,
                      const std::function<void(size_t number, const float *values)> &use);

} // namespace moire::rt

#endif // MOIRE_RT_WHOLE_PARAMETERS_H
