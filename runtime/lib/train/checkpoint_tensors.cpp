//===- checkpoint_tensors.cpp - Which tensors are in which file -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/checkpoint_tensors.h"
#include "moire/rt/pipeline.h"
#include "train/weights.h"

#include <algorithm>

namespace moire::rt {

bool CheckpointFile::holds(const ParameterInfo &p) const {
  return !state || (p.trainable && p.balanceRate == 0);
}

std::vector<CheckpointFile> checkpointFiles(const Context &ctx) {
  const Program &program = *ctx.program;
  const std::string prefix = commonPrefix(program);
  std::vector<CheckpointFile> files;
  auto add = [&](const char *name, const DeviceBlock &block, bool state) {
    CheckpointFile file = {name, &block, state, SafetensorsLayout({}), {}};
    std::vector<std::pair<std::string, std::vector<int64_t>>> shapes;
    std::vector<std::string> names;
    for (const ParameterInfo *p : allParameters(program))
      if (file.holds(*p)) {
        shapes.emplace_back(savedName(*p, prefix), globalShape(*p));
        names.push_back(p->torchName);
      }
    file.layout = SafetensorsLayout(shapes);
    for (size_t i = 0; i < names.size(); ++i)
      file.places[names[i]] = file.layout.places[i];
    files.push_back(std::move(file));
  };
  add(kWeightsName, ctx.params, false);
  if (program.optimizer == OptimizerKind::adamw) {
    add("exp_avg.safetensors", ctx.m, true);
    add("exp_avg_sq.safetensors", ctx.v, true);
  } else if (ctx.m.size()) {
    add("momentum_buffer.safetensors", ctx.m, true);
  }
  return files;
}

/// Whether the ranks of reduceGroup each have a piece of it.
static bool isDivided(const CheckpointFile &file, const ParameterInfo &p) {
  return p.zero >= (file.state ? 1 : 3);
}

Held heldOf(const Context &ctx, const CheckpointFile &file, const ParameterInfo &p) {
  return {ctx.comm ? Part::ofRank(p, ctx.comm->mesh, ctx.comm->rank()) : Part::ofRank(p, Mesh(), 0),
          isDivided(file, p) ? owned(ctx, p) : Owned{0, shardElements(p)},
          file.state ? ownedStateAt(p) : p.offset};
}

Owned writtenOf(const Context &ctx, const CheckpointFile &file, const ParameterInfo &p) {
  const int64_t n = shardElements(p);
  if (!p.counted)
    return {0, 0};
  if (!ctx.comm)
    return {0, n};
  const Mesh &mesh = ctx.comm->mesh;
  // The axes whose ranks hold the same.
  std::vector<int> same = mesh.axesNamed("dp,ep,tp");
  auto drop = [&](int axis) {
    same.erase(std::remove(same.begin(), same.end(), axis), same.end());
  };
  for (int64_t i = 0; i < p.numShards; ++i)
    drop(p.shards[i].axis);
  if (!isDivided(file, p)) {
    const Group group = mesh.group(ctx.comm->rank(), same);
    return ownedBy(group.index, n, group.size());
  }
  const GroupInfo &members = ctx.program->groups[p.reduceGroup];
  for (int64_t i = 0; i < members.numAxes; ++i)
    drop(members.axes[i]);
  return mesh.group(ctx.comm->rank(), same).index == 0 ? owned(ctx, p) : Owned{0, 0};
}

} // namespace moire::rt
