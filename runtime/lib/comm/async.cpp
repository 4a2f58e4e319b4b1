//===- async.cpp - Jobs of collectives by their numbers -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/collectives.h"
#include "moire/rt/comm.h"

namespace moire::rt {

void startAsync(Context &ctx, int number, void (*job)(Context &)) {
  if (!ctx.comm)
    return job(ctx);
  if (size_t(number) >= ctx.asyncs.size())
    ctx.asyncs.resize(number + 1);
  ctx.asyncs[number] = startBeside(ctx, [&ctx, job] { job(ctx); });
}

void waitAsync(Context &ctx, int number) {
  if (ctx.comm)
    waitBeside(ctx, ctx.asyncs[number]);
}

} // namespace moire::rt
