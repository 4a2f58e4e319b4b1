//===- whole_parameters.cpp - Logical parameters put together -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
//   pieces of a shard --> the first of the ranks that divide it
//   shards            --> the first rank of the stage that holds the parameter first
//   that one          --> rank 0
//
//===----------------------------------------------------------------------===//

#include "train/whole_parameters.h"
#include "moire/rt/pieces.h"
#include "moire/rt/pipeline.h"
#include "train/shards.h"

#include <algorithm>

namespace moire::rt {

namespace {
class Gathering {
public:
  Gathering(Context &ctx, OfParameters what, const float *block)
      : ctx(ctx), p(*ctx.program), comm(*ctx.comm), block(block), values(what == OfParameters::values),
        name(values ? "gather of weights" : "gather of gradients") {}

  /// The whole parameter on rank 0; elsewhere nothing that is of use.
  std::vector<float> whole(const ParameterInfo &param) {
    const int64_t stage = stageOf(param);
    const int root = comm.mesh.group(0, comm.mesh.axesNamed("pp")).members[stage];
    std::vector<float> all;
    if (comm.groupOver("pp").index == stage)
      all = ofStage(param, root);
    if (root == 0)
      return all;
    if (comm.rank() == 0)
      all.resize(Part::ofRank(param, Mesh(), 0).wholeElements());
    const std::vector<Piece> pieces = {{all.data(), int64_t(all.size() * sizeof(float))}};
    if (comm.rank() == 0)
      comm.exchange(name, {}, {{root, pieces}});
    else if (comm.rank() == root)
      comm.exchange(name, {{0, pieces}}, {});
    return all;
  }

private:
  /// The coordinate of pp whose table has the parameter.
  int64_t stageOf(const ParameterInfo &param) const {
    for (int64_t r = 0; p.pipeline && r < p.pipeline->numRanks; ++r) {
      const PipelineRankInfo &rank = p.pipeline->ranks[r];
      if (&param >= rank.parameters && &param < rank.parameters + rank.numParameters)
        return r;
    }
    return 0;
  }

  /// The ranks that differ from `rank` in the axes of a group; -1: it alone.
  std::vector<int> membersAround(int rank, int group) const {
    if (group < 0)
      return {rank};
    const GroupInfo &info = p.groups[group];
    return comm.mesh.group(rank, {info.axes, info.axes + info.numAxes}).members;
  }

  /// The whole parameter on `root`. Of ranks that hold the same values one group takes part.
  std::vector<float> ofStage(const ParameterInfo &param, int root) {
    const std::vector<int> holders = membersAround(root, param.shardGroup);
    const bool divided = param.zero >= (values ? 3 : 1);
    const int first = divided ? comm.group(param.reduceGroup).members[0] : comm.rank();
    if (std::find(holders.begin(), holders.end(), first) == holders.end())
      return {};
    std::vector<float> shard;
    if (divided) {
      shard = gatherPieces(param);
    } else {
      const float *from = block + placeOf(param);
      shard.assign(from, from + shardElements(param));
    }
    return comm.rank() != first || holders.size() == 1 ? shard : gatherShards(param, shard);
  }

  int64_t placeOf(const ParameterInfo &param) const {
    return values || param.gradOffset < 0 ? param.offset : param.gradOffset;
  }

  /// A divided shard, on the first member of its group.
  std::vector<float> gatherPieces(const ParameterInfo &param) {
    const Group &group = comm.group(param.reduceGroup);
    const int64_t n = shardElements(param);
    std::vector<int64_t> sizes;
    for (int m = 0; m < group.size(); ++m)
      sizes.push_back(ownedBy(m, n, group.size()).size() * int64_t(sizeof(float)));
    std::vector<float> shard(group.index == 0 ? n : 0);
    const Owned own = owned(ctx, param);
    comm.gather(group, name, block + (values ? ownedValueAt(param, own) : ownedGradAt(param, own)),
                shard.data(), sizes);
    return shard;
  }

  /// The parameter, on the first member of its group of shards.
  std::vector<float> gatherShards(const ParameterInfo &param, const std::vector<float> &own) {
    const Group &group = comm.group(param.shardGroup);
    std::vector<Part> parts;
    std::vector<int64_t> sizes;
    int64_t all = 0;
    for (int member : group.members) {
      parts.push_back(Part::ofRank(param, comm.mesh, member));
      sizes.push_back(parts.back().elements() * int64_t(sizeof(float)));
      all += parts.back().elements();
    }
    const bool root = group.index == 0;
    std::vector<float> shards(root ? all : 0), whole(root ? parts[0].wholeElements() : 0);
    comm.gather(group, name, own.data(), shards.data(), sizes);
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

  Context &ctx;
  const Program &p;
  Comm &comm;
  const float *block;
  const bool values;
  const char *const name;
};
} // namespace

void gatherParameters(Context &ctx, OfParameters what, const float *block,
                      const std::function<bool(const ParameterInfo &)> &wanted,
                      const std::function<void(size_t number, const float *values)> &use) {
  const std::vector<const ParameterInfo *> all = allParameters(*ctx.program);
  for (size_t i = 0; i < all.size(); ++i) {
    const ParameterInfo &p = *all[i];
    if (!wanted(p))
      continue;
    if (!ctx.comm) {
      use(i, block + (what == OfParameters::values || p.gradOffset < 0 ? p.offset : p.gradOffset));
      continue;
    }
    const std::vector<float> whole = Gathering(ctx, what, block).whole(p);
    if (ctx.comm->rank() == 0)
      use(i, whole.data());
  }
}

} // namespace moire::rt
