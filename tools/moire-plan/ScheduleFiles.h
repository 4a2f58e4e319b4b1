//===- ScheduleFiles.h - Schedules as IR in files --------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_PLAN_SCHEDULEFILES_H
#define MOIRE_TOOLS_PLAN_SCHEDULEFILES_H

#include "Schedules.h"
#include <iosfwd>

namespace moire::plan {

/// The pipe.schedules of a file, simulated: all of them, or those that `names` lists. Refuses a
/// file that is no IR or has none, and a name that it lacks.
Refusal readSchedules(const std::string &path, const std::vector<std::string> &names,
                      std::vector<Outcome> &outcomes);

/// A module with a pipe.schedule and its stages for each outcome that was not refused; where there
/// are several, each in a module of its own, named after the schedule.
void writeSchedules(std::ostream &out, const std::vector<Outcome> &outcomes);

} // namespace moire::plan

#endif // MOIRE_TOOLS_PLAN_SCHEDULEFILES_H
