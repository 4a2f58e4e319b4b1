//===- Messages.cpp - The order of messages, and whether it can block -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Messages.h"
#include "Text.h"
#include <algorithm>
#include <numeric>

using namespace moire::scheduling;

/// The messages that a finished task leaves, to other ranks.
static int messagesOf(const Problem &problem, const Task &task, Message &message) {
  const int next = task.stage + (task.isForward() ? 1 : -1);
  if (task.kind == TaskKind::BackwardWeight || next < 0 || next >= problem.numStages())
    return 0;
  const std::vector<int> &place = problem.rankOf[task.path];
  message = {!task.isForward(), task.path, task.stage, task.microBatch};
  return place[next] != place[task.stage];
}

bool moire::scheduling::orderMessages(const Problem &problem, Schedule &schedule) {
  schedule.messages.clear();
  Graph graph(problem, schedule);
  EarliestTimes times = runEarliest(graph);
  if (!times.complete())
    return false;
  // A message is made no earlier than what its action waits for; equal times keep the order of
  // execution.
  std::vector<std::pair<double, Message>> all;
  for (int vertex : times.order) {
    const Action &action = graph.action(vertex);
    Message message;
    for (int i = 0; i < action.size(); ++i)
      if (messagesOf(problem, action[i], message))
        all.push_back({times.made[vertex][i], message});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const auto &a, const auto &b) { return a.first < b.first; });
  schedule.messages.resize(problem.ranks);
  for (const auto &[time, message] : all) {
    schedule.messages[senderOf(problem, message)].push_back(message);
    schedule.messages[receiverOf(problem, message)].push_back(message);
  }
  return true;
}

std::string moire::scheduling::describe(const Problem &problem, const Message &message) {
  return text(message.cotangent ? "cotangent" : "activation", " of micro-batch ",
              message.microBatch, " from stage ", message.stage,
              problem.numPaths() > 1 ? text(" on path ", message.path) : std::string());
}

static Position message(int rank, size_t index) {
  return {rank, static_cast<int>(index), -1, true};
}

/// A message that is not in the queue of `rank`, and perhaps in that of `peer`.
static Fault missingMessage(const Graph &graph, const Message &m, int rank, int peer) {
  const bool sends = senderOf(graph.problem, m) == rank;
  Fault fault{text("rank ", rank, sends ? " never sends the " : " never receives the ",
                   describe(graph.problem, m)),
              {rank, -1, -1, true},
              {}};
  const std::vector<Message> &other = graph.schedule.messages[peer];
  const auto end = std::find(other.begin(), other.end(), m);
  if (end != other.end())
    fault.notes.push_back({message(peer, end - other.begin()),
                           text("rank ", peer, sends ? " receives" : " sends", " it here")});
  return fault;
}

/// Why a message is none: it names what the problem lacks, or both of its ends are one rank's.
static std::string whyUnknown(const Problem &problem, const Message &m) {
  if (m.path < 0 || m.path >= problem.numPaths())
    return text("there is no path ", m.path, " of ", problem.numPaths());
  if (m.stage < 0 || m.stage >= problem.numStages())
    return text("there is no stage ", m.stage, " of ", problem.numStages());
  if (m.microBatch < 0 || m.microBatch >= problem.microBatches[m.path])
    return text("there is no micro-batch ", m.microBatch, " of ", problem.microBatches[m.path]);
  const int to = m.stage + (m.cotangent ? -1 : 1);
  if (to < 0 || to >= problem.numStages())
    return text("no stage comes ", m.cotangent ? "before" : "after", " stage ", m.stage);
  return text("rank ", senderOf(problem, m), " has stage ", to, " as well");
}

/// Every message of the problem is once in the queues of its sender and its receiver.
static std::optional<Fault> checkQueues(const Graph &graph) {
  const Problem &problem = graph.problem;
  const std::vector<std::vector<Message>> &queues = graph.schedule.messages;
  if (static_cast<int>(queues.size()) != problem.ranks)
    return Fault{
        text("message queues of ", queues.size(), " ranks for ", problem.ranks, " ranks"), {}, {}};
  // Bit 1: sent; bit 2: received; shifted by 2 for cotangents.
  std::vector<char> seen(graph.cells.size(), 0);
  for (int rank = 0; rank < problem.ranks; ++rank)
    for (size_t n = 0; n < queues[rank].size(); ++n) {
      const Message &m = queues[rank][n];
      auto fault = [&, at = message(rank, n)](std::string sentence) {
        return Fault{std::move(sentence), at, {}};
      };
      const int to = m.stage + (m.cotangent ? -1 : 1);
      const bool known = m.path >= 0 && m.path < problem.numPaths() && m.stage >= 0 &&
                         m.stage < problem.numStages() && to >= 0 && to < problem.numStages() &&
                         m.microBatch >= 0 && m.microBatch < problem.microBatches[m.path];
      if (!known || senderOf(problem, m) == receiverOf(problem, m))
        return fault(text("rank ", rank, " has a message that no two ranks exchange, the ",
                          describe(problem, m), ": ", whyUnknown(problem, m)));
      const bool sends = senderOf(problem, m) == rank;
      if (!sends && receiverOf(problem, m) != rank)
        return fault(text("rank ", rank, " neither sends nor receives the ", describe(problem, m),
                          "; it goes from rank ", senderOf(problem, m), " to ",
                          receiverOf(problem, m)));
      const char bit = static_cast<char>((sends ? 1 : 2) << (m.cotangent ? 2 : 0));
      char &bits = seen[graph.cells.of(m)];
      if (bits & bit) {
        Fault twice = fault(text("rank ", rank, sends ? " sends" : " receives", " the ",
                                 describe(problem, m), " twice; leave one out"));
        const size_t first =
            std::find(queues[rank].begin(), queues[rank].end(), m) - queues[rank].begin();
        twice.notes.push_back({message(rank, first), "the first is here"});
        return twice;
      }
      bits |= bit;
    }
  for (int path = 0; path < problem.numPaths(); ++path)
    for (int s = 0; s < problem.numStages(); ++s)
      for (int micro = 0; micro < problem.microBatches[path]; ++micro)
        for (bool cotangent : {false, true}) {
          const int to = s + (cotangent ? -1 : 1);
          if (to < 0 || to >= problem.numStages())
            continue;
          const Message m{cotangent, path, s, micro};
          const int from = senderOf(problem, m), into = receiverOf(problem, m);
          const int bits = seen[graph.cells.of(m)] >> (cotangent ? 2 : 0) & 3;
          if (from != into && bits != 3)
            return missingMessage(graph, m, bits & 1 ? into : from, bits & 1 ? from : into);
        }
  return {};
}

std::optional<Fault> moire::scheduling::verifyMessages(const Graph &graph) {
  if (std::optional<Fault> fault = checkQueues(graph))
    return fault;
  const Problem &problem = graph.problem;
  const auto &queues = graph.schedule.messages;
  std::vector<char> done(graph.size(), 0);
  std::vector<char> moved(graph.cells.size(), 0); // bit 1: activation, 2: cotangent
  std::vector<int> next(graph.firstVertex.begin(), graph.firstVertex.end() - 1);
  std::vector<size_t> head(problem.ranks, 0);
  std::vector<int> work(problem.ranks);
  std::iota(work.rbegin(), work.rend(), 0);
  while (!work.empty()) {
    const int rank = work.back();
    work.pop_back();
    for (bool progress = true; progress;) {
      progress = false;
      while (next[rank] < graph.firstVertex[rank + 1]) {
        const Action &action = graph.action(next[rank]);
        bool ready = true;
        for (int i = 0; i < action.size(); ++i)
          graph.needs(action[i], [&](int need, const Message *m) {
            ready &=
                m ? (moved[graph.cells.of(*m)] & (m->cotangent ? 2 : 1)) != 0 : done[need] != 0;
          });
        if (!ready)
          break;
        done[next[rank]++] = 1;
        progress = true;
      }
      while (head[rank] < queues[rank].size()) {
        const Message &m = queues[rank][head[rank]];
        const int from = senderOf(problem, m), into = receiverOf(problem, m);
        const int peer = from == rank ? into : from, cell = graph.cells.of(m);
        const bool made = done[m.cotangent ? graph.backward[cell] : graph.forward[cell]];
        // Whichever end gets here last moves it: a send stands in its maker's own queue.
        if (!made || head[peer] == queues[peer].size() || !(queues[peer][head[peer]] == m))
          break;
        moved[cell] |= m.cotangent ? 2 : 1;
        ++head[rank], ++head[peer];
        work.push_back(peer);
        progress = true;
      }
    }
  }
  for (int rank = 0; rank < problem.ranks; ++rank)
    if (head[rank] < queues[rank].size()) {
      const Message &m = queues[rank][head[rank]];
      const int from = senderOf(problem, m), peer = from == rank ? receiverOf(problem, m) : from;
      const int cell = graph.cells.of(m);
      if (!done[m.cotangent ? graph.backward[cell] : graph.forward[cell]])
        continue; // another rank holds the reason
      const Message &other = queues[peer][head[peer]];
      return Fault{text("rank ", rank, " waits to ", from == rank ? "send" : "receive", " the ",
                        describe(problem, m), " while rank ", peer, " waits first for the ",
                        describe(problem, other),
                        ": their message queues deadlock; order both by the time of sending"),
                   message(rank, head[rank]),
                   {{message(peer, head[peer]), text("rank ", peer, " waits here")}}};
    }
  for (int rank = 0; rank < problem.ranks; ++rank)
    if (head[rank] < queues[rank].size())
      return Fault{
          text("rank ", rank, " waits for the ", describe(problem, queues[rank][head[rank]]),
               ", which its sender can make only after a message that is later in this queue"),
          message(rank, head[rank]),
          {}};
  return {};
}
