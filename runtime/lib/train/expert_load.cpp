//===- expert_load.cpp - How full experts were ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/expert_load.h"
#include "moire/rt/device.h"

#include <algorithm>
#include <numeric>

namespace moire::rt {

double RouterLoad::maxOverMean() const {
  const int64_t sum = std::accumulate(tokens.begin(), tokens.end(), int64_t(0));
  if (sum == 0)
    return 0;
  return double(*std::max_element(tokens.begin(), tokens.end())) * double(tokens.size()) /
         double(sum);
}

ExpertLoad::ExpertLoad(Context &ctx) : ctx(ctx), pairs(ctx.program->numRouters) {
  const RouterInfo &last = ctx.program->routers[ctx.program->numRouters - 1];
  ctx.loads = DeviceBlock((last.offset + last.experts) * int64_t(sizeof(int64_t)));
}

void ExpertLoad::endStep(int64_t microBatches) {
  for (int64_t i = 0; i < ctx.program->numRouters; ++i)
    pairs[i] += microBatches * ctx.program->routers[i].pairs;
}

std::vector<RouterLoad> ExpertLoad::take() {
  std::vector<int64_t> own(ctx.loads.size() / int64_t(sizeof(int64_t)));
  download(ctx, own.data(), ctx.loads.data(), ctx.loads.size());
  upload(ctx, ctx.loads.data(), std::vector<int64_t>(own.size()).data(), ctx.loads.size());
  std::vector<double> sums(own.begin(), own.end());
  if (Comm *comm = ctx.comm) {
    // Ranks of tp have the same tokens: one of them counts.
    std::vector<double> mine = sums;
    if (comm->groupOver("tp").index > 0)
      std::fill(mine.begin(), mine.end(), 0);
    comm->allReduce(comm->groupOver("pp,dp,ep,tp"), "the experts' loads", mine.data(), sums.data(),
                    int64_t(sums.size()), Reduction::sum);
  }
  std::vector<RouterLoad> routers;
  for (int64_t i = 0; i < ctx.program->numRouters; ++i) {
    const RouterInfo &info = ctx.program->routers[i];
    RouterLoad load{info.name, {}, pairs[i]};
    for (int64_t e = 0; e < info.experts; ++e) {
      load.tokens.push_back(int64_t(sums[info.offset + e]));
      load.dropped -= load.tokens.back();
    }
    routers.push_back(std::move(load));
  }
  std::fill(pairs.begin(), pairs.end(), 0);
  return routers;
}

void ExpertLoad::mark() {
  marked.resize(ctx.loads.size() / int64_t(sizeof(int64_t)));
  download(ctx, marked.data(), ctx.loads.data(), ctx.loads.size());
}

void ExpertLoad::backToMark() { upload(ctx, ctx.loads.data(), marked.data(), ctx.loads.size()); }

} // namespace moire::rt
