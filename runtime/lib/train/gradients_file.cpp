//===- gradients_file.cpp - The gradients of a step as a file -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/gradients_file.h"
#include "moire/rt/device.h"
#include "moire/rt/optimizer.h"
#include "moire/rt/pipeline.h"
#include "train/safetensors.h"
#include "train/shards.h"
#include "train/weights.h"
#include "train/whole_parameters.h"

namespace moire::rt {

void writeGradients(Context &ctx, const std::string &path) {
  const Program &p = *ctx.program;
  const HostCopy grads(ctx, ctx.grads, /*read=*/true);
  const std::string prefix = commonPrefix(p);
  const auto writes = [&](const ParameterInfo &of) {
    return isUpdated(ctx, of) && of.balanceRate == 0;
  };
  const std::vector<const ParameterInfo *> all = allParameters(p);
  std::vector<std::vector<float>> values(all.size());
  gatherParameters(ctx, OfParameters::gradients, grads.as<float>(), writes,
                   [&](size_t number, const float *whole) {
                     const int64_t n = Part::ofRank(*all[number], Mesh(), 0).elements();
                     values[number].assign(whole, whole + n);
                   });
  if (ctx.comm && ctx.comm->rank() > 0)
    return;
  std::vector<NamedTensor> tensors;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!writes(*all[i]))
      continue;
    tensors.push_back({savedName(*all[i], prefix), globalShape(*all[i]), values[i].data()});
  }
  writeSafetensors(path, tensors);
}

} // namespace moire::rt
