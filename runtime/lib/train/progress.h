//===- progress.h - The line that a person watches --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_PROGRESS_H
#define MOIRE_RT_PROGRESS_H

#include "train/step_record.h"

#include <string>

namespace moire::rt {

/// "1.21 GB", "3.5 MB", "0.4 kB".
std::string sizeText(int64_t bytes);

/// On stderr: of a terminal one line that is rewritten, elsewhere about twenty.
class ProgressLine {
public:
  explicit ProgressLine(int64_t steps);
  ~ProgressLine() { close(); }
  ProgressLine(const ProgressLine &) = delete;

  void step(const StepRecord &r);
  /// Before something else is printed: what the terminal shows stays.
  void close();

  /// What is told of a step, in at most `width` columns (0: any number): what matters less
  /// is left out. secondsLeft: until the last step; less than 0: not known.
  static std::string text(const StepRecord &r, int64_t steps, double secondsLeft, int width);

private:
  const int64_t steps;
  const bool terminal;
  bool open = false;
  int64_t first = 0;            ///< the first step that was told
  double begin = 0, shown = -1; ///< when it was, and when the line was last written
};

} // namespace moire::rt

#endif // MOIRE_RT_PROGRESS_H
