//===- MinCut.cpp - Cheapest set of vertices between source and sink -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "MinCut.h"
#include <algorithm>
#include <limits>

using namespace moire::train;

static constexpr int kSource = 0, kSink = 1;
static constexpr int64_t kUncuttable = std::numeric_limits<int64_t>::max() / 4;

void VertexCut::addArc(int from, int to, int64_t capacity) {
  out[from].push_back(arcs.size());
  arcs.push_back({to, capacity});
  out[to].push_back(arcs.size());
  arcs.push_back({from, 0});
}

int VertexCut::addVertex(int64_t cost) {
  int entered = out.size();
  out.resize(entered + 2);
  addArc(entered, entered + 1, cost);
  return (entered - 2) / 2;
}

void VertexCut::addEdge(int from, int to) { addArc(2 * from + 3, 2 * to + 2, kUncuttable); }
void VertexCut::setEntry(int vertex) { addArc(kSource, 2 * vertex + 2, kUncuttable); }
void VertexCut::setExit(int vertex) { addArc(2 * vertex + 3, kSink, kUncuttable); }

/// Distances from the source along arcs with room; false where the sink has none.
bool VertexCut::layer() {
  depth.assign(out.size(), -1);
  std::vector<int> queue{kSource};
  depth[kSource] = 0;
  for (size_t i = 0; i < queue.size(); ++i)
    for (int arc : out[queue[i]])
      if (arcs[arc].capacity > 0 && depth[arcs[arc].to] < 0) {
        depth[arcs[arc].to] = depth[queue[i]] + 1;
        queue.push_back(arcs[arc].to);
      }
  return depth[kSink] >= 0;
}

/// Sends up to `limit` from `node` to the sink along growing distances.
int64_t VertexCut::push(int node, int64_t limit) {
  if (node == kSink)
    return limit;
  for (size_t &i = next[node]; i < out[node].size(); ++i) {
    int arc = out[node][i];
    if (arcs[arc].capacity <= 0 || depth[arcs[arc].to] != depth[node] + 1)
      continue;
    if (int64_t sent = push(arcs[arc].to, std::min(limit, arcs[arc].capacity))) {
      arcs[arc].capacity -= sent;
      arcs[arc ^ 1].capacity += sent;
      return sent;
    }
  }
  return 0;
}

std::vector<bool> VertexCut::solve() {
  while (layer()) {
    next.assign(out.size(), 0);
    while (push(kSource, kUncuttable)) {
    }
  }
  std::vector<bool> cut;
  for (size_t node = 2; node < out.size(); node += 2)
    cut.push_back(depth[node] >= 0 && depth[node + 1] < 0);
  return cut;
}
