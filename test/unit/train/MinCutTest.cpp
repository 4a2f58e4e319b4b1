//===- MinCutTest.cpp - Vertex cuts against all subsets ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "lib/Train/MinCut.h"
#include "gtest/gtest.h"
#include <random>

using moire::train::VertexCut;

namespace {

TEST(MinCut, TakesTheNarrowPlace) {
  // 0 and 1 enter, 4 exits; all paths pass 2, which is cheaper than 4.
  VertexCut graph;
  for (int64_t cost : {5, 5, 3, 4, 4})
    graph.addVertex(cost);
  graph.setEntry(0), graph.setEntry(1), graph.setExit(4);
  graph.addEdge(0, 2), graph.addEdge(1, 2), graph.addEdge(2, 3), graph.addEdge(3, 4);
  EXPECT_EQ(graph.solve(), (std::vector<bool>{false, false, true, false, false}));
}

TEST(MinCut, TiesGoToTheEntries) {
  VertexCut graph;
  graph.addVertex(2), graph.addVertex(2);
  graph.setEntry(0), graph.setExit(1), graph.addEdge(0, 1);
  EXPECT_EQ(graph.solve(), (std::vector<bool>{true, false}));
}

/// Random small graphs: the cut separates and no subset does so for less.
TEST(MinCut, EqualsExhaustiveSearch) {
  std::mt19937 random(7);
  for (int trial = 0; trial < 200; ++trial) {
    const int n = 8;
    VertexCut graph;
    std::vector<int64_t> cost;
    std::vector<std::vector<bool>> edge(n, std::vector<bool>(n));
    std::vector<bool> entry(n), exit(n);
    for (int v = 0; v < n; ++v) {
      cost.push_back(random() % 6);
      graph.addVertex(cost.back());
      if ((entry[v] = random() % 3 == 0))
        graph.setEntry(v);
      if ((exit[v] = random() % 3 == 0))
        graph.setExit(v);
      for (int u = 0; u < v; ++u)
        if ((edge[u][v] = random() % 3 == 0))
          graph.addEdge(u, v);
    }
    auto separates = [&](auto cut) {
      std::vector<bool> reached(n);
      for (int v = 0; v < n; ++v) {
        bool in = entry[v];
        for (int u = 0; u < v; ++u)
          in = in || (edge[u][v] && reached[u]);
        reached[v] = in && !cut(v);
        if (reached[v] && exit[v])
          return false;
      }
      return true;
    };
    int64_t best = INT64_MAX;
    for (int subset = 0; subset < 1 << n; ++subset) {
      int64_t total = 0;
      for (int v = 0; v < n; ++v)
        total += subset >> v & 1 ? cost[v] : 0;
      if (total < best && separates([&](int v) { return subset >> v & 1; }))
        best = total;
    }
    auto cut = graph.solve();
    int64_t total = 0;
    for (int v = 0; v < n; ++v)
      total += cut[v] ? cost[v] : 0;
    EXPECT_TRUE(separates([&](int v) { return (bool)cut[v]; }));
    EXPECT_EQ(total, best);
  }
}

} // namespace
