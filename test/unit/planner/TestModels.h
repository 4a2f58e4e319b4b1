//===- TestModels.h - Models and clusters of the planner's tests -*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TEST_UNIT_PLANNER_TESTMODELS_H
#define MOIRE_TEST_UNIT_PLANNER_TESTMODELS_H

#include "moire/Planner/Predict.h"
#include "gtest/gtest.h"

namespace moire::planner {

inline cost::ModelCost modelOf(const std::string &name) {
  cost::ModelShape shape;
  const Refusal refusal = cost::readShape(MOIRE_SHARE "/models/" + name + ".toml", shape);
  EXPECT_FALSE(refusal) << *refusal;
  return cost::costOf(shape);
}

inline cost::Cluster clusterOf(const std::string &name, int devices) {
  cost::Cluster cluster;
  Refusal refusal = cost::readCluster(MOIRE_SHARE "/clusters/" + name + ".toml", cluster);
  EXPECT_FALSE(refusal) << *refusal;
  refusal = cost::resize(cluster, devices);
  EXPECT_FALSE(refusal) << *refusal;
  return cluster;
}

/// `count` equal parts: 1 FLOP/s devices that take a second for each part's forward of a token.
inline cost::ModelCost evenModel(int count) {
  cost::ModelCost model;
  model.name = "even";
  model.sequence = 1;
  model.heads = 8;
  for (int i = 0; i < count; ++i) {
    cost::Part part;
    part.name = "part";
    part.products.push_back({"p", 1, 0.5, cost::Product::Whole, 1, 0, false, false});
    part.parameters = 10;
    part.kept[0].residual = part.kept[1].residual = 3;
    part.kept[2].residual = 1;
    part.recomputable = true;
    part.outputElements = 0;
    model.parts.push_back(part);
  }
  cost::addTotals(model);
  return model;
}

/// Devices of 1 FLOP/s in bf16 with memory and links that take no time.
inline cost::Cluster plainCluster(int devices) {
  cost::Cluster cluster;
  cluster.name = "plain";
  cluster.devicesPerNode = devices;
  cluster.device.flops["bf16"] = 1;
  cluster.device.efficiency.matmul["bf16"] = 1;
  cluster.device.memory = 1000;
  cluster.device.memoryBandwidth = 1e30;
  return cluster;
}

} // namespace moire::planner

#endif // MOIRE_TEST_UNIT_PLANNER_TESTMODELS_H
