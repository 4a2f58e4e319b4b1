//===- Workloads.h - A schedule problem from flags or TOML -----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_PLAN_WORKLOADS_H
#define MOIRE_TOOLS_PLAN_WORKLOADS_H

#include "Units.h"
#include <map>

namespace moire::plan {

/// A problem as it is written: every value still text, empty where it is not given.
struct WorkloadText {
  std::string ranks, microBatches, parts, pieces;
  std::string latency, bandwidth, contention, memoryLimit, optimizer;
  std::vector<std::string> schedules;
  /// "F=57.6ms": of every part.
  std::vector<std::string> costs;
  /// Of each part, where they differ.
  std::vector<std::vector<std::string>> eachPart;

  bool given() const {
    return !ranks.empty() || !microBatches.empty() || !costs.empty() || !eachPart.empty();
  }
};

/// A problem that was understood.
struct NamedWorkload {
  scheduling::Workload workload;
  Units units;
  double optimizer = 0; ///< time after the last backward
};

/// Fills what `text` leaves empty from a TOML file (docs/moire-plan.md has the keys).
Refusal readWorkloadFile(const std::string &path, WorkloadText &text);

/// Costs that are not given follow from those that are: W = B - b, B = b + W, B = 2F, b = B / 2.
Refusal readWorkload(const WorkloadText &text, NamedWorkload &result);

} // namespace moire::plan

#endif // MOIRE_TOOLS_PLAN_WORKLOADS_H
