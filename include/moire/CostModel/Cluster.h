//===- Cluster.h - Devices, links and what they reach -----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Times are in seconds, memory in bytes, rates in FLOP/s and bytes/s.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_COSTMODEL_CLUSTER_H
#define MOIRE_COSTMODEL_CLUSTER_H

#include "moire/Scheduling/Problem.h"
#include <iosfwd>
#include <map>
#include <string>

namespace moire::cost {

using scheduling::Refusal;

/// What of a device's peaks real work reaches, as fractions of them.
struct Efficiency {
  /// [dtype] → what a matrix product of large dimensions reaches of Device::flops.
  std::map<std::string, double> matmul;
  /// A product whose smallest dimension is d reaches d / (d + matmulHalf) of that.
  double matmulHalf = 0;
  /// What the products of experts, grouped in one kernel, reach of a single product's rate.
  double grouped = 1;
  /// What products in fp8 that add to gradients of weights reach of the others' rate.
  double fp8WeightGradient = 1;
  /// What the core of attention reaches of the peak: of bf16, where there is fp8 too.
  double attention = 1;
  double attentionBackward = 1;
  /// Of the memory's bandwidth, by kernels that only move data.
  double memory = 1;
  /// Of the links' bandwidth, by collectives and transfers.
  double network = 1;
};

struct Device {
  std::string name;
  /// [dtype] → dense peak. The names of dtypes are f32, bf16 and fp8.
  std::map<std::string, double> flops;
  double memory = 0;
  double reserved = 0; ///< of it, what drivers and libraries of communication take
  double memoryBandwidth = 0;
  /// What each kernel costs whatever its size.
  double kernelOverhead = 0;
  /// What the device waits in the forward of a layer of experts, and twice as long in its
  /// backward, for a host that has to know how many tokens each expert gets before it launches
  /// their kernels. 0 where counts stay on the device.
  double expertOverhead = 0;
  Efficiency efficiency;
  double pricePerHour = 0; ///< in the currency of Cluster::currency; 0: not known
};

/// `nodes` nodes of `devicesPerNode` devices. Links are those of one device, in one direction.
struct Cluster {
  std::string name;
  Device device;
  int devicesPerNode = 1;
  int nodes = 1;
  scheduling::Link within;
  scheduling::Link between;
  /// Speed of a transfer while its device computes, as a fraction of its speed alone.
  double contention = 1;
  std::string currency = "USD";

  int devices() const { return devicesPerNode * nodes; }
};

/// Reads a cluster file (TOML; docs/planner.md lists the keys). Refuses a file that cannot be
/// read, an unknown or missing key and a value out of range, with file, table, key and line.
Refusal readCluster(const std::string &path, Cluster &cluster);
/// The same from text; `path` is what sentences call it.
Refusal parseCluster(const std::string &text, const std::string &path, Cluster &cluster);
/// Writes what readCluster reads.
void writeCluster(std::ostream &out, const Cluster &cluster);

/// Makes `cluster` one of `devices` devices: whole nodes, or a part of one. Refuses a number
/// that is neither, with the nearest that are.
Refusal resize(Cluster &cluster, long devices);
/// The most devices that a cluster may have.
constexpr long kMostDevices = 1 << 24;

/// FLOP/s of a dense product [m, k] x [k, n] in `dtype`, which Device::flops must have.
double matmulRate(const Device &device, const std::string &dtype, double m, double k, double n);
/// Refuses what is no dtype, and one that the device has no rate for, with those that it has.
Refusal checkDtype(const Cluster &cluster, const std::string &dtype);

/// A group of ranks that communicate: `size` ranks that lie `stride` devices apart.
struct Group {
  int size = 1;
  int stride = 1;
};

/// How many of a group's ranks share a node.
int ranksPerNode(const Cluster &cluster, Group group);
/// Seconds in which each rank of a group gets the sum of `bytes` (or 1/size of it, or all of it
/// from parts): within nodes and between
/// them, one after another.
double allReduceTime(const Cluster &cluster, Group group, double bytes);
double reduceScatterTime(const Cluster &cluster, Group group, double bytes);
double allGatherTime(const Cluster &cluster, Group group, double bytes);

/// Tokens that go to experts on other ranks, or come back from them.
struct Exchange {
  double tokens = 0;        ///< of one rank
  double bytesPerToken = 0; ///< of one copy
  int topK = 1;             ///< experts that a token is sent to
  int nodeLimit = 0;        ///< nodes that these are chosen on; 0: any number
};
/// Seconds of an all-to-all in which a token crosses between nodes once for each node that it is
/// expected on, and reaches each of its ranks there over the links within the node; both kinds of
/// links work at the same time. Choices are taken as uniform.
double exchangeTime(const Cluster &cluster, Group group, const Exchange &exchange);

} // namespace moire::cost

#endif // MOIRE_COSTMODEL_CLUSTER_H
