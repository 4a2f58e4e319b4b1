//===- ReadPlacement.cpp - The placement that an ONNX file holds ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Annotator.h"
#include "ModelFile.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include <set>

using namespace moire::frontend;
using llvm::StringRef;

namespace {
using Coordinates = std::vector<std::pair<StringRef, int64_t>>;
}

/// "pp=0,ep=1": axes and coordinates; nothing where it is none.
static Coordinates coordinatesOf(StringRef device) {
  Coordinates coordinates;
  llvm::SmallVector<StringRef> parts;
  device.split(parts, ',');
  for (StringRef part : parts) {
    auto [axis, at] = part.split('=');
    int64_t value = 0;
    if (axis.empty() || at.getAsInteger(10, value) || value < 0)
      return {};
    coordinates.push_back({axis, value});
  }
  return coordinates;
}

/// The sizes of a grid whose devices these are, in row-major order.
static std::vector<std::pair<StringRef, int64_t>> gridOf(const pb::DeviceConfigurationProto &all) {
  std::vector<std::pair<StringRef, int64_t>> sizes;
  for (const std::string &device : all.device()) {
    const Coordinates at = coordinatesOf(device);
    if (sizes.empty())
      sizes = at;
    if (at.empty() || at.size() != sizes.size())
      return {};
    for (size_t i = 0; i < at.size(); ++i) {
      if (at[i].first != sizes[i].first)
        return {};
      sizes[i].second = std::max(sizes[i].second, at[i].second);
    }
  }
  int64_t rank = 0;
  for (auto &[axis, size] : sizes)
    ++size;
  for (const std::string &device : all.device()) {
    int64_t number = 0;
    for (auto [at, size] : llvm::zip(coordinatesOf(device), sizes))
      number = number * size.second + at.second;
    if (number != rank++)
      return {};
  }
  int64_t ranks = 1;
  for (const auto &[axis, size] : sizes)
    ranks *= size;
  if (ranks != rank || all.num_devices() != rank)
    return {};
  return sizes;
}

std::string moire::frontend::readMesh(const std::string &path, const std::string &configuration,
                                      std::string &mesh) {
  std::string error;
  std::unique_ptr<ModelFile> file = ModelFile::open(path, error);
  if (!file)
    return "'" + path + "' " + error;
  std::string names;
  for (const pb::DeviceConfigurationProto &all : file->proto().configuration()) {
    names += (names.empty() ? "'" : ", '") + all.name() + "'";
    if (all.name() != configuration)
      continue;
    const auto sizes = gridOf(all);
    if (sizes.empty())
      return "the devices of configuration '" + configuration +
             "' are no grid: --mesh configuration=NAME reads those that --write-placement names, "
             "pp=0,ep=0 to pp=1,ep=3; give the mesh itself, as --mesh pp=2,ep=4";
    for (const auto &[axis, size] : sizes)
      mesh += (mesh.empty() ? "" : ",") + axis.str() + "=" + std::to_string(size);
    return {};
  }
  return "--mesh configuration=" + configuration + " is no device configuration of '" + path +
         "', which has " + (names.empty() ? "none" : names) +
         "; give the mesh itself, as --mesh pp=2,ep=4";
}

/// "dim 0 in 2 pieces, on ranks 0 2 | 1 3"
static std::string describe(const pb::ShardingSpecProto &spec) {
  std::string text;
  for (const pb::ShardedDimProto &dim : spec.sharded_dim()) {
    text += (text.empty() ? "dim " : ", dim ") + std::to_string(dim.axis()) + " in";
    for (const pb::SimpleShardedDimProto &part : dim.simple_sharding())
      text += part.num_shards() == 1 && part.has_dim_value()
                  ? " " + std::to_string(part.dim_value()) + " blocks of"
                  : " " + std::to_string(part.num_shards());
    text += " pieces";
  }
  text += text.empty() ? "whole, on ranks" : ", on ranks";
  bool isFirst = true;
  for (int64_t device : spec.device()) {
    text += isFirst ? "" : " |";
    isFirst = false;
    std::set<int64_t> members;
    for (const pb::IntIntListEntryProto &entry : spec.index_to_device_group_map())
      if (entry.key() == device)
        members.insert(entry.value().begin(), entry.value().end());
    if (members.empty())
      members.insert(device);
    for (int64_t member : members)
      text += " " + std::to_string(member);
  }
  return text;
}

std::string moire::frontend::comparePlacement(const std::string &path,
                                              const std::string &configuration,
                                              const Placement &placement) {
  std::string error;
  std::unique_ptr<ModelFile> file = ModelFile::open(path, error);
  if (!file)
    return "'" + path + "' " + error;
  const Annotator annotator(file->proto(), placement);
  const pb::GraphProto &graph = file->proto().graph();
  for (int i = 0; i < graph.node_size(); ++i)
    for (const auto &given : graph.node(i).device_configurations()) {
      if (given.configuration_id() != configuration)
        continue;
      const auto own = annotator.of(i);
      for (const pb::ShardingSpecProto &spec : given.sharding_spec()) {
        std::string ours = "whole";
        for (int k = 0; own && k < own->sharding_spec_size(); ++k)
          if (own->sharding_spec(k).tensor_name() == spec.tensor_name())
            ours = describe(own->sharding_spec(k));
        if (const std::string theirs = describe(spec); theirs != ours)
          return "node '" + getNodeLabel(graph.node(i)) + "' reads tensor '" + spec.tensor_name() +
                 "' as configuration '" + configuration + "' of the file says: " + theirs +
                 "; compiled it is: " + ours +
                 "; take the sharding_spec out, or give the mesh itself, as --mesh pp=2,ep=4";
      }
    }
  return {};
}
