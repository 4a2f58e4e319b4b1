//===- trace.h - What a rank did when, for chrome://tracing and Perfetto ---===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Chrome trace events: a process for each rank, a thread for what it computes and one
// for its messages. A task's event says in `args` what it is, as
//     {"step": 2, "round": 0, "tasks": [{"kind": "F", "path": 0, "stage": 1, "micro_batch": 3}]}
// with two tasks where they ran as one function; moire-plan --measured reads that.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_TRACE_H
#define MOIRE_RT_TRACE_H

#include "moire/rt/comm.h"

#include <atomic>
#include <cstdio>
#include <mutex>

namespace moire::rt {

class Trace {
public:
  /// Rows of a rank, in the order in which they are shown.
  enum Row { steps, tasks, waits, messages, collectives };

  /// Throws InputError where the file cannot be written. Rank 0 writes it, the others
  /// (comm's) send it theirs; comm: null for the only rank.
  Trace(const std::string &path, Comm *comm);
  ~Trace();

  /// Steady time in seconds.
  static double now();
  /// Ranks whose clocks have nothing in common take this moment, which they have
  /// together, as the same.
  void meet() { met = now(); }
  /// Only while it is on.
  void add(Row row, const std::string &name, double begin, double end,
           const std::string &args = {});
  /// From now on events are, or are not, kept; they are of this step.
  void setStep(int64_t number, bool keep) {
    step = number;
    on = keep;
  }
  /// The computing thread alone: what it does from now on until the next call, or endNode().
  void beginNode(const char *name);
  void endNode();
  bool isOn() const { return on; }
  int64_t currentStep() const { return step; }

  /// All ranks together, when no rank's queue has anything to do.
  void write();

private:
  struct Event {
    Row row;
    double begin, end;
    std::string name, args;
  };
  std::string textOf(double origin) const;

  const std::string path;
  Comm *comm;
  std::FILE *file = nullptr;
  double met = 0;
  std::atomic<bool> on{false};
  std::atomic<int64_t> step{0};
  std::mutex lock; ///< of events, which three threads make
  std::vector<Event> events;
  const char *openNode = nullptr; ///< null: none
  double nodeBegin = 0;
};

} // namespace moire::rt

#endif // MOIRE_RT_TRACE_H
