//===- Annotator.cpp - What a placement says of each node -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Annotator.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"

using namespace moire::frontend;
using llvm::StringRef;

Annotator::Annotator(const pb::ModelProto &model, const Placement &placement)
    : graph(model.graph()), placement(placement), stages(graph.node_size(), -1) {
  for (const auto &[axis, size] : placement.mesh)
    ranks *= size;
  if (!placement.holders.empty())
    placeNodes();
}

int64_t Annotator::coordinate(int64_t rank, const std::string &axis) const {
  for (size_t i = placement.mesh.size(); i-- > 0;) {
    if (placement.mesh[i].first == axis)
      return rank % placement.mesh[i].second;
    rank /= placement.mesh[i].second;
  }
  return 0;
}

void Annotator::placeNodes() {
  // 1. Nodes that ops came from; a call's are those inside it.
  std::vector<bool> isOwn(graph.node_size());
  for (int i = 0; i < graph.node_size(); ++i) {
    const std::string label = getNodeLabel(graph.node(i));
    if (auto it = placement.stages.find(label); it != placement.stages.end())
      stages[i] = it->second;
    const std::string inside = label + "/";
    for (auto it = placement.stages.lower_bound(inside);
         it != placement.stages.end() && StringRef(it->first).starts_with(inside); ++it) {
      if (stages[i] >= 0 && stages[i] != it->second && error.empty())
        error = "a stage ends inside node '" + label +
                "', a call, which a file can only place as a whole; cut behind nodes by --stages "
                "after=NAME,...";
      stages[i] = it->second;
    }
    isOwn[i] = stages[i] >= 0;
  }
  // 2. Others became part of what reads them, or of what they read.
  llvm::StringMap<int> producers;
  for (int i = 0; i < graph.node_size(); ++i)
    for (const std::string &output : graph.node(i).output())
      if (!output.empty())
        producers[output] = i;
  std::vector<int64_t> reader(graph.node_size(), INT64_MAX);
  for (int i = graph.node_size(); i-- > 0;) {
    if (!isOwn[i] && reader[i] != INT64_MAX)
      stages[i] = reader[i];
    if (stages[i] >= 0)
      for (const std::string &input : graph.node(i).input())
        if (auto it = producers.find(input); it != producers.end())
          reader[it->second] = std::min(reader[it->second], stages[i]);
  }
  for (int i = 0; i < graph.node_size(); ++i) {
    if (stages[i] >= 0)
      continue;
    stages[i] = 0;
    for (const std::string &input : graph.node(i).input())
      if (auto it = producers.find(input); it != producers.end() && it->second < i)
        stages[i] = std::max(stages[i], stages[it->second]);
  }
}

pb::DeviceConfigurationProto Annotator::configuration() const {
  pb::DeviceConfigurationProto result;
  result.set_name(placement.configuration);
  result.set_num_devices(static_cast<int32_t>(ranks));
  for (int64_t rank = 0; rank < ranks; ++rank) {
    std::string name;
    for (const auto &[axis, size] : placement.mesh)
      name += (name.empty() ? "" : ",") + axis + "=" + std::to_string(coordinate(rank, axis));
    result.add_device(name);
  }
  return result;
}

void Annotator::add(const std::string &tensor, const Placement::Tensor &place, int64_t stage,
                    pb::NodeDeviceConfigurationProto &node) const {
  pb::ShardingSpecProto &spec = *node.add_sharding_spec();
  spec.set_tensor_name(tensor);
  int64_t shards = 1;
  for (const Placement::Split &split : place.splits) {
    int64_t pieces = 1;
    for (const std::string &axis : split.axes)
      for (const auto &[name, size] : placement.mesh)
        pieces *= name == axis ? size : 1;
    pb::ShardedDimProto &dim = *spec.add_sharded_dim();
    dim.set_axis(split.dim);
    if (split.blocks > 1) {
      // The dim is one of blocks, which are whole, and one inside them.
      pb::SimpleShardedDimProto &outer = *dim.add_simple_sharding();
      outer.set_dim_value(split.blocks);
      outer.set_num_shards(1);
    }
    pb::SimpleShardedDimProto &inner = *dim.add_simple_sharding();
    if (split.size > 0)
      inner.set_dim_value(split.size / split.blocks);
    else if (!split.name.empty())
      inner.set_dim_param(split.name);
    inner.set_num_shards(pieces);
    shards *= pieces;
  }
  // Shards in row-major order, each with the ranks that have it.
  std::vector<std::vector<int64_t>> groups(shards);
  for (int64_t rank = 0; rank < ranks; ++rank) {
    bool has = true;
    for (const auto &[axis, at] : place.only)
      has &= coordinate(rank, axis) == at;
    if (stage >= 0)
      has &= llvm::is_contained(placement.holders[stage], coordinate(rank, "pp"));
    if (!has)
      continue;
    int64_t shard = 0;
    for (const Placement::Split &split : place.splits)
      for (const std::string &axis : split.axes)
        for (const auto &[name, size] : placement.mesh)
          if (name == axis)
            shard = shard * size + coordinate(rank, axis);
    groups[shard].push_back(rank);
  }
  int64_t group = 0;
  for (const std::vector<int64_t> &members : groups) {
    if (members.size() == 1) {
      spec.add_device(members[0]);
      continue;
    }
    // Numbers below zero are no devices.
    spec.add_device(--group);
    pb::IntIntListEntryProto &entry = *spec.add_index_to_device_group_map();
    entry.set_key(group);
    for (int64_t rank : members)
      entry.add_value(rank);
  }
}

std::optional<pb::NodeDeviceConfigurationProto> Annotator::of(int i) const {
  pb::NodeDeviceConfigurationProto result;
  result.set_configuration_id(placement.configuration);
  if (stages[i] >= 0)
    result.set_pipeline_stage(static_cast<int32_t>(stages[i]));
  std::string before;
  for (const std::string &input : graph.node(i).input())
    if (auto it = placement.tensors.find(input); it != placement.tensors.end() && input != before) {
      add(input, it->second, stages[i], result);
      before = input;
    }
  if (stages[i] < 0 && result.sharding_spec_size() == 0)
    return std::nullopt;
  return result;
}
