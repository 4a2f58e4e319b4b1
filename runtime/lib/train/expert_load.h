//===- expert_load.h - How full experts were ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_EXPERT_LOAD_H
#define MOIRE_RT_EXPERT_LOAD_H

#include "moire/rt/comm.h"
#include "moire/rt/context.h"
#include "train/step_record.h"

#include <vector>

namespace moire::rt {

/// Has countRows() count, and tells what was counted.
class ExpertLoad {
public:
  explicit ExpertLoad(Context &ctx);

  /// A step ended that had so many micro-batches, of all ranks that have data of their own.
  void endStep(int64_t microBatches);
  /// By all ranks together, after a step: the sums of all ranks, which begin at 0 again.
  std::vector<RouterLoad> take();

  /// Where a part of a micro-batch begins, and where it turns out that it has to run again.
  void mark();
  void backToMark();

private:
  Context &ctx;
  std::vector<int64_t> pairs; ///< of each router, since the last take()
  std::vector<int64_t> marked;
};

} // namespace moire::rt

#endif // MOIRE_RT_EXPERT_LOAD_H
