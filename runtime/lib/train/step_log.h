//===- step_log.h - The log: one JSON object a step ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_STEP_LOG_H
#define MOIRE_RT_STEP_LOG_H

#include "train/step_record.h"

#include <cstdio>
#include <string>

namespace moire::rt {

/// Lines of JSON. docs/watching.md describes the fields.
class StepLog {
public:
  /// append: what the file has stays. Throws InputError where it cannot be written; flag names it
  /// in errors.
  StepLog(const std::string &path, const char *flag, bool append);
  ~StepLog();
  StepLog(const StepLog &) = delete;
  void step(const StepRecord &r);
  /// The mean loss over so many rows of --eval.
  void evaluation(int64_t step, double loss, int64_t rows, double seconds);

private:
  void line(const std::string &text);

  const std::string path;
  const char *flag;
  std::FILE *file;
};

} // namespace moire::rt

#endif // MOIRE_RT_STEP_LOG_H
