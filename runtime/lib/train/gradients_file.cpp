//===- gradients_file.cpp - The gradients of a step as a file -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/gradients_file.h"
#include "moire/rt/device.h"
#include "moire/rt/pieces.h"
#include "train/safetensors.h"
#include "train/shards.h"
#include "train/weights.h"

#include <algorithm>

namespace moire::rt {

/// The logical parameter's gradient, on the first member of its group of shards.
static std::vector<float> gatherShards(Comm &comm, const ParameterInfo &p, const float *grad) {
  const Group &group = comm.group(p.shardGroup);
  std::vector<Part> parts;
  std::vector<int64_t> sizes;
  int64_t all = 0;
  for (int member : group.members) {
    parts.push_back(Part::ofRank(p, comm.mesh, member));
    sizes.push_back(parts.back().elements() * int64_t(sizeof(float)));
    all += parts.back().elements();
  }
  const bool root = group.index == 0;
  std::vector<float> shards(root ? all : 0), whole(root ? parts[0].wholeElements() : 0);
  comm.gather(group, "gather of gradients", grad, shards.data(), sizes);
  const float *from = shards.data();
  for (const Part &part : parts) {
    if (!root)
      break;
    eachPiece(part, [&](int64_t at, int64_t to, int64_t count) {
      std::copy_n(from + at, count, whole.data() + to);
    });
    from += part.elements();
  }
  return whole;
}

/// A divided parameter's gradient of the whole shard, on the first member of its group.
static std::vector<float> gatherDivided(const Context &ctx, const ParameterInfo &p,
                                        const float *grads) {
  const Group &group = ctx.comm->group(p.reduceGroup);
  const int64_t n = shardElements(p);
  std::vector<int64_t> sizes;
  for (int m = 0; m < group.size(); ++m)
    sizes.push_back(ownedBy(m, n, group.size()).size() * int64_t(sizeof(float)));
  std::vector<float> shard(n);
  ctx.comm->gather(group, "gather of gradients", grads + ownedGradAt(p, owned(ctx, p)),
                   shard.data(), sizes);
  return shard;
}

void writeGradients(Context &ctx, const std::string &path) {
  const Program &p = *ctx.program;
  const HostCopy grads(ctx, ctx.grads, /*read=*/true);
  const std::string prefix = commonPrefix(p);
  std::vector<NamedTensor> tensors;
  std::vector<std::vector<float>> gathered;
  for (int64_t i = 0; i < p.numParameters; ++i) {
    const ParameterInfo &param = p.parameters[i];
    if (!param.trainable || param.balanceRate > 0)
      continue;
    std::string name = param.torchName;
    if (name.compare(0, prefix.size(), prefix) == 0)
      name = name.substr(prefix.size());
    const float *values =
        grads.as<float>() + (param.gradOffset < 0 ? param.offset : param.gradOffset);
    if (ctx.comm && param.zero) {
      gathered.push_back(gatherDivided(ctx, param, grads.as<float>()));
      values = gathered.back().data();
    }
    if (ctx.comm && param.shardGroup >= 0) {
      gathered.push_back(gatherShards(*ctx.comm, param, values));
      values = gathered.back().data();
    }
    tensors.push_back({name, globalShape(param), values});
  }
  if (!ctx.comm || ctx.comm->rank() == 0)
    writeSafetensors(path, tensors);
}

} // namespace moire::rt
