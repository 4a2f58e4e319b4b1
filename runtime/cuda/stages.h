//===- stages.h - What stages give each other, in GPU memory --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CUDA_STAGES_H
#define MOIRE_RT_CUDA_STAGES_H

#include "cuda/communicator.h"
#include "train/stage_messages.h"

namespace moire::rt {

/// A stream beside the rank's, for messages, and the events that order the two.
class StagesOnGpu : public StageMessages {
public:
  StagesOnGpu(Context &ctx, const StageCounts &counts);
  ~StagesOnGpu() override;

  void copy(const std::vector<Piece> &from, const std::vector<Piece> &to) override;
  void endTask(int task) override;
  void freeInbox(int inbox) override;

protected:
  Context &ctx;
  cudaStream_t stream = nullptr; ///< of messages
  /// On the rank's stream: the end of each task's last run, and of what read an inbox last.
  std::vector<cudaEvent_t> taskEnds, inboxFrees;
};

/// Copied to the host, moved there by the queue's thread, copied back: what any transport
/// moves. Without a link only copies are possible.
std::unique_ptr<StageMessages> stagesThroughHost(Context &ctx, Transport *link,
                                                 const StageCounts &counts);
/// By NCCL's sends and receives.
std::unique_ptr<StageMessages> stagesByNccl(Context &ctx, const StageCounts &counts);

} // namespace moire::rt

#endif // MOIRE_RT_CUDA_STAGES_H
