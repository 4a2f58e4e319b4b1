//===- Ramp.h - How many micro-batches the steps of a run have -*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_SCHEDULING_RAMP_H
#define MOIRE_SCHEDULING_RAMP_H

#include "moire/Scheduling/Problem.h"

namespace moire::scheduling {

/// Once `after` steps are done, a step has so many micro-batches of a rank.
struct RampEntry {
  int64_t microBatches = 1, after = 0;
  bool operator==(const RampEntry &other) const {
    return microBatches == other.microBatches && after == other.after;
  }
};
using Ramp = std::vector<RampEntry>;

/// `4@0,8@1000`: M@STEP, each entry. Refuses what is not written so and what check refuses.
Refusal parseRamp(const std::string &text, Ramp &ramp);

/// Whether the first entry is after 0 steps, the others after more and more, and each has from 1 to
/// 2^20 micro-batches.
Refusal check(const Ramp &ramp);

/// The numbers of micro-batches, each once, ascending.
std::vector<int64_t> countsOf(const Ramp &ramp);

/// Of the step that comes after `done` steps.
int64_t microBatchesAfter(const Ramp &ramp, int64_t done);

} // namespace moire::scheduling

#endif // MOIRE_SCHEDULING_RAMP_H
