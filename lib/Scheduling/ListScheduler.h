//===- ListScheduler.h - Schedules made action by action --------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_SCHEDULING_LISTSCHEDULER_H
#define MOIRE_LIB_SCHEDULING_LISTSCHEDULER_H

#include "moire/Scheduling/Schedule.h"

namespace moire::scheduling {

/// How a rank chooses among what it could do.
struct Policy {
  /// The fraction of the activation memory that the first and the last rank use for forwards.
  double memoryFirst = 1, memoryLast = 1;
  /// Forwards of a stage in flight on a rank: so many times what a steady flow of pairs has, and
  /// so many more. Without a bound a rank fills its memory early and loses the rhythm.
  double flight = 1, flightMore = 0;
  /// Activations that a forward alone leaves free, for pairs.
  double spare = 0;
  /// How long a forward or a backward waits for the other, as a part of what their pair saves.
  double patience = 1;
  /// How much of a W has to fit in a gap.
  double gap = 0.5;
  /// Forwards that a rank still has to do, as a part of all, below which a lone backward is split.
  double splitBelow = 1;
  /// Stages that go first: those nearer to the loss, or nearer to the input.
  bool forwardDeep = true, backwardDeep = true;
  /// Whether two forwards, or two backwards, may overlap where that saves time.
  bool equalPairs = false;
};

/// Runs `problem` in time order; each rank that is free takes a pair, a backward, a forward or a
/// W by `policy`. At most `memory` bytes of activations on a rank. False where memory makes it
/// stall.
bool listSchedule(const Problem &problem, const Policy &policy, const std::vector<double> &memory,
                  Schedule &schedule, double &makespan);

/// Changes a verified schedule in small steps, by annealing from a low heat, and keeps the
/// shortest: actions move, forwards and backwards pair and part, weights split off and return.
/// Places at most about `budget` actions. Returns the makespan; messages are left empty.
double improveSchedule(const Problem &problem, const std::vector<double> &memory, long budget,
                       Schedule &schedule);

} // namespace moire::scheduling

#endif // MOIRE_LIB_SCHEDULING_LISTSCHEDULER_H
