//===- MinCut.h - Cheapest set of vertices between source and sink -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_TRAIN_MINCUT_H
#define MOIRE_LIB_TRAIN_MINCUT_H

#include <cstdint>
#include <vector>

namespace moire::train {

/// A directed graph whose vertices cost something to cut. Every path from an
/// entry to an exit must pass a cut vertex.
class VertexCut {
public:
  /// Adds a vertex and returns its number; `cost` >= 0.
  int addVertex(int64_t cost);
  void addEdge(int from, int to);
  void setEntry(int vertex); ///< paths begin here; the vertex itself may be cut
  void setExit(int vertex);  ///< paths end here; the vertex itself may be cut

  /// Whether each vertex is cut, in a cheapest solution; of several cheapest
  /// ones the one nearest to the entries. Maximum flow by Dinic's algorithm
  /// (Dinic 1970) over split vertices.
  std::vector<bool> solve();

private:
  struct Arc {
    int to;
    int64_t capacity;
  };
  void addArc(int from, int to, int64_t capacity);
  bool layer();
  int64_t push(int node, int64_t limit);

  // Node 0 is the source, 1 the sink, 2v + 2 and 2v + 3 are where vertex v is
  // entered and left. Arc i ^ 1 is the reverse of arc i.
  std::vector<Arc> arcs;
  std::vector<std::vector<int>> out{{}, {}};
  std::vector<int> depth;
  std::vector<size_t> next;
};

} // namespace moire::train

#endif // MOIRE_LIB_TRAIN_MINCUT_H
