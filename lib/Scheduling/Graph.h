//===- Graph.h - Who waits for whom in a schedule ---------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_SCHEDULING_GRAPH_H
#define MOIRE_LIB_SCHEDULING_GRAPH_H

#include "moire/Scheduling/Schedule.h"
#include <array>

namespace moire::scheduling {

/// Numbers every (path, stage, micro-batch) densely.
class Cells {
public:
  explicit Cells(const Problem &problem);
  int size() const { return count; }
  int of(int path, int stage, int microBatch) const {
    return base[path] + stage * microBatches[path] + microBatch;
  }
  int of(const Task &task) const { return of(task.path, task.stage, task.microBatch); }
  int of(const Message &m) const { return of(m.path, m.stage, m.microBatch); }

private:
  std::vector<int> base, microBatches;
  int count = 0;
};

/// The actions of a schedule as vertices, rank after rank, and for every cell the vertex that
/// runs its F, its B or b, and its W (or B); -1 where none does.
struct Graph {
  Graph(const Problem &problem, const Schedule &schedule);

  const Problem &problem;
  const Schedule &schedule;
  Cells cells;
  std::vector<int> firstVertex; ///< [rank], and the number of vertices at the end
  std::vector<int> rankOf;      ///< [vertex]
  std::vector<int> forward, backward, weight;

  const Action &action(int vertex) const {
    return schedule.ranks[rankOf[vertex]][vertex - firstVertex[rankOf[vertex]]];
  }
  int size() const { return static_cast<int>(rankOf.size()); }
  /// Which task of a vertex makes this message.
  int makerOf(int vertex, const Message &m) const {
    const Action &all = action(vertex);
    return all.second && all.second->path == m.path && all.second->stage == m.stage &&
           all.second->microBatch == m.microBatch && all.second->isForward() != m.cotangent &&
           all.second->kind != TaskKind::BackwardWeight;
  }

  /// Calls `use(vertex, message)` for each vertex that `task` waits for, `message` saying what
  /// crosses ranks, or null. A vertex is -1 where nothing in the schedule does what is needed.
  template <class Fn> void needs(const Task &task, Fn use) const {
    const int S = problem.numStages();
    const std::vector<int> &place = problem.rankOf[task.path];
    const int s = task.stage;
    if (task.isForward() && s > 0) {
      Message message{false, task.path, s - 1, task.microBatch};
      use(forward[cells.of(message)], place[s] != place[s - 1] ? &message : nullptr);
    }
    if (task.isBackward()) {
      use(forward[cells.of(task)], nullptr);
      if (s + 1 < S) {
        Message message{true, task.path, s + 1, task.microBatch};
        use(backward[cells.of(message)], place[s] != place[s + 1] ? &message : nullptr);
      }
    }
    if (task.kind == TaskKind::BackwardWeight)
      use(backward[cells.of(task)], nullptr);
  }
};

/// Earliest times when transfers take their latency and bytes / bandwidth and disturb nobody.
struct EarliestTimes {
  std::vector<double> start, finish; ///< [vertex]
  std::vector<std::array<double, 2>> made; ///< [vertex][task]: when it may be sent
  std::vector<int> order;            ///< vertices, each after all that it waits for
  double makespan = 0;
  /// The vertex in front of each rank that never runs, or -1.
  std::vector<int> stuck;
  bool complete() const;
};
EarliestTimes runEarliest(const Graph &graph);

/// The rank that makes a message, and the one that takes it.
int senderOf(const Problem &problem, const Message &message);
int receiverOf(const Problem &problem, const Message &message);

/// A cotangent of a stage's input is as large as the output of the stage before.
double messageBytes(const Problem &problem, const Message &message);

} // namespace moire::scheduling

#endif // MOIRE_LIB_SCHEDULING_GRAPH_H
