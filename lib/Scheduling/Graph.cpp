//===- Graph.cpp - Who waits for whom in a schedule -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Graph.h"
#include <algorithm>

using namespace moire::scheduling;

Cells::Cells(const Problem &problem) : microBatches(problem.microBatches) {
  for (int path = 0; path < problem.numPaths(); ++path) {
    base.push_back(count);
    count += problem.numStages() * microBatches[path];
  }
}

Graph::Graph(const Problem &problem, const Schedule &schedule)
    : problem(problem), schedule(schedule), cells(problem), forward(cells.size(), -1),
      backward(cells.size(), -1), weight(cells.size(), -1) {
  for (size_t rank = 0; rank < schedule.ranks.size(); ++rank) {
    firstVertex.push_back(size());
    for (const Action &action : schedule.ranks[rank]) {
      for (int i = 0; i < action.size(); ++i) {
        const int cell = cells.of(action[i]);
        if (action[i].isForward())
          forward[cell] = size();
        if (action[i].isBackward())
          backward[cell] = size();
        if (action[i].accumulates())
          weight[cell] = size();
      }
      rankOf.push_back(static_cast<int>(rank));
    }
  }
  firstVertex.push_back(size());
}

int moire::scheduling::senderOf(const Problem &problem, const Message &message) {
  return problem.rankOf[message.path][message.stage];
}

int moire::scheduling::receiverOf(const Problem &problem, const Message &message) {
  return problem.rankOf[message.path][message.stage + (message.cotangent ? -1 : 1)];
}

bool EarliestTimes::complete() const {
  for (int vertex : stuck)
    if (vertex >= 0)
      return false;
  return true;
}

EarliestTimes moire::scheduling::runEarliest(const Graph &graph) {
  const Problem &problem = graph.problem;
  const int ranks = static_cast<int>(graph.firstVertex.size()) - 1;
  EarliestTimes times;
  times.start.assign(graph.size(), 0);
  times.finish.assign(graph.size(), -1);
  times.made.assign(graph.size(), {0, 0});
  times.order.reserve(graph.size());
  std::vector<int> next(graph.firstVertex.begin(), graph.firstVertex.end() - 1);
  std::vector<double> free(ranks, 0);
  std::vector<std::vector<int>> waiting(graph.size()); // ranks to try again after a vertex
  std::vector<int> work;
  for (int rank = ranks - 1; rank >= 0; --rank)
    work.push_back(rank);
  while (!work.empty()) {
    const int rank = work.back();
    work.pop_back();
    while (next[rank] < graph.firstVertex[rank + 1]) {
      const int vertex = next[rank];
      const Action &action = graph.action(vertex);
      double start = free[rank];
      int missing = -2;
      for (int i = 0; i < action.size(); ++i)
        graph.needs(action[i], [&](int need, const Message *message) {
          if (need < 0 || times.finish[need] < 0) {
            missing = need;
            return;
          }
          double at = times.finish[need];
          if (message) {
            const Link &link = problem.linkOf(graph.rankOf[need], rank);
            at = times.made[need][graph.makerOf(need, *message)];
            at += link.latency + messageBytes(problem, *message) / link.bandwidth;
          }
          start = std::max(start, at);
        });
      if (missing != -2) {
        if (missing >= 0)
          waiting[missing].push_back(rank);
        break;
      }
      times.start[vertex] = start;
      times.finish[vertex] = free[rank] = start + actionCost(problem, action);
      for (int i = 0; i < action.size(); ++i)
        times.made[vertex][i] = start + outputTime(problem, action, i);
      times.order.push_back(vertex);
      ++next[rank];
      for (int other : waiting[vertex])
        work.push_back(other);
      waiting[vertex].clear();
    }
  }
  times.stuck.assign(ranks, -1);
  for (int rank = 0; rank < ranks; ++rank) {
    times.makespan = std::max(times.makespan, free[rank]);
    if (next[rank] < graph.firstVertex[rank + 1])
      times.stuck[rank] = next[rank];
  }
  return times;
}

double moire::scheduling::messageBytes(const Problem &problem, const Message &message) {
  return problem.stages[message.stage - message.cotangent].outputBytes;
}
