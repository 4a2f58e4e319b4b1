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
#include <set>

using namespace moire::scheduling;

using Verdict = std::optional<Fault>;

/// The position of the n-th task of an action.
static Position at(int rank, size_t index, const Action &action, int task) {
  return {rank, static_cast<int>(index), action.size() == 2 ? task : -1, false};
}

/// Where a task stands.
static std::optional<Position> find(const Schedule &schedule, int rank, const Task &task) {
  const std::vector<Action> &actions = schedule.ranks[rank];
  for (size_t n = 0; n < actions.size(); ++n)
    for (int i = 0; i < actions[n].size(); ++i)
      if (actions[n][i] == task)
        return at(rank, n, actions[n], i);
  return {};
}

/// A task that does work again: `twice`, or in another form.
static Fault again(const Problem &problem, const Schedule &schedule, int rank, const Task &task,
                   bool twice, Position position) {
  Fault fault{text("rank ", rank, " runs ", describe(problem, task),
                   twice ? " twice; leave one out"
                         : " although that work is done in another form; use either B, or b and W"),
              position,
              {}};
  for (TaskKind kind :
       {task.kind, TaskKind::Backward, TaskKind::BackwardInput, TaskKind::BackwardWeight}) {
    Task other = task;
    other.kind = kind;
    if (twice && kind != task.kind)
      continue;
    auto first = find(schedule, rank, other);
    if (first && (first->index != position.index || first->task != position.task)) {
      fault.notes.push_back({*first, text(letter(kind), " of it is here")});
      break;
    }
  }
  return fault;
}

/// Work of which only the tasks in `seen` (F = 1, B = 2, b = 4, W = 8) are there.
static Fault missingTask(const Problem &problem, const Schedule &schedule, int path, int stage,
                         int microBatch, int seen) {
  const int rank = problem.rankOf[path][stage];
  auto task = [&](TaskKind kind) { return Task{kind, path, stage, microBatch}; };
  const bool forward = seen & 1, inputs = seen & 4, weights = seen & 8;
  const TaskKind missing = !forward             ? TaskKind::Forward
                           : !inputs && weights ? TaskKind::BackwardInput
                           : !inputs            ? TaskKind::Backward
                                                : TaskKind::BackwardWeight;
  Fault fault{text("rank ", rank, " never runs ", describe(problem, task(missing))), {rank}, {}};
  if (inputs)
    fault.sentence += "; add it, or use B in place of b";
  for (TaskKind kind : {TaskKind::BackwardInput, TaskKind::BackwardWeight, TaskKind::Forward})
    if (auto place = find(schedule, rank, task(kind)); place && fault.notes.empty())
      fault.notes.push_back({*place, text(letter(kind), " of it is here")});
  return fault;
}

/// Which stages a rank has, for someone who wrote another.
static std::string stagesOf(const Problem &problem, int rank, const Task &task) {
  for (int path = 0; path < problem.numPaths(); ++path)
    if (problem.rankOf[path][task.stage] == rank)
      return text("; rank ", rank, " has that stage on path ", path);
  std::string own;
  for (int s = 0; s < problem.numStages(); ++s)
    if (problem.rankOf[task.path][s] == rank)
      own += text(own.empty() ? "; rank " : ", ", own.empty() ? text(rank, " has stage ") : "", s);
  return own;
}

/// Every task is one of the problem's and on its rank.
static Verdict verifyPlaces(const Problem &problem, const Schedule &schedule) {
  if (static_cast<int>(schedule.ranks.size()) != problem.ranks)
    return Fault{
        text("the schedule has ", schedule.ranks.size(), " ranks, the problem ", problem.ranks),
        {},
        {}};
  for (int rank = 0; rank < problem.ranks; ++rank)
    for (size_t n = 0; n < schedule.ranks[rank].size(); ++n) {
      const Action &action = schedule.ranks[rank][n];
      for (int i = 0; i < action.size(); ++i) {
        const Task &task = action[i];
        auto fault = [&](std::string sentence) {
          return Fault{std::move(sentence), at(rank, n, action, i), {}};
        };
        if (task.path < 0 || task.path >= problem.numPaths())
          return fault(text("rank ", rank, " names path ", task.path, " of ", problem.numPaths(),
                            "; use 0",
                            problem.numPaths() > 1 ? text(" to ", problem.numPaths() - 1) : ""));
        if (task.stage < 0 || task.stage >= problem.numStages())
          return fault(text("rank ", rank, " names stage ", task.stage, " of ", problem.numStages(),
                            "; use 0 to ", problem.numStages() - 1));
        if (task.microBatch < 0 || task.microBatch >= problem.microBatches[task.path])
          return fault(text("rank ", rank, " names micro-batch ", task.microBatch, " of ",
                            problem.microBatches[task.path], " at stage ", task.stage,
                            "; use 0 to ", problem.microBatches[task.path] - 1));
        const int home = problem.rankOf[task.path][task.stage];
        if (home != rank)
          return fault(text("rank ", rank, " runs ", describe(problem, task), ", which is rank ",
                            home, "'s", stagesOf(problem, rank, task)));
        if (i == 1 && task.kind == TaskKind::BackwardWeight &&
            action.first.kind == TaskKind::BackwardWeight)
          return fault(text("rank ", rank, " overlaps ", describe(problem, action.first), " with ",
                            describe(problem, task), "; there is nothing to overlap in two W"));
      }
    }
  return {};
}

/// A schedule with fewer tasks than there are forwards lacks one. Looked at first, so that a wrong
/// number of micro-batches never makes a table of that size.
static Verdict verifyCount(const Problem &problem, const Schedule &schedule) {
  int64_t forwards = 0, tasks = 0;
  for (int count : problem.microBatches)
    forwards += int64_t(count) * problem.numStages();
  for (const std::vector<Action> &actions : schedule.ranks)
    for (const Action &action : actions)
      tasks += action.size();
  if (tasks >= forwards)
    return {};
  std::vector<std::set<int>> there(problem.numPaths() * problem.numStages());
  for (const std::vector<Action> &actions : schedule.ranks)
    for (const Action &action : actions)
      for (int i = 0; i < action.size(); ++i)
        if (action[i].isForward())
          there[action[i].path * problem.numStages() + action[i].stage].insert(
              action[i].microBatch);
  for (int path = 0; path < problem.numPaths(); ++path)
    for (int s = 0; s < problem.numStages(); ++s) {
      int due = 0;
      for (int m : there[path * problem.numStages() + s])
        due += m == due;
      if (due < problem.microBatches[path])
        return missingTask(problem, schedule, path, s, due, 0);
    }
  return {};
}

/// Every task is there once.
static Verdict verifyOnce(const Problem &problem, const Schedule &schedule) {
  Cells cells(problem);
  enum { F = 1, B = 2, b = 4, W = 8 };
  std::vector<char> seen(cells.size(), 0);
  for (int rank = 0; rank < problem.ranks; ++rank)
    for (size_t n = 0; n < schedule.ranks[rank].size(); ++n) {
      const Action &action = schedule.ranks[rank][n];
      for (int i = 0; i < action.size(); ++i) {
        const Task &task = action[i];
        char &bits = seen[cells.of(task)];
        const char bit = static_cast<char>(1 << static_cast<int>(task.kind));
        static_assert(static_cast<int>(TaskKind::BackwardWeight) == 3, "bits follow the kinds");
        if (bits & (bit == F ? F : bit == W ? B | W : bit == B ? B | b | W : B | b))
          return again(problem, schedule, rank, task, bits & bit, at(rank, n, action, i));
        bits |= bit;
      }
    }
  for (int path = 0; path < problem.numPaths(); ++path)
    for (int s = 0; s < problem.numStages(); ++s)
      for (int m = 0; m < problem.microBatches[path]; ++m) {
        const char bits = seen[cells.of(path, s, m)];
        if ((bits & F) && (bits == (F | B) || bits == (F | b | W)))
          continue;
        return missingTask(problem, schedule, path, s, m, bits);
      }
  return {};
}

/// Gradients are sums of floats: one order of micro-batches gives one result.
static Verdict verifyAccumulation(const Problem &problem, const Schedule &schedule) {
  std::vector<int> next(problem.numPaths() * problem.numStages(), 0);
  for (int rank = 0; rank < problem.ranks; ++rank)
    for (size_t n = 0; n < schedule.ranks[rank].size(); ++n)
      for (int i = 0; i < schedule.ranks[rank][n].size(); ++i) {
        const Task &task = schedule.ranks[rank][n][i];
        if (!task.accumulates())
          continue;
        int &due = next[task.path * problem.numStages() + task.stage];
        if (task.microBatch == due) {
          ++due;
          continue;
        }
        Fault fault{text("rank ", rank, " adds the weight gradients of micro-batch ",
                         task.microBatch, " at stage ", task.stage, " where micro-batch ", due,
                         " is due; keep the order of micro-batches"),
                    at(rank, n, schedule.ranks[rank][n], i),
                    {}};
        for (TaskKind kind : {TaskKind::Backward, TaskKind::BackwardWeight})
          if (auto place = find(schedule, rank, {kind, task.path, task.stage, due}))
            fault.notes.push_back({*place, text("micro-batch ", due, " is here")});
        return fault;
      }
  return {};
}

/// Whether `task` needs what `other` makes.
static bool needs(const Task &task, const Task &other) {
  if (task.path != other.path || task.microBatch != other.microBatch)
    return false;
  if (task.isForward())
    return other.isForward() && other.stage == task.stage - 1;
  if (task.kind == TaskKind::BackwardWeight)
    return other.kind == TaskKind::BackwardInput && other.stage == task.stage;
  return other.isForward() ? other.stage == task.stage
                           : other.isBackward() && other.stage == task.stage + 1;
}

/// The first thing that a vertex which never runs waits for.
struct Wait {
  int task = 0;    ///< of the vertex' action
  int vertex = -1; ///< what it waits for,
  int need = 0;    ///< and which task of that
};

static Wait unmetNeed(const Graph &graph, const EarliestTimes &times, int vertex) {
  Wait wait;
  const Action &action = graph.action(vertex);
  for (int i = 0; i < action.size(); ++i)
    graph.needs(action[i], [&](int need, const Message *) {
      if (wait.vertex < 0 && times.finish[need] < 0)
        wait.vertex = need, wait.task = i;
    });
  const Action &other = graph.action(wait.vertex);
  wait.need = other.size() == 2 && !needs(action[wait.task], other[0]);
  return wait;
}

static Verdict verifyProgress(const Graph &graph, const EarliestTimes &times) {
  if (times.complete())
    return {};
  const Problem &problem = graph.problem;
  int rank = 0;
  while (times.stuck[rank] < 0)
    ++rank;
  auto position = [&](int vertex, int task) {
    const int on = graph.rankOf[vertex];
    return at(on, vertex - graph.firstVertex[on], graph.action(vertex), task);
  };
  // Every stuck rank waits for a stuck rank: follow them until one comes again.
  std::vector<int> visited(problem.ranks, 0);
  for (int visits = 1; visits <= 2; ++visits) {
    Fault fault;
    while (visited[rank] < visits) {
      visited[rank] = visits;
      const int vertex = times.stuck[rank];
      const Wait wait = unmetNeed(graph, times, vertex);
      const Task &task = graph.action(vertex)[wait.task];
      const Task &need = graph.action(wait.vertex)[wait.need];
      const int other = graph.rankOf[wait.vertex];
      const Position here = position(vertex, wait.task);
      if (wait.vertex == vertex)
        return Fault{text("rank ", rank, " overlaps ", describe(problem, task), " with ",
                          describe(problem, need),
                          ", which it needs; run them one after the other"),
                     here,
                     {}};
      if (other == rank)
        return Fault{text("rank ", rank, " runs ", describe(problem, task), " before ",
                          describe(problem, need), ", which it needs; put that first"),
                     here,
                     {{position(wait.vertex, wait.need), "what it needs is here"}}};
      if (fault.sentence.empty())
        fault = {"ranks wait for each other for ever: ", here, {}};
      else
        fault.notes.push_back({here, text("rank ", rank, " waits here")});
      fault.sentence +=
          text(fault.notes.empty() ? "" : ", ", "rank ", rank, " with ", describe(problem, task),
               " for ", describe(problem, need), " on rank ", other);
      rank = other;
    }
    if (visits == 2)
      return fault;
  }
  return {};
}

static Verdict verifyMemory(const Problem &problem, const Schedule &schedule) {
  if (problem.unlimited())
    return {};
  for (int rank = 0; rank < problem.ranks; ++rank) {
    const Peak peak = peakMemory(problem, schedule.ranks[rank]);
    const double bytes = problem.parameterBytes(rank) + peak.bytes;
    if (bytes > problem.memoryLimit * (1 + 1e-12))
      return Fault{
          text("rank ", rank, " holds ", bytes, " bytes (", peak.activations, " activations) at ",
               describe(problem, schedule.ranks[rank][peak.action][0]), ", above the limit of ",
               problem.memoryLimit, "; use a limit of ", bytes, " or a schedule that holds less"),
          {rank, peak.action},
          {}};
  }
  return {};
}

std::optional<Fault> moire::scheduling::findFault(const Problem &problem,
                                                  const Schedule &schedule) {
  if (Refusal refusal = check(problem))
    return Fault{*refusal, {}, {}};
  for (auto verify : {verifyPlaces, verifyCount, verifyOnce})
    if (Verdict fault = verify(problem, schedule))
      return fault;
  if (Verdict fault = verifyAccumulation(problem, schedule))
    return fault;
  Graph graph(problem, schedule);
  if (Verdict fault = verifyProgress(graph, runEarliest(graph)))
    return fault;
  if (!schedule.messages.empty())
    if (Verdict fault = verifyMessages(graph))
      return fault;
  return verifyMemory(problem, schedule);
}

Refusal moire::scheduling::verify(const Problem &problem, const Schedule &schedule) {
  if (std::optional<Fault> fault = findFault(problem, schedule))
    return fault->sentence;
  return {};
}
