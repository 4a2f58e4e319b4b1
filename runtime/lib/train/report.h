//===- report.h - What the trainer tells while it runs --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_REPORT_H
#define MOIRE_RT_REPORT_H

#include "train/event_file.h"
#include "train/options.h"
#include "train/progress.h"
#include "train/step_log.h"

#include <memory>
#include <string>

namespace moire::rt {

/// The progress line, the log and the events of one run.
class Report {
public:
  /// silent: of a rank that leaves the talking to rank 0.
  Report(const Options &options, const Program &program, bool silent = false);
  /// Opens what is written; throws InputError where it cannot be. done: steps of the run that
  /// this one goes on from, which stay in the log.
  void openLog(int64_t done);
  /// A line of text.
  void say(const std::string &text);
  void warn(const std::string &text);
  /// Parameters, memory, data and, where there are several, ranks, before the first
  /// step.
  void start(const Context &ctx, const std::string &data, const std::string &ranks);
  void step(const Context &ctx, const StepResult &r, std::vector<RouterLoad> routers = {},
            std::vector<GroupReport> groups = {});
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
  void largestOfStages(const Context &ctx);
  std::string describeLengths(const Context &ctx) const;
  /// With what the result, the program and the device tell of speed and memory.
  StepRecord recordOf(const Context &ctx, const StepResult &r);

  const Options &options;
  const Program &program;
  const bool silent;
  ProgressLine progress;
  std::unique_ptr<StepLog> log;      ///< null: none is asked for
  std::unique_ptr<EventFile> events; ///< null: none is asked for
  double peakFlops = 0;              ///< of all ranks; 0: not known
  MemoryInUse memory;
  double memorySeen = 0; ///< when memory was
};

} // namespace moire::rt

#endif // MOIRE_RT_REPORT_H
