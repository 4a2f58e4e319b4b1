//===- Simulator.h - What a schedule costs ---------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SCHEDULING_SIMULATOR_H
#define MOIRE_SCHEDULING_SIMULATOR_H

#include "moire/Scheduling/Schedule.h"

namespace moire::scheduling {

/// How one rank spends the step, in the problem's units. busy + idle = the makespan.
struct RankTiming {
  double busy = 0;
  double idle = 0;
  double transferWait = 0; ///< idle although what it waits for is made: a message is under way
  double collective = 0;   ///< busy, but only with communication inside its actions
  double span = 0;         ///< from its first action's start to its last action's end
  double peakBytes = 0;    ///< parameters and activations
  int peakActivations = 0;
};

struct Timing {
  /// [rank][action]
  std::vector<std::vector<double>> start, finish;
  double makespan = 0;
  std::vector<RankTiming> ranks;

  /// Idle time of all ranks as a fraction of makespan x ranks.
  double bubble() const;
  /// Transfers and collectives that nothing hides, summed over ranks.
  double exposedCommunication() const;
  double peakBytes() const;
};

/// Runs a schedule as discrete events. A rank works through its actions, each as soon as the rank
/// is free and its inputs are there. A message goes to its link when it is made (outputTime), which
/// moves one message after another, at `contention` times its bandwidth while either end
/// computes; a message arrives `latency` after its last byte has left, and the sender never waits.
/// The schedule must be one that verify accepts; where ranks wait for each other in a cycle the
/// makespan is infinite.
Timing simulate(const Problem &problem, const Schedule &schedule);

} // namespace moire::scheduling

#endif // MOIRE_SCHEDULING_SIMULATOR_H
