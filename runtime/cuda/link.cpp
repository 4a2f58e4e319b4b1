//===- link.cpp - Which way device memory goes to other ranks -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/link.h"
#include "moire/rt/comm.h"
#include "moire/rt/device.h"

#include <algorithm>
#include <array>
#include <set>

namespace moire::rt {

namespace {
#if defined(MOIRE_CUDA_MODEL) || defined(MOIRE_NCCL)
constexpr bool kHasNccl = true;
#else
constexpr bool kHasNccl = false;
#endif

/// Whether no two ranks share a GPU, which NCCL refuses.
bool eachHasItsOwn(Context &ctx) {
  using Identity = std::array<char, 16>;
  Identity own = {};
  const std::string identity = gpuIdentity(ctx);
  std::copy_n(identity.begin(), std::min(identity.size(), own.size()), own.begin());
  const Group all = ctx.comm->groupOver("pp,dp,ep,tp");
  std::vector<Identity> gpus(all.size());
  ctx.comm->allGather(all, "the ranks' GPUs", &own, gpus.data(), 1, sizeof own);
  return std::set<Identity>(gpus.begin(), gpus.end()).size() == gpus.size();
}
} // namespace

void checkLink(GpuLink wish) {
  if (wish == GpuLink::nccl && !kHasNccl)
    throw InputError("--gpu-link is nccl, but the runtime was built without nccl.h; install NCCL "
                     "and build it again, or use --gpu-link host");
}

Connected connectDevices(Context &ctx, GpuLink wish) {
  const bool can = kHasNccl && ctx.program && ctx.program->connect && wish != GpuLink::host;
  if (can && (wish == GpuLink::nccl || eachHasItsOwn(ctx)))
    ctx.link = ctx.program->connect(ctx);
  else
    ctx.link = linkThroughHost();
  return {ctx.link->describe(), !ctx.link->runsBehind()};
}

} // namespace moire::rt
