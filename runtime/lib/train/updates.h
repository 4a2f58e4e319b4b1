//===- updates.h - Which groups of parameters a step trains ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Program::updateGroups, by --update-schedule and --freeze-below. A group that rests keeps its
// parameters and the optimizer's state as they are.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_UPDATES_H
#define MOIRE_RT_UPDATES_H

#include "moire/rt/context.h"
#include "train/step_record.h"

#include <string>
#include <vector>

namespace moire::rt {

struct Options;
struct Progress;

/// Once `after` steps are done these groups are trained: bit i is Program::updateGroups[i].
struct UpdatePhase {
  int64_t after;
  uint64_t groups;
};
/// "head@0,head+experts@500,all@1000"; `none` trains what is in no group. Throws InputError.
std::vector<UpdatePhase> parseUpdateSchedule(const std::string &text, const Program &program);

/// What a checkpoint keeps of a group.
struct GroupProgress {
  std::string name;
  uint64_t members = 0; ///< a fingerprint of its parameters' names
  int64_t updates = 0; ///< steps that trained it
  int64_t quiet = 0;   ///< of them the last ones under --freeze-below
  bool frozen = false; ///< by --freeze-below
};

class Updates {
public:
  Updates(const Program &program, const Options &options);

  /// The run goes on from here. Returns what is to be warned of, one sentence each.
  std::vector<std::string> resume(const Progress &done);
  /// Chooses the groups of a step, before beginStep(). Returns what is to be told: nothing where
  /// they are those of the step before.
  std::string begin(Context &ctx, int64_t step);
  /// Behind a step, by all ranks together: looks at its updates where that is asked for. Returns
  /// what is to be told of groups that rest from now on.
  std::string end(Context &ctx, int64_t step);

  const std::vector<GroupProgress> &progress() const { return groups; }
  /// Of the last step; empty where the program has no groups.
  std::vector<GroupReport> report() const;

private:
  uint64_t wanted(int64_t step) const;
  bool trains(uint64_t mask, size_t group) const { return mask >> group & 1; }

  const Options &options;
  const bool alwaysTrains; ///< there are parameters in no group
  std::vector<GroupProgress> groups;
  uint64_t chosen = ~uint64_t(0); ///< of the step
  bool begun = false;
  std::vector<double> relative; ///< by group: norm of the step's update over that of the parameters
};

} // namespace moire::rt

#endif // MOIRE_RT_UPDATES_H
