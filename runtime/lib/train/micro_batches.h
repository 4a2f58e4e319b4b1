//===- micro_batches.h - The micro-batches of a step ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_MICRO_BATCHES_H
#define MOIRE_RT_MICRO_BATCHES_H

#include "moire/rt/context.h"
#include "train/data.h"
#include "train/expert_load.h"

#include <deque>

namespace moire::rt {

/// Gives a rank its micro-batches and, without a pipeline, runs them: whole, or in parts where
/// their rows find no room at the experts.
class MicroBatches {
public:
  /// experts: counts rows, if any.
  MicroBatches(Context &ctx, ExpertLoad *experts) : ctx(ctx), experts(experts) {}

  /// Those of the step or evaluation that comes, which stay until it has ended.
  void begin(const MicroBatch *ofStep);
  /// The task works on this one from now on.
  void setInputs(TaskState &task, int64_t micro);
  /// Forward and backward, or where ctx.trains is false the forward alone. last: of the step,
  /// which it ends, too. Throws RunError where one row alone finds no room.
  void run(int64_t micro, bool last);

  /// So far, of training: micro-batches that ran in parts, and parts, a whole one being one.
  int64_t overflows() const { return overflowCount; }
  int64_t parts() const { return partCount; }

private:
  void runRows(int64_t begin, int64_t end, bool last);
  void selectRows(int64_t begin, int64_t end);

  Context &ctx;
  ExpertLoad *experts;
  const MicroBatch *batches = nullptr;
  /// Those of the step's parts, which a GPU may still have to read.
  std::deque<std::vector<int64_t>> partLabels;
  int64_t overflowCount = 0, partCount = 0;
};

} // namespace moire::rt

#endif // MOIRE_RT_MICRO_BATCHES_H
