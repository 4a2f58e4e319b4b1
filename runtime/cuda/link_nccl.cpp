//===- link_nccl.cpp - Device memory to other ranks by NCCL ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One communicator over all ranks, of which sends and receives alone are used: a group
// is who exchanges messages, so that it needs no communicator of its own, and a sum adds
// in our order (collectives.cu). Exchanges of jobs and of the rank's other stream use it by
// turns, each behind the one before. Messages between stages have an order of their own, and
// so another communicator (stages_nccl.cpp).
//
//===----------------------------------------------------------------------===//

#include "cuda/communicator.h"
#include "cuda/link.h"
#include "cuda/stages.h"
#include "moire/rt/collectives.h"
#include "moire/rt/comm.h"
#include "moire/rt/device.h"

#if defined(MOIRE_CUDA_MODEL) || defined(MOIRE_NCCL)

#include <algorithm>

namespace moire::rt {

namespace {
/// Peers of one NCCL group: a send and a receive each.
constexpr size_t kPeers = Communicator::kMost / 2;

class ByNccl final : public DeviceLink {
public:
  explicit ByNccl(Context &ctx) : communicator(ctx) {}

  void exchange(Context &ctx, const char *what, const std::vector<DeviceMessage> &sends,
                const std::vector<DeviceMessage> &receives) override {
    followJobs(ctx);
    const size_t count = std::max(sends.size(), receives.size());
    for (size_t first = 0; first < count; first += kPeers) {
      std::vector<Communicator::Operation> operations;
      for (size_t i = first; i < std::min(count, first + kPeers); ++i) {
        if (i < sends.size())
          operations.push_back({true, sends[i].peer, sends[i].data, sends[i].bytes});
        if (i < receives.size())
          operations.push_back({false, receives[i].peer, receives[i].data, receives[i].bytes});
      }
      communicator.exchange(what, operations, streamOf(ctx));
    }
  }
  void check() override { communicator.check(); }
  bool runsBehind() const override { return true; }
  std::string describe() const override { return "GPU memory by NCCL"; }
  std::unique_ptr<StageMessages> stages(Context &ctx, Transport *,
                                        const StageCounts &counts) override {
    return stagesByNccl(ctx, counts);
  }

private:
  Communicator communicator;
};

/// A first exchange in each group, in the program's order: NCCL connects two ranks at
/// their first message, which takes long. The numbers of the members must come back.
void warm(Context &ctx) {
  for (int g = 0; g < int(ctx.program->numGroups); ++g) {
    const Group &group = ctx.comm->group(g);
    const int32_t own = int32_t(ctx.comm->rank());
    DeviceBlock mine(sizeof own), all(group.size() * int64_t(sizeof own));
    upload(ctx, mine.data(), &own, sizeof own);
    allGather(ctx, g, "the first exchange", mine.as<int32_t>(), all.as<int32_t>(), 1, 1, 1);
    std::vector<int32_t> members(group.size());
    download(ctx, members.data(), all.data(), all.size());
    ctx.link->check();
    if (!std::equal(members.begin(), members.end(), group.members.begin()))
      throw RunError("NCCL's first exchange gives other ranks' numbers than it should; "
                     "--gpu-link host does without NCCL");
  }
}
} // namespace

std::shared_ptr<DeviceLink> linkByNccl(Context &ctx) {
  ctx.link = std::make_shared<ByNccl>(ctx);
  if (ctx.program)
    warm(ctx);
  return ctx.link;
}

} // namespace moire::rt

#else

namespace moire::rt {
std::shared_ptr<DeviceLink> linkByNccl(Context &) { return nullptr; }
} // namespace moire::rt

#endif
