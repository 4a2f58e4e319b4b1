//===- stages_nccl.cpp - What stages give each other, by NCCL -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Messages have a communicator and a stream of their own, on which they are in the order of
// the rank's queue; the collectives of tasks have another order, which no rank could weave
// into this one alike. A message out follows the event of its task's end, a message in that
// of what last read the inbox, and the rank's stream the event of a message that it needs.
// The host waits for none of them.
//
// Two ranks' messages wait for each other in the order in which the queues were verified
// with messages that wait until they are received. A rank's host may stand still at each of
// them (as NCCL lets it when two ranks first meet, and as the model does): what a rank has
// yet to send lies behind in its queue, so nothing in front can wait for it.
//
//===----------------------------------------------------------------------===//

#include "cuda/link.h"
#include "cuda/stages.h"
#include "moire/rt/device.h"

#if defined(MOIRE_CUDA_MODEL) || defined(MOIRE_NCCL)

#include <algorithm>

namespace moire::rt {

namespace {
class ByNccl final : public StagesOnGpu {
public:
  ByNccl(Context &ctx, const StageCounts &counts)
      : StagesOnGpu(ctx, counts), communicator(std::make_unique<Communicator>(ctx)),
        ends(counts.messages) {
    for (cudaEvent_t &event : ends)
      MOIRE_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    warm();
  }
  ~ByNccl() override {
    communicator.reset(); // first: it ends what is on the stream
    for (cudaEvent_t event : ends)
      cudaEventDestroy(event);
  }

  bool runsBehind() const override { return true; }
  void beginCapture() override {
    // A captured message can wait for captured events alone.
    for (size_t inbox = 0; inbox < inboxFrees.size(); ++inbox)
      freeInbox(int(inbox));
  }
  void check() override { communicator->check(); }
  void followMessage(int message) override {
    MOIRE_CUDA(cudaStreamWaitEvent(streamOf(ctx), ends[message], 0));
    communicator->check();
  }
  void send(int message, const std::string &what, int peer, const std::vector<Piece> &from,
            int task) override {
    MOIRE_CUDA(cudaStreamWaitEvent(stream, taskEnds[task], 0));
    start(message, what, peer, from, true);
  }
  void receive(int message, const std::string &what, int peer, const std::vector<Piece> &to,
               int inbox) override {
    MOIRE_CUDA(cudaStreamWaitEvent(stream, inboxFrees[inbox], 0));
    start(message, what, peer, to, false);
  }

private:
  void start(int message, const std::string &what, int peer, const std::vector<Piece> &pieces,
             bool send) {
    for (size_t first = 0; first < pieces.size(); first += Communicator::kMost) {
      std::vector<Communicator::Operation> operations;
      for (size_t i = first; i < std::min(pieces.size(), first + Communicator::kMost); ++i)
        operations.push_back({send, peer, pieces[i].data, pieces[i].bytes});
      communicator->exchange(what, operations, stream);
    }
    MOIRE_CUDA(cudaEventRecord(ends[message], stream));
  }

  /// NCCL connects two ranks at their first message, which takes long. Their numbers must come.
  void warm() {
    const Group pp = ctx.comm->groupOver("pp");
    const int32_t own = ctx.comm->rank();
    DeviceBlock mine(sizeof own), all(pp.size() * int64_t(sizeof own));
    upload(ctx, mine.data(), &own, sizeof own);
    upload(ctx, all.as<int32_t>() + pp.index, &own, sizeof own);
    for (size_t first = 1; first < size_t(pp.size()); first += Communicator::kMost / 2) {
      std::vector<Communicator::Operation> operations;
      for (int i = int(first); i < std::min<int>(pp.size(), first + Communicator::kMost / 2); ++i) {
        const int next = (pp.index + i) % pp.size(),
                  previous = (pp.index + pp.size() - i) % pp.size();
        operations.push_back({true, pp.members[next], mine.data(), sizeof own});
        operations.push_back(
            {false, pp.members[previous], all.as<int32_t>() + previous, sizeof own});
      }
      communicator->exchange("the first message", operations, streamOf(ctx));
    }
    std::vector<int32_t> members(pp.size());
    download(ctx, members.data(), all.data(), all.size());
    communicator->check();
    if (!std::equal(members.begin(), members.end(), pp.members.begin()))
      throw RunError("NCCL's first message gives other ranks' numbers than it should; "
                     "--gpu-link host does without NCCL");
  }

  std::unique_ptr<Communicator> communicator;
  std::vector<cudaEvent_t> ends; ///< of messages
};
} // namespace

std::unique_ptr<StageMessages> stagesByNccl(Context &ctx, const StageCounts &counts) {
  return std::make_unique<ByNccl>(ctx, counts);
}

} // namespace moire::rt

#endif
