//===- Cluster.cpp - Rates and collectives ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/CostModel/Cluster.h"
#include "../Scheduling/Text.h"
#include "moire/CostModel/Fields.h"
#include <algorithm>
#include <cmath>

using namespace moire::cost;
using moire::scheduling::text;

Refusal moire::cost::resize(Cluster &cluster, long devices) {
  const int perNode = cluster.devicesPerNode;
  if (devices > kMostDevices)
    return text(devices, " devices are more than the ", kMostDevices, " that are planned for; use ",
                kMostDevices, " or fewer");
  if (devices >= 1 && devices < perNode) {
    cluster.devicesPerNode = static_cast<int>(devices);
    cluster.nodes = 1;
    return {};
  }
  if (devices >= 1 && devices % perNode == 0) {
    cluster.nodes = static_cast<int>(devices / perNode);
    return {};
  }
  return text(devices, " devices are not whole nodes of ", perNode, "; use ",
              std::max(1L, devices / perNode * perNode),
              devices > perNode ? text(" or ", (devices / perNode + 1) * perNode) : std::string());
}

double moire::cost::matmulRate(const Device &device, const std::string &dtype, double m, double k,
                               double n) {
  const double least = std::min({m, k, n});
  return device.flops.at(dtype) * device.efficiency.matmul.at(dtype) * least /
         (least + device.efficiency.matmulHalf);
}

Refusal moire::cost::checkDtype(const Cluster &cluster, const std::string &dtype) {
  if (cluster.device.flops.count(dtype))
    return {};
  if (dtype != "f32" && dtype != "bf16" && dtype != "fp8")
    return text("no precision is named '", dtype, "'; use f32, bf16 or fp8");
  std::vector<std::string> known;
  for (const auto &[name, rate] : cluster.device.flops)
    known.push_back(name);
  return text("cluster '", cluster.name, "' has no rate for ", dtype, ", only for ", listOf(known),
              "; plan in ", known.back() == "f32" ? known.front() : known.back(),
              ", or give [device.flops] and [device.efficiency.matmul] a ", dtype);
}

//===----------------------------------------------------------------------===//
// Collectives
//===----------------------------------------------------------------------===//

int moire::cost::ranksPerNode(const Cluster &cluster, Group group) {
  return std::max(1, std::min(group.size, cluster.devicesPerNode / group.stride));
}

/// Half an all-reduce: within the node each rank gets 1/perNode of the sum, which it then shares
/// with those that hold the same piece on other nodes.
static double ringTime(const Cluster &cluster, Group group, double bytes) {
  if (group.size <= 1)
    return 0;
  const double reached = cluster.device.efficiency.network;
  const double perNode = ranksPerNode(cluster, group);
  const double nodes = std::ceil(group.size / perNode);
  double time = 0;
  if (perNode > 1)
    time += bytes * (perNode - 1) / perNode / (cluster.within.bandwidth * reached) +
            cluster.within.latency * std::log2(perNode);
  if (nodes > 1)
    time += bytes / perNode * (nodes - 1) / nodes / (cluster.between.bandwidth * reached) +
            cluster.between.latency * std::log2(nodes);
  return time;
}

double moire::cost::reduceScatterTime(const Cluster &cluster, Group group, double bytes) {
  return ringTime(cluster, group, bytes);
}

double moire::cost::allGatherTime(const Cluster &cluster, Group group, double bytes) {
  return ringTime(cluster, group, bytes);
}

double moire::cost::allReduceTime(const Cluster &cluster, Group group, double bytes) {
  return 2 * ringTime(cluster, group, bytes);
}

/// Places out of `places` that `choices` uniform choices are expected to hit.
static double expectedHits(double places, double choices) {
  return places <= 1 ? places : places * (1 - std::pow(1 - 1 / places, choices));
}

double moire::cost::exchangeTime(const Cluster &cluster, Group group, const Exchange &exchange) {
  if (group.size <= 1)
    return 0;
  const double reached = cluster.device.efficiency.network;
  const double perNode = ranksPerNode(cluster, group);
  const double nodes = std::ceil(group.size / perNode);
  const double chosen =
      exchange.nodeLimit > 0 ? std::min<double>(exchange.nodeLimit, nodes) : nodes;
  const double bytes = exchange.tokens * exchange.bytesPerToken;
  double across = 0, inside = 0;
  if (nodes > 1)
    across = bytes * expectedHits(chosen, exchange.topK) * (nodes - 1) / nodes /
                 (cluster.between.bandwidth * reached) +
             cluster.between.latency;
  if (perNode > 1)
    inside = bytes * expectedHits(chosen * perNode, exchange.topK) * (perNode - 1) / perNode /
                 (cluster.within.bandwidth * reached) +
             cluster.within.latency;
  return std::max(across, inside);
}
