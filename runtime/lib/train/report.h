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
  /// silent: of a rank that leaves the talking to rank 0.
  Report(const Options &options, const Program &program, bool silent = false);
  ~Report();
  /// Opens the log; throws InputError where it cannot be written. done: steps of the run that
  /// this one goes on from, which stay in it.
  void openLog(int64_t done);
  /// A line of text.
  void say(const std::string &text);
  void warn(const std::string &text);
  /// Parameters, memory, data and, where there are several, ranks, before the first
  /// step.
  void start(const Context &ctx, const std::string &data, const std::string &ranks);
  void step(const StepResult &r);
  /// The mean loss over so many rows of --eval, after so many steps.
  void evaluation(int64_t step, double loss, int64_t rows, double seconds);
  /// A text and what the model goes on with.
  void text(const std::string &prompt, const std::string &more);
  /// How many micro-batches had more rows than slots, and the parts that all ran in.
  void overflows(int64_t microBatches, int64_t parts);
  /// How GPU memory goes to other ranks; empty: nothing to say.
  void connected(const std::string &how);
  /// What of a step is a CUDA graph; empty: nothing.
  void graphs(const std::string &what);
  /// At the end of a run on many ranks: seconds that rank 0 was in collectives, how long of
  /// these it computed nothing beside them, and how long the steps took.
  void ranksEnd(double inCollectives, double exposed, double seconds);
  /// The same in virtual time, a step's: the slowest rank's time, the ranks' mean otherwise.
  void virtualTimes(double step, double moving, double exposed);
  /// At the end of a pipeline's run: seconds that rank 0 waited for messages of other stages.
  void stagesEnd(double waited, double seconds);

private:
  void endLine();
  void largestOfStages(const Context &ctx);
  const Options &options;
  const Program &program;
  FILE *log = nullptr;
  bool silent, terminal, lineOpen = false;
};

} // namespace moire::rt

#endif // MOIRE_RT_REPORT_H
