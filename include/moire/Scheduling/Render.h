//===- Render.h - Schedules to look at -------------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SCHEDULING_RENDER_H
#define MOIRE_SCHEDULING_RENDER_H

#include "moire/Scheduling/Simulator.h"
#include <iosfwd>

namespace moire::scheduling {

struct TextOptions {
  /// Time of one column; 0: the shortest action takes two columns, or `width` columns take all.
  double column = 0;
  int width = 160;
};

/// A row of text for each rank. F is `3`, B `<3>`, b `[3]`, W `{3}`, a pair `3+2`, lane 1 in
/// letters (`d` is micro-batch 3), idle time is blank; what does not fit its columns is cut.
void writeTimetable(std::ostream &out, const Problem &problem, const Schedule &schedule,
                    const Timing &timing, const TextOptions &options = {});

/// A picture 1200 wide: a row for each rank, a box for each action with its name as tooltip.
void writeSvg(std::ostream &out, const Problem &problem, const Schedule &schedule,
              const Timing &timing);

/// The same with two rows for each rank: as planned, times multiplied by `factor`, and as measured,
/// of which start, finish and makespan are read.
void writeSvg(std::ostream &out, const Problem &problem, const Schedule &schedule,
              const Timing &planned, const Timing &measured, double factor);

/// Trace events as JSON for chrome://tracing and Perfetto: a process for each rank with a thread
/// for actions, one for memory (a counter, bytes), and flows for messages. `unitsPerSecond` says
/// how many of the problem's units of time a second has.
void writeChromeTrace(std::ostream &out, const Problem &problem, const Schedule &schedule,
                      const Timing &timing, double unitsPerSecond = 1);

/// Makespan, bubble and, for each rank, busy, idle, exposed communication and peak memory.
void writeSummary(std::ostream &out, const Problem &problem, const Timing &timing);

} // namespace moire::scheduling

#endif // MOIRE_SCHEDULING_RENDER_H
