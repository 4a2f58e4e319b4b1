//===- Search.h - The schedule named auto -----------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SCHEDULING_SEARCH_H
#define MOIRE_SCHEDULING_SEARCH_H

#include "moire/Scheduling/Simulator.h"

namespace moire::scheduling {

struct SearchOptions {
  /// Work of all tries together, in actions placed by a policy; ten million take two to three
  /// seconds. The search is a function of its input: it looks at no clock.
  long budget = 20000000;
  /// Most stages on a rank that are tried; limited by Workload::pieces as well.
  int stagesPerRank = 4;
};

/// The least time of any schedule on a placement, and what makes it so.
struct Bound {
  double time = 0;
  enum Why {
    Way,           ///< one micro-batch takes as long, down all stages and back
    FirstBackward, ///< until `wait` no backward can be on `rank`, and forwards fill `filled` of it
    LastForward    ///< as long as `wait` after its last forward the step still goes on
  } why = Way;
  int rank = -1;
  double wait = 0, filled = 0;
  bool byMemory = false; ///< memory is what holds no more than `filled`
};

struct SearchResult {
  Problem problem; ///< with the placement that was chosen
  Schedule schedule;
  Timing timing;
  std::string how;       ///< a generator's name, or what list scheduling did
  std::string generator; ///< the best generator within the memory limit; empty: none fits
  double generatorMakespan = 0;
  Bound bound;   ///< of this placement
  int tried = 0; ///< schedules made
};

/// The fastest schedule that is found for `workload` under its memory limit. All generators that
/// the workload allows are tried, then list schedules on 1, 2, … stages a rank laid in turns down
/// and up the ranks, in cycles, and on DualPipe's placement, with policies that are improved step
/// by step. Refuses what no placement takes, and a memory limit that nothing tried keeps, with the
/// least that works.
Refusal searchSchedule(const Workload &workload, const SearchOptions &options,
                       SearchResult &result);

/// The same on a given placement: the list schedules only, and those generators that fit it.
Refusal searchPlaced(const Problem &problem, const SearchOptions &options, SearchResult &result);

/// Every schedule of `problem` takes at least that long within its memory limit.
Bound makespanBound(const Problem &problem);

} // namespace moire::scheduling

#endif // MOIRE_SCHEDULING_SEARCH_H
