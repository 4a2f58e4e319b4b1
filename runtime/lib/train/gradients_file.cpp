//===- gradients_file.cpp - The gradients of a step as a file -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/gradients_file.h"
#include "moire/rt/device.h"
#include "moire/rt/pieces.h"
#include "moire/rt/pipeline.h"
#include "train/safetensors.h"
#include "train/shards.h"
#include "train/weights.h"

#include <algorithm>

namespace moire::rt {

/// Whether the file has the parameter.
static bool writes(const ParameterInfo &p) { return p.trainable && p.balanceRate == 0; }

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

/// With a pipeline: rank 0 gets the gradients that the first holders of pp have. values: by
/// the parameter's number, on the ranks whose other coordinates are 0.
static void gatherStages(Comm &comm, const PipelineInfo &pipeline,
                         const std::vector<const ParameterInfo *> &all,
                         std::vector<std::vector<float>> &values) {
  const std::vector<int> roots = comm.mesh.group(0, comm.mesh.axesNamed("pp")).members;
  for (int64_t r = 1; r < pipeline.numRanks; ++r)
    for (const ParameterInfo *p : all) {
      const ParameterInfo *table = pipeline.ranks[r].parameters;
      if (!writes(*p) || p < table || p >= table + pipeline.ranks[r].numParameters)
        continue;
      std::vector<float> &v = values[p->index];
      if (comm.rank() == 0)
        v.resize(Part::ofRank(*p, Mesh(), 0).wholeElements());
      const std::vector<Piece> pieces = {{v.data(), int64_t(v.size() * sizeof(float))}};
      if (comm.rank() == 0)
        comm.exchange("gather of gradients", {}, {{roots[r], pieces}});
      else if (comm.rank() == roots[r])
        comm.exchange("gather of gradients", {{0, pieces}}, {});
    }
}

void writeGradients(Context &ctx, const std::string &path) {
  const Program &p = *ctx.program;
  const HostCopy grads(ctx, ctx.grads, /*read=*/true);
  const std::string prefix = commonPrefix(p);
  const std::vector<const ParameterInfo *> all = allParameters(p);
  // By the parameter's number: values where they lie, or put together.
  std::vector<const float *> values(all.size());
  std::vector<std::vector<float>> gathered(all.size());
  for (int64_t i = 0; i < p.numParameters; ++i) {
    const ParameterInfo &param = p.parameters[i];
    if (!writes(param) || !param.counted)
      continue;
    const int64_t number = p.pipeline ? param.index : i;
    const float *from =
        grads.as<float>() + (param.gradOffset < 0 ? param.offset : param.gradOffset);
    std::vector<float> &own = gathered[number];
    if (ctx.comm && param.zero) {
      own = gatherDivided(ctx, param, grads.as<float>());
      from = own.data();
    }
    if (ctx.comm && param.shardGroup >= 0)
      own = gatherShards(*ctx.comm, param, from);
    else if (p.pipeline && own.empty())
      own.assign(from, from + shardElements(param));
    values[number] = own.empty() ? from : own.data();
  }
  if (p.pipeline && ctx.comm)
    gatherStages(*ctx.comm, *p.pipeline, all, gathered);
  if (ctx.comm && ctx.comm->rank() > 0)
    return;
  std::vector<NamedTensor> tensors;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!writes(*all[i]))
      continue;
    tensors.push_back({savedName(*all[i], prefix), globalShape(*all[i]),
                       gathered[i].empty() ? values[i] : gathered[i].data()});
  }
  writeSafetensors(path, tensors);
}

} // namespace moire::rt
