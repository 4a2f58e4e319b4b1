//===- Verify.cpp - Whether a schedule does a problem's work --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// In the order of checks: every task once and on its rank; gradients added in order; no rank
// waits for ever; messages; memory.
//
//===----------------------------------------------------------------------===//
#include "Messages.h"
#include "Text.h"

using namespace moire::scheduling;

static Refusal verifyTasks(const Problem &problem, const Schedule &schedule) {
  if (static_cast<int>(schedule.ranks.size()) != problem.ranks)
    return text("the schedule has ", schedule.ranks.size(), " ranks, the problem ", problem.ranks);
  Cells cells(problem);
  enum { F = 1, B = 2, b = 4, W = 8 };
  std::vector<char> seen(cells.size(), 0);
  for (int rank = 0; rank < problem.ranks; ++rank)
    for (const Action &action : schedule.ranks[rank])
      for (int i = 0; i < action.size(); ++i) {
        const Task &task = action[i];
        if (task.path < 0 || task.path >= problem.numPaths())
          return text("rank ", rank, " names path ", task.path, " of ", problem.numPaths());
        if (task.stage < 0 || task.stage >= problem.numStages())
          return text("rank ", rank, " names stage ", task.stage, " of ", problem.numStages());
        if (task.microBatch < 0 || task.microBatch >= problem.microBatches[task.path])
          return text("rank ", rank, " names micro-batch ", task.microBatch, " of ",
                      problem.microBatches[task.path], " at stage ", task.stage);
        const int home = problem.rankOf[task.path][task.stage];
        if (home != rank)
          return text("rank ", rank, " runs ", describe(problem, task), ", which is rank ", home,
                      "'s");
        if (i == 1 && (task.kind == TaskKind::BackwardWeight ||
                       action.first.kind == TaskKind::BackwardWeight))
          return text("rank ", rank, " overlaps ", describe(problem, action.first), " with ",
                      describe(problem, task), "; only F, B and b overlap");
        char &bits = seen[cells.of(task)];
        const char bit = static_cast<char>(1 << static_cast<int>(task.kind));
        static_assert(static_cast<int>(TaskKind::BackwardWeight) == 3, "bits follow the kinds");
        if (bits & (bit == F ? F : bit == W ? B | W : bit == B ? B | b | W : B | b))
          return text("rank ", rank, " runs ", describe(problem, task),
                      bits & bit ? " twice" : " although that work is done in another form");
        bits |= bit;
      }
  for (int path = 0; path < problem.numPaths(); ++path)
    for (int s = 0; s < problem.numStages(); ++s)
      for (int m = 0; m < problem.microBatches[path]; ++m) {
        const char bits = seen[cells.of(path, s, m)];
        if ((bits & F) && (bits == (F | B) || bits == (F | b | W)))
          continue;
        TaskKind missing = !(bits & F)         ? TaskKind::Forward
                           : !(bits & (B | b)) ? TaskKind::Backward
                                               : TaskKind::BackwardWeight;
        return text("rank ", problem.rankOf[path][s], " never runs ",
                    describe(problem, Task{missing, path, s, m}));
      }
  return {};
}

/// Gradients are sums of floats: one order of micro-batches gives one result.
static Refusal verifyAccumulation(const Problem &problem, const Schedule &schedule) {
  std::vector<int> next(problem.numPaths() * problem.numStages(), 0);
  for (int rank = 0; rank < problem.ranks; ++rank)
    for (const Action &action : schedule.ranks[rank])
      for (int i = 0; i < action.size(); ++i) {
        const Task &task = action[i];
        if (!task.accumulates())
          continue;
        int &due = next[task.path * problem.numStages() + task.stage];
        if (task.microBatch != due)
          return text("rank ", rank, " adds the weight gradients of micro-batch ", task.microBatch,
                      " at stage ", task.stage, " where micro-batch ", due,
                      " is due; keep the order of micro-batches");
        ++due;
      }
  return {};
}

/// The first need of a vertex that has not run.
static int unmetNeed(const Graph &graph, const EarliestTimes &times, int vertex, Task &needing) {
  int unmet = -1;
  const Action &action = graph.action(vertex);
  for (int i = 0; i < action.size(); ++i)
    graph.needs(action[i], [&](int need, const Message *) {
      if (unmet < 0 && times.finish[need] < 0) {
        unmet = need;
        needing = action[i];
      }
    });
  return unmet;
}

static Refusal verifyProgress(const Graph &graph, const EarliestTimes &times) {
  if (times.complete())
    return {};
  const Problem &problem = graph.problem;
  int rank = 0;
  while (times.stuck[rank] < 0)
    ++rank;
  // Every stuck rank waits for a stuck rank: follow them until one comes again.
  std::vector<int> visited(problem.ranks, 0);
  Task task;
  for (int visits = 1; visits <= 2; ++visits) {
    std::string chain;
    while (visited[rank] < visits) {
      visited[rank] = visits;
      const int vertex = times.stuck[rank], need = unmetNeed(graph, times, vertex, task);
      const int other = graph.rankOf[need];
      if (need == vertex)
        return text("rank ", rank, " overlaps ", describe(problem, task), " with what it needs in ",
                    shortName(problem, graph.action(need)), "; run them one after the other");
      if (other == rank)
        return text("rank ", rank, " runs ", describe(problem, task), " before ",
                    shortName(problem, graph.action(need)), ", which it needs; put that first");
      chain += text(chain.empty() ? "" : ", ", "rank ", rank, " with ", describe(problem, task),
                    " for ", shortName(problem, graph.action(need)), " on rank ", other);
      rank = other;
    }
    if (visits == 2)
      return text("ranks wait for each other for ever: ", chain);
  }
  return {};
}

static Refusal verifyMemory(const Problem &problem, const Schedule &schedule) {
  if (problem.unlimited())
    return {};
  for (int rank = 0; rank < problem.ranks; ++rank) {
    const Peak peak = peakMemory(problem, schedule.ranks[rank]);
    const double bytes = problem.parameterBytes(rank) + peak.bytes;
    if (bytes > problem.memoryLimit * (1 + 1e-12))
      return text("rank ", rank, " holds ", bytes, " bytes (", peak.activations,
                  " activations) at ", shortName(problem, schedule.ranks[rank][peak.action]),
                  ", above the limit of ", problem.memoryLimit, "; use a limit of ", bytes,
                  " or a schedule that holds less");
  }
  return {};
}

Refusal moire::scheduling::verify(const Problem &problem, const Schedule &schedule) {
  if (Refusal refusal = check(problem))
    return refusal;
  if (Refusal refusal = verifyTasks(problem, schedule))
    return refusal;
  if (Refusal refusal = verifyAccumulation(problem, schedule))
    return refusal;
  Graph graph(problem, schedule);
  if (Refusal refusal = verifyProgress(graph, runEarliest(graph)))
    return refusal;
  if (!schedule.messages.empty())
    if (Refusal refusal = verifyMessages(graph))
      return refusal;
  return verifyMemory(problem, schedule);
}
