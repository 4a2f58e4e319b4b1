//===- report.h - What the trainer tells while it runs --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_REPORT_H
#define MOIRE_RT_REPORT_H

#include "train/options.h"

#include <cstdio>
#include <string>

namespace moire::rt {

struct StepResult {
  int64_t step;
  double loss, lr, gradNorm, seconds;
  int64_t tokens;
};

/// The progress line and the log of one run.
class Report {
public:
  /// Opens the log; throws InputError where it cannot be written.
  Report(const Options &options, const Program &program);
  ~Report();
  /// Parameters, memory and data, before the first step.
  void start(const Context &ctx, const std::string &data);
  void step(const StepResult &r);

private:
  const Options &options;
  const Program &program;
  FILE *log = nullptr;
  bool terminal, lineOpen = false;
};

} // namespace moire::rt

#endif // MOIRE_RT_REPORT_H
