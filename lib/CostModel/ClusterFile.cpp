//===- ClusterFile.cpp - Clusters as TOML ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "../Scheduling/Text.h"
#include "moire/CostModel/Cluster.h"
#include "moire/CostModel/Fields.h"
#include <ostream>

using namespace moire::cost;
using moire::scheduling::text;

static const char *const kDtypes[] = {"f32", "bf16", "fp8"};

Refusal moire::cost::readCluster(const std::string &path, Cluster &cluster) {
  std::string text;
  if (Refusal refusal = readText(path, text))
    return refusal;
  return parseCluster(text, path, cluster);
}

Refusal moire::cost::parseCluster(const std::string &text, const std::string &path,
                                  Cluster &cluster) {
  Cluster read;
  Device &device = read.device;
  Efficiency &efficiency = device.efficiency;
  double rates[3] = {}, reached[3] = {};
  const auto positive = [](const char *table, const char *key, double *value, const char *example) {
    Field field{table, key, value, example};
    field.above = true;
    return field;
  };
  const auto fraction = [](const char *table, const char *key, double *value, const char *example) {
    Field field{table, key, value, example};
    field.above = true;
    field.most = 1;
    return field;
  };
  const auto optional = [](Field field) {
    field.required = false;
    return field;
  };
  std::vector<Field> fields = {
      {"", "name", &read.name, "\"h100\""},
      {"", "devices_per_node", &read.devicesPerNode, "8", true, 1, 1 << 20},
      {"", "nodes", &read.nodes, "1", true, 1, 1 << 20},
      fraction("", "contention", &read.contention, "0.6"),
      optional({"", "currency", &read.currency, "\"USD\""}),
      {"device", "name", &device.name, "\"H100 SXM\""},
      positive("device", "memory", &device.memory, "80e9"),
      {"device", "reserved", &device.reserved, "2e9", false, 0},
      positive("device", "memory_bandwidth", &device.memoryBandwidth, "3.35e12"),
      {"device", "kernel_overhead", &device.kernelOverhead, "3e-6", false, 0, 1},
      {"device", "expert_overhead", &device.expertOverhead, "1e-3", false, 0, 1},
      {"device", "price_per_hour", &device.pricePerHour, "2.0", false, 0},
      {"device.efficiency", "matmul_half", &efficiency.matmulHalf, "128", false, 0},
      optional(fraction("device.efficiency", "grouped", &efficiency.grouped, "0.9")),
      optional(fraction("device.efficiency", "fp8_weight_gradient", &efficiency.fp8WeightGradient,
                        "0.9")),
      fraction("device.efficiency", "attention", &efficiency.attention, "0.5"),
      fraction("device.efficiency", "attention_backward", &efficiency.attentionBackward, "0.4"),
      fraction("device.efficiency", "memory", &efficiency.memory, "0.8"),
      fraction("device.efficiency", "network", &efficiency.network, "0.8"),
      {"within", "latency", &read.within.latency, "5e-6", true, 0, 1},
      positive("within", "bandwidth", &read.within.bandwidth, "450e9"),
      {"between", "latency", &read.between.latency, "1e-5", true, 0, 1},
      positive("between", "bandwidth", &read.between.bandwidth, "50e9")};
  for (int i = 0; i < 3; ++i) {
    fields.push_back(optional(positive("device.flops", kDtypes[i], &rates[i], "989e12")));
    fields.push_back(
        optional(fraction("device.efficiency.matmul", kDtypes[i], &reached[i], "0.75")));
  }
  if (Refusal refusal = readFields(text, path, fields))
    return refusal;
  for (int i = 0; i < 3; ++i) {
    if (rates[i] > 0 && reached[i] == 0)
      return scheduling::text("'", path, "': table [device.efficiency.matmul] lacks the rate '",
                              kDtypes[i], "', which [device.flops] has; write for example ",
                              kDtypes[i], " = 0.75");
    if (rates[i] == 0 && reached[i] > 0)
      return scheduling::text("'", path, "': table [device.flops] lacks the rate '", kDtypes[i],
                              "', which [device.efficiency.matmul] has; write for example ",
                              kDtypes[i], " = 989e12");
    if (rates[i] > 0) {
      device.flops[kDtypes[i]] = rates[i];
      efficiency.matmul[kDtypes[i]] = reached[i];
    }
  }
  if (device.flops.empty())
    return scheduling::text("'", path, "': table [device.flops] has no rate; give at least one of ",
                            "f32, bf16 and fp8, for example bf16 = 989e12");
  const long devices = static_cast<long>(read.nodes) * read.devicesPerNode;
  if (devices > kMostDevices)
    return scheduling::text("'", path, "': ", read.nodes, " nodes of ", read.devicesPerNode,
                            " devices are ", devices, ", more than the ", kMostDevices,
                            " that are planned for; use ",
                            std::max<long>(1, kMostDevices / read.devicesPerNode), " nodes");
  cluster = read;
  return {};
}

void moire::cost::writeCluster(std::ostream &out, const Cluster &cluster) {
  const Device &device = cluster.device;
  const Efficiency &efficiency = device.efficiency;
  const auto line = [&](const char *key, double value) {
    out << key << " = " << number(value) << '\n';
  };
  out << "name = " << quoted(cluster.name) << '\n';
  out << "devices_per_node = " << cluster.devicesPerNode << '\n';
  out << "nodes = " << cluster.nodes << '\n';
  line("contention", cluster.contention);
  out << "currency = " << quoted(cluster.currency) << '\n';
  out << "\n[device]\nname = " << quoted(device.name) << '\n';
  line("memory", device.memory);
  line("reserved", device.reserved);
  line("memory_bandwidth", device.memoryBandwidth);
  line("kernel_overhead", device.kernelOverhead);
  line("expert_overhead", device.expertOverhead);
  line("price_per_hour", device.pricePerHour);
  out << "\n[device.flops]\n";
  for (const auto &[dtype, rate] : device.flops)
    line(dtype.c_str(), rate);
  out << "\n[device.efficiency]\n";
  line("matmul_half", efficiency.matmulHalf);
  line("grouped", efficiency.grouped);
  line("fp8_weight_gradient", efficiency.fp8WeightGradient);
  line("attention", efficiency.attention);
  line("attention_backward", efficiency.attentionBackward);
  line("memory", efficiency.memory);
  line("network", efficiency.network);
  out << "\n[device.efficiency.matmul]\n";
  for (const auto &[dtype, reached] : efficiency.matmul)
    line(dtype.c_str(), reached);
  const std::pair<const char *, const scheduling::Link *> links[] = {{"within", &cluster.within},
                                                                     {"between", &cluster.between}};
  for (const auto &[table, link] : links) {
    out << "\n[" << table << "]\n";
    line("latency", link->latency);
    line("bandwidth", link->bandwidth);
  }
}
