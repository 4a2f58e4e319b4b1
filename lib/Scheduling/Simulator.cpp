//===- Simulator.cpp - Schedules as discrete events -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Scheduling/Simulator.h"
#include "Graph.h"
#include <algorithm>
#include <cmath>
#include <deque>
#include <map>

using namespace moire::scheduling;

double Timing::bubble() const {
  double idle = 0;
  for (const RankTiming &rank : ranks)
    idle += rank.idle;
  return makespan > 0 ? idle / (makespan * static_cast<double>(ranks.size())) : 0;
}

double Timing::exposedCommunication() const {
  double sum = 0;
  for (const RankTiming &rank : ranks)
    sum += rank.transferWait + rank.collective;
  return sum;
}

double Timing::peakBytes() const {
  double peak = 0;
  for (const RankTiming &rank : ranks)
    peak = std::max(peak, rank.peakBytes);
  return peak;
}

namespace {

/// Messages on one directed link: one moves, the others queue, some are past their last byte.
struct Wire {
  struct Parcel {
    Message message;
    double bytes;
  };
  int from, to;
  Link link;
  std::deque<Parcel> queue;
};

/// Transfers as fluids: between two events every rate is constant.
class Fluid {
public:
  Fluid(const Graph &graph, EarliestTimes &times)
      : graph(graph), problem(graph.problem), times(times), ranks(problem.ranks),
        arrival(2 * graph.cells.size(), -1),
        next(graph.firstVertex.begin(), graph.firstVertex.end() - 1), running(ranks, -1) {
    times.start.assign(graph.size(), 0);
    times.finish.assign(graph.size(), -1);
    times.made.assign(graph.size(), {0, 0});
    times.stuck.assign(ranks, -1);
  }

  void run() {
    for (int rank = 0; rank < ranks; ++rank)
      begin(rank);
    while (step()) {
    }
    for (int rank = 0; rank < ranks; ++rank)
      if (next[rank] < graph.firstVertex[rank + 1])
        times.stuck[rank] = next[rank];
    times.makespan = now;
  }

private:
  const Graph &graph;
  const Problem &problem;
  EarliestTimes &times;
  const int ranks;
  double now = 0;
  std::vector<double> arrival; // [2 * cell + cotangent]; negative: not there
  std::vector<int> next, running;
  std::vector<Wire> wires;
  std::map<std::pair<int, int>, int> wireOf;
  std::multimap<double, int> landings; // time → receiving rank
  std::multimap<double, Message> made; // time → what then may leave

  size_t slot(const Message &m) const { return 2 * graph.cells.of(m) + m.cotangent; }

  /// Starts the rank's next action where its inputs are there.
  void begin(int rank) {
    if (running[rank] >= 0 || next[rank] == graph.firstVertex[rank + 1])
      return;
    const int vertex = next[rank];
    const Action &action = graph.action(vertex);
    bool ready = true;
    for (int i = 0; i < action.size(); ++i)
      graph.needs(action[i], [&](int need, const Message *m) {
        if (m)
          ready &= arrival[slot(*m)] >= 0 && arrival[slot(*m)] <= now;
        else
          ready &= need >= 0 && times.finish[need] >= 0 && times.finish[need] <= now &&
                   running[rank] != need;
      });
    if (!ready)
      return;
    running[rank] = vertex;
    times.start[vertex] = now;
    times.finish[vertex] = now + actionCost(problem, action);
    for (int i = 0; i < action.size(); ++i) {
      const Task &task = action[i];
      const int to = task.stage + (task.isForward() ? 1 : -1);
      times.made[vertex][i] = now + outputTime(problem, action, i);
      if (task.kind != TaskKind::BackwardWeight && to >= 0 && to < problem.numStages() &&
          problem.rankOf[task.path][to] != rank)
        made.emplace(times.made[vertex][i],
                     Message{!task.isForward(), task.path, task.stage, task.microBatch});
    }
  }

  void send(const Message &message) {
    const int from = senderOf(problem, message), to = receiverOf(problem, message);
    auto [it, fresh] = wireOf.try_emplace({from, to}, static_cast<int>(wires.size()));
    if (fresh)
      wires.push_back({from, to, problem.linkOf(from, to), {}});
    wires[it->second].queue.push_back({message, messageBytes(problem, message)});
  }

  double rate(const Wire &wire) const {
    const bool contended = running[wire.from] >= 0 || running[wire.to] >= 0;
    return wire.link.bandwidth * (contended ? problem.contention : 1);
  }

  void land(Wire &wire) {
    const Message &message = wire.queue.front().message;
    arrival[slot(message)] = now + wire.link.latency;
    landings.emplace(now + wire.link.latency, wire.to);
    wire.queue.pop_front();
  }

  /// Moves to the next event; false where nothing is left to happen.
  bool step() {
    double until = INFINITY;
    for (int rank = 0; rank < ranks; ++rank)
      if (running[rank] >= 0)
        until = std::min(until, times.finish[running[rank]]);
    if (!landings.empty())
      until = std::min(until, landings.begin()->first);
    if (!made.empty())
      until = std::min(until, made.begin()->first);
    const Wire *first = nullptr; // whose message ends the interval
    for (const Wire &wire : wires)
      if (!wire.queue.empty()) {
        const double end = now + wire.queue.front().bytes / rate(wire);
        if (end <= until) {
          until = end;
          first = &wire;
        }
      }
    if (until == INFINITY)
      return false;
    for (Wire &wire : wires)
      if (!wire.queue.empty())
        wire.queue.front().bytes =
            &wire == first || std::isinf(wire.link.bandwidth)
                ? 0
                : std::max(0.0, wire.queue.front().bytes - (until - now) * rate(wire));
    now = until;
    for (Wire &wire : wires)
      while (!wire.queue.empty() && wire.queue.front().bytes <= 0)
        land(wire);
    for (; !made.empty() && made.begin()->first <= now; made.erase(made.begin()))
      send(made.begin()->second);
    std::vector<int> awake;
    for (int rank = 0; rank < ranks; ++rank)
      if (running[rank] >= 0 && times.finish[running[rank]] <= now) {
        running[rank] = -1;
        ++next[rank];
        awake.push_back(rank);
      }
    while (!landings.empty() && landings.begin()->first <= now) {
      awake.push_back(landings.begin()->second);
      landings.erase(landings.begin());
    }
    for (int rank : awake)
      begin(rank);
    return true;
  }
};

} // namespace

/// Whether a transfer takes no more than its latency, so that links never queue.
static bool transfersAreInstant(const Problem &problem) {
  auto instant = [](const Link &link) { return std::isinf(link.bandwidth); };
  if (problem.links.empty() ? instant(problem.link)
                            : std::all_of(problem.links.begin(), problem.links.end(), instant))
    return true;
  return std::all_of(problem.stages.begin(), problem.stages.end(),
                     [](const StageCost &cost) { return cost.outputBytes == 0; });
}

Timing moire::scheduling::simulate(const Problem &problem, const Schedule &schedule) {
  Graph graph(problem, schedule);
  EarliestTimes times;
  if (transfersAreInstant(problem))
    times = runEarliest(graph);
  else
    Fluid(graph, times).run();

  Timing timing;
  timing.makespan = times.complete() ? times.makespan : INFINITY;
  for (int rank = 0; rank < problem.ranks; ++rank) {
    timing.start.emplace_back(times.start.begin() + graph.firstVertex[rank],
                              times.start.begin() + graph.firstVertex[rank + 1]);
    timing.finish.emplace_back(times.finish.begin() + graph.firstVertex[rank],
                               times.finish.begin() + graph.firstVertex[rank + 1]);
    RankTiming row;
    double free = 0;
    for (int vertex = graph.firstVertex[rank]; vertex < graph.firstVertex[rank + 1]; ++vertex) {
      const Action &action = graph.action(vertex);
      double made = free; // when all that it needs exists somewhere
      for (int i = 0; i < action.size(); ++i)
        graph.needs(action[i], [&](int need, const Message *message) {
          if (need >= 0)
            made = std::max(made, message ? times.made[need][graph.makerOf(need, *message)]
                                          : times.finish[need]);
        });
      row.transferWait += std::max(0.0, times.start[vertex] - made);
      row.busy += actionCost(problem, action);
      row.collective += exposedCollective(problem, action);
      free = times.finish[vertex];
    }
    if (!schedule.ranks[rank].empty())
      row.span = free - timing.start[rank].front();
    row.idle = timing.makespan - row.busy;
    const Peak peak = peakMemory(problem, schedule.ranks[rank]);
    row.peakBytes = problem.parameterBytes(rank) + peak.bytes;
    row.peakActivations = peak.activations;
    timing.ranks.push_back(row);
  }
  return timing;
}
