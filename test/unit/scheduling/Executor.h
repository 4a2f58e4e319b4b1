//===- Executor.h - Runs schedules step by step, by brute force *- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A second opinion for the verifier: it shares no code with it and keeps what has happened in
// sets of names. Slow.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TEST_SCHEDULING_EXECUTOR_H
#define MOIRE_TEST_SCHEDULING_EXECUTOR_H

#include "moire/Scheduling/Schedule.h"
#include <array>
#include <set>

namespace testproblems {
using namespace moire::scheduling;

class Executor {
public:
  /// Whether every rank gets to its end with all the work done, in order and within memory.
  static bool runs(const Problem &problem, const Schedule &schedule) {
    return Executor(problem, schedule).run();
  }

private:
  using Name =
      std::array<int, 4>; // 'F', 'b', 'W', 'a' (activation) or 'c' (cotangent); path, stage, m
  const Problem &p;
  const Schedule &s;
  std::set<Name> happened;

  Executor(const Problem &problem, const Schedule &schedule) : p(problem), s(schedule) {}
  bool has(int what, int path, int stage, int m) const {
    return happened.count({what, path, stage, m});
  }

  /// What one rank needs from another arrives as a message, where messages have an order.
  bool input(int kind, int path, int stage, int from, int m) const {
    if (from < 0 || from >= static_cast<int>(p.stages.size()))
      return true;
    const bool here = p.rankOf[path][from] == p.rankOf[path][stage];
    return here || s.messages.empty() ? has(kind, path, from, m)
                                      : has(kind == 'F' ? 'a' : 'c', path, from, m);
  }

  bool ready(const Task &t) const {
    switch (t.kind) {
    case TaskKind::Forward:
      return input('F', t.path, t.stage, t.stage - 1, t.microBatch);
    case TaskKind::Backward:
    case TaskKind::BackwardInput:
      return has('F', t.path, t.stage, t.microBatch) &&
             input('b', t.path, t.stage, t.stage + 1, t.microBatch);
    case TaskKind::BackwardWeight:
      return has('b', t.path, t.stage, t.microBatch);
    }
    return false;
  }

  bool run() {
    const int ranks = static_cast<int>(s.ranks.size());
    if (ranks != p.ranks || (!s.messages.empty() && s.messages.size() != s.ranks.size()))
      return false;
    std::vector<size_t> at(ranks, 0), head(ranks, 0);
    std::vector<double> bytes(ranks, 0);
    std::vector<std::set<int>> stagesOf(ranks);
    for (const auto &path : p.rankOf)
      for (size_t stage = 0; stage < path.size(); ++stage)
        if (stagesOf[path[stage]].insert(static_cast<int>(stage)).second)
          bytes[path[stage]] += p.stages[stage].parameterBytes;
    size_t done = 0, total = 0, accumulated[64][64] = {};
    for (bool moved = true; moved;) {
      moved = false;
      for (int r = 0; r < ranks; ++r) {
        if (at[r] < s.ranks[r].size()) {
          const Action &action = s.ranks[r][at[r]];
          bool all = true;
          for (int i = 0; i < action.size(); ++i) {
            if (p.rankOf[action[i].path][action[i].stage] != r)
              return false;
            all &= ready(action[i]);
          }
          if (all) {
            for (int i = 0; i < action.size(); ++i)
              if (action[i].kind == TaskKind::Forward)
                bytes[r] += p.stages[action[i].stage].activationBytes;
            if (p.memoryLimit > 0 && bytes[r] > p.memoryLimit + 1e-6)
              return false;
            for (int i = 0; i < action.size(); ++i)
              if (!finish(action[i], bytes[r], accumulated[action[i].path][action[i].stage]))
                return false;
            ++at[r], ++done, moved = true;
          }
        }
        if (!s.messages.empty() && head[r] < s.messages[r].size()) {
          const Message &m = s.messages[r][head[r]];
          const int to = m.stage + (m.cotangent ? -1 : 1);
          if (to < 0 || to >= static_cast<int>(p.stages.size()))
            return false;
          const int a = p.rankOf[m.path][m.stage], b = p.rankOf[m.path][to];
          if ((a != r && b != r) || a == b)
            return false;
          const int peer = a == r ? b : a;
          if (has(m.cotangent ? 'b' : 'F', m.path, m.stage, m.microBatch) &&
              head[peer] < s.messages[peer].size() && s.messages[peer][head[peer]] == m) {
            if (!happened.insert({m.cotangent ? 'c' : 'a', m.path, m.stage, m.microBatch}).second)
              return false;
            ++head[r], ++head[peer], moved = true;
          }
        }
      }
    }
    for (int r = 0; r < ranks; ++r) {
      total += s.ranks[r].size();
      if (!s.messages.empty() && head[r] != s.messages[r].size())
        return false;
    }
    size_t work = 0;
    for (int m : p.microBatches)
      work += 3 * m * p.stages.size();
    size_t tasks = 0;
    for (const Name &name : happened)
      tasks += name[0] == 'F' || name[0] == 'b' || name[0] == 'W';
    return done == total && tasks == work;
  }

  bool finish(const Task &t, double &bytes, size_t &accumulated) {
    auto once = [&](int what) {
      return happened.insert({what, t.path, t.stage, t.microBatch}).second;
    };
    const StageCost &cost = p.stages[t.stage];
    const double kept =
        cost.weightResidualBytes < 0 ? cost.activationBytes : cost.weightResidualBytes;
    if (t.kind == TaskKind::Forward)
      return once('F');
    bool good = true;
    if (t.kind != TaskKind::BackwardWeight) {
      good &= once('b');
      bytes -= cost.activationBytes - kept;
    }
    if (t.kind != TaskKind::BackwardInput) {
      good &= once('W') && static_cast<size_t>(t.microBatch) == accumulated++;
      bytes -= kept;
    }
    return good;
  }
};

} // namespace testproblems

#endif // MOIRE_TEST_SCHEDULING_EXECUTOR_H
