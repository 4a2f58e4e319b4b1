//===- ClusterTest.cpp - Cluster files, rates and collectives -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/CostModel/Cluster.h"
#include "gtest/gtest.h"
#include <fstream>
#include <sstream>

using namespace moire::cost;

static const char *const kFiles[] = {"a100", "h100", "h100-500w", "h800", "h200", "b200", "cpu"};

static std::string textOf(const std::string &name) {
  std::ifstream file(MOIRE_SHARE "/clusters/" + name + ".toml");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

static Cluster read(const std::string &name) {
  Cluster cluster;
  const Refusal refusal = readCluster(MOIRE_SHARE "/clusters/" + name + ".toml", cluster);
  EXPECT_FALSE(refusal) << *refusal;
  return cluster;
}

TEST(Cluster, FilesAreReadAndWritten) {
  for (const char *name : kFiles) {
    const Cluster cluster = read(name);
    EXPECT_EQ(cluster.name, name);
    std::ostringstream once, twice;
    writeCluster(once, cluster);
    Cluster again;
    const Refusal refusal = parseCluster(once.str(), name, again);
    ASSERT_FALSE(refusal) << *refusal;
    writeCluster(twice, again);
    EXPECT_EQ(once.str(), twice.str());
    EXPECT_EQ(again.device.flops, cluster.device.flops);
    EXPECT_EQ(again.device.efficiency.matmul, cluster.device.efficiency.matmul);
    EXPECT_EQ(again.between.bandwidth, cluster.between.bandwidth);
  }
}

// NVIDIA's data sheets: dense peaks, memory, NVLink in one direction.
TEST(Cluster, DataSheets) {
  struct Row {
    const char *name;
    double bf16, memory, bandwidth, nvlink;
  };
  for (const Row &row :
       {Row{"a100", 312e12, 80e9, 2.039e12, 300e9}, Row{"h100", 989e12, 80e9, 3.35e12, 450e9},
        Row{"h800", 989e12, 80e9, 3.35e12, 200e9}, Row{"h200", 989e12, 141e9, 4.8e12, 450e9},
        Row{"b200", 2250e12, 180e9, 8e12, 900e9}}) {
    const Cluster cluster = read(row.name);
    EXPECT_EQ(cluster.device.flops.at("bf16"), row.bf16) << row.name;
    EXPECT_EQ(cluster.device.memory, row.memory) << row.name;
    EXPECT_EQ(cluster.device.memoryBandwidth, row.bandwidth) << row.name;
    EXPECT_EQ(cluster.within.bandwidth, row.nvlink) << row.name;
  }
}

static std::string refusal(std::string text, const std::string &from, const std::string &to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  Cluster cluster;
  return parseCluster(text, "c.toml", cluster).value_or("accepted");
}

TEST(ClusterRefusal, MissingRate) {
  const std::string text = textOf("h100");
  EXPECT_EQ(refusal(text, "memory_bandwidth = 3.35e12\n", ""),
            "'c.toml': table [device] lacks the key 'memory_bandwidth'; write for example "
            "memory_bandwidth = 3.35e12");
  EXPECT_EQ(refusal(text, "bf16 = 989e12\n", ""),
            "'c.toml': table [device.flops] lacks the rate 'bf16', which "
            "[device.efficiency.matmul] has; write for example bf16 = 989e12");
  EXPECT_EQ(refusal(text, "f32 = 67e12\nbf16 = 989e12\nfp8 = 1979e12\n", "int8 = 1\n"),
            "'c.toml' line 18: table [device.flops] has no key 'int8'; its "
            "keys are f32, bf16 and fp8");
  EXPECT_EQ(*checkDtype(read("a100"), "fp8"),
            "cluster 'a100' has no rate for fp8, only for bf16 and f32; plan in bf16, or give "
            "[device.flops] and [device.efficiency.matmul] a fp8");
}

TEST(Cluster, Resize) {
  Cluster cluster = read("h100");
  EXPECT_FALSE(resize(cluster, 24));
  EXPECT_EQ(cluster.nodes, 3);
  EXPECT_EQ(*resize(cluster, 20), "20 devices are not whole nodes of 8; use 16 or 24");
  EXPECT_EQ(*resize(cluster, 0), "0 devices are not whole nodes of 8; use 1");
  EXPECT_FALSE(resize(cluster, 4));
  EXPECT_EQ(cluster.devices(), 4);
}

namespace {
/// Links of 1 GB/s within and 0.1 GB/s between nodes of 4, no latency, all of it reached.
struct Collectives : testing::Test {
  Cluster cluster;
  Collectives() {
    cluster.devicesPerNode = 4;
    cluster.nodes = 8;
    cluster.within.bandwidth = 1e9;
    cluster.between.bandwidth = 1e8;
  }
};
} // namespace

// A ring moves 2 (n - 1) / n of the bytes through each link.
TEST_F(Collectives, AllReduceWithinANode) {
  EXPECT_DOUBLE_EQ(allReduceTime(cluster, {4, 1}, 1e9), 2 * 3.0 / 4);
  EXPECT_DOUBLE_EQ(reduceScatterTime(cluster, {4, 1}, 1e9), 3.0 / 4);
  EXPECT_DOUBLE_EQ(allReduceTime(cluster, {1, 1}, 1e9), 0);
}

// Ranks 4 apart are alone on their nodes; ranks 1 apart share them and split the slow part.
TEST_F(Collectives, AllReduceBetweenNodes) {
  EXPECT_EQ(ranksPerNode(cluster, {8, 4}), 1);
  EXPECT_EQ(ranksPerNode(cluster, {8, 2}), 2);
  EXPECT_DOUBLE_EQ(allReduceTime(cluster, {8, 4}, 1e9), 2 * 7.0 / 8 * 10);
  EXPECT_DOUBLE_EQ(allReduceTime(cluster, {32, 1}, 1e9), 2 * (3.0 / 4 + 7.0 / 8 * 10 / 4));
}

// With one choice a token leaves its node in 7 of 8 cases; with a limit of one node as well,
// whatever the number of choices.
TEST_F(Collectives, Exchange) {
  EXPECT_DOUBLE_EQ(exchangeTime(cluster, {32, 1}, {1000, 1e5, 1, 0}), 7.0 / 8);
  EXPECT_DOUBLE_EQ(exchangeTime(cluster, {32, 1}, {1000, 1e5, 8, 1}), 7.0 / 8);
  EXPECT_GT(exchangeTime(cluster, {32, 1}, {1000, 1e5, 8, 0}), 4 * 7.0 / 8);
  EXPECT_DOUBLE_EQ(exchangeTime(cluster, {4, 1}, {1000, 1e5, 1, 0}), 0.1 * 3 / 4);
  EXPECT_EQ(exchangeTime(cluster, {1, 1}, {1000, 1e5, 8, 0}), 0);
}

TEST(Rates, SmallestDimension) {
  Device device;
  device.flops["bf16"] = 1000;
  device.efficiency.matmul["bf16"] = 0.8;
  device.efficiency.matmulHalf = 100;
  EXPECT_DOUBLE_EQ(matmulRate(device, "bf16", 1e6, 100, 1e6), 400);
  EXPECT_NEAR(matmulRate(device, "bf16", 1e9, 1e9, 1e9), 800, 1e-3);
}
