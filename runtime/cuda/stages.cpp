//===- stages.cpp - What stages give each other, through the host ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The queue's thread has a stream of its own. A message out follows the end of its task, a
// message in what last read the inbox; the thread waits until its copies are done, the one
// that computes only for messages that it needs.
//
//===----------------------------------------------------------------------===//

#include "cuda/stages.h"
#include "cuda/link.h"
#include "cuda/pinned.h"

#include <algorithm>

namespace moire::rt {

//===----------------------------------------------------------------------===//
// The stream beside the rank's
//===----------------------------------------------------------------------===//

StagesOnGpu::StagesOnGpu(Context &ctx, const StageCounts &counts)
    : ctx(ctx), taskEnds(counts.tasks), inboxFrees(counts.inboxes) {
  int lowest = 0, highest = 0;
  MOIRE_CUDA(cudaDeviceGetStreamPriorityRange(&lowest, &highest));
  MOIRE_CUDA(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, highest));
  for (auto *events : {&taskEnds, &inboxFrees})
    for (cudaEvent_t &event : *events)
      MOIRE_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
}

StagesOnGpu::~StagesOnGpu() {
  for (auto *events : {&taskEnds, &inboxFrees})
    for (cudaEvent_t event : *events)
      cudaEventDestroy(event);
  cudaStreamDestroy(stream);
}

void StagesOnGpu::copy(const std::vector<Piece> &from, const std::vector<Piece> &to) {
  for (size_t i = 0, j = 0, at = 0, into = 0; i < from.size() && j < to.size();) {
    const int64_t bytes = std::min(from[i].bytes - int64_t(at), to[j].bytes - int64_t(into));
    if (bytes > 0)
      MOIRE_CUDA(cudaMemcpyAsync(static_cast<char *>(to[j].data) + into,
                                 static_cast<const char *>(from[i].data) + at, size_t(bytes),
                                 cudaMemcpyDeviceToDevice, streamOf(ctx)));
    if ((at += bytes) == size_t(from[i].bytes))
      ++i, at = 0;
    if ((into += bytes) == size_t(to[j].bytes))
      ++j, into = 0;
  }
}
void StagesOnGpu::endTask(int task) { MOIRE_CUDA(cudaEventRecord(taskEnds[task], streamOf(ctx))); }
void StagesOnGpu::freeInbox(int inbox) {
  MOIRE_CUDA(cudaEventRecord(inboxFrees[inbox], streamOf(ctx)));
}

//===----------------------------------------------------------------------===//
// Through the host
//===----------------------------------------------------------------------===//

namespace {
class ThroughHost final : public StagesOnGpu {
public:
  ThroughHost(Context &ctx, Transport *link, const StageCounts &counts)
      : StagesOnGpu(ctx, counts), link(link), gpu(currentGpu()) {}

  void followMessage(int) override {}
  void send(int, const std::string &what, int peer, const std::vector<Piece> &from,
            int task) override {
    const std::vector<Piece> there = grow(from);
    MOIRE_CUDA(cudaStreamWaitEvent(stream, taskEnds[task], 0));
    move(from, there, cudaMemcpyDeviceToHost);
    link->exchange(what.c_str(), {{peer, there}}, {});
  }
  void receive(int, const std::string &what, int peer, const std::vector<Piece> &to,
               int inbox) override {
    const std::vector<Piece> there = grow(to);
    link->exchange(what.c_str(), {}, {{peer, there}});
    MOIRE_CUDA(cudaStreamWaitEvent(stream, inboxFrees[inbox], 0));
    move(there, to, cudaMemcpyHostToDevice);
  }

private:
  /// As many pieces on the host.
  std::vector<Piece> grow(const std::vector<Piece> &pieces) {
    MOIRE_CUDA(cudaSetDevice(gpu)); // a thread begins with the first one
    int64_t bytes = 0;
    for (const Piece &piece : pieces)
      bytes += piece.bytes;
    if (bytes > room.size())
      room = PinnedBlock(bytes);
    std::vector<Piece> there;
    char *at = room.data();
    for (const Piece &piece : pieces) {
      there.push_back({at, piece.bytes});
      at += piece.bytes;
    }
    return there;
  }
  /// Is done when it returns.
  void move(const std::vector<Piece> &from, const std::vector<Piece> &to, cudaMemcpyKind kind) {
    for (size_t i = 0; i < from.size(); ++i)
      if (from[i].bytes > 0)
        MOIRE_CUDA(cudaMemcpyAsync(to[i].data, from[i].data, size_t(from[i].bytes), kind, stream));
    MOIRE_CUDA(cudaStreamSynchronize(stream));
  }
  static int currentGpu() {
    int number = 0;
    MOIRE_CUDA(cudaGetDevice(&number));
    return number;
  }

  Transport *link;
  const int gpu;
  PinnedBlock room; ///< grows to what the largest message needs
};
} // namespace

std::unique_ptr<StageMessages> stagesThroughHost(Context &ctx, Transport *link,
                                                 const StageCounts &counts) {
  return std::make_unique<ThroughHost>(ctx, link, counts);
}

std::unique_ptr<StageMessages> stageMessages(Context &ctx, Transport *link,
                                             const StageCounts &counts) {
  return ctx.link ? ctx.link->stages(ctx, link, counts) : stagesThroughHost(ctx, link, counts);
}

} // namespace moire::rt
