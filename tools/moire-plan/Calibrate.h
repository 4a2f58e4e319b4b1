//===- Calibrate.h - A cluster file of this machine ------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_PLAN_CALIBRATE_H
#define MOIRE_TOOLS_PLAN_CALIBRATE_H

#include "Files.h"

namespace moire::plan {

struct CalibrateRequest {
  bool wanted = false;
  std::string device = "cpu";
  int threads = 0; ///< 0: all of the machine
  std::string output, json;
};

/// Measures this machine, prints what was measured, and adds the cluster file to `files`.
Refusal calibrate(const CalibrateRequest &request, std::ostream &out, Files &files);

} // namespace moire::plan

#endif // MOIRE_TOOLS_PLAN_CALIBRATE_H
