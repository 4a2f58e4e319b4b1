//===- link_host.cpp - Device memory to other ranks through the host ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "cuda/link.h"
#include "cuda/stages.h"
#include "moire/rt/comm.h"
#include "moire/rt/device.h"

namespace moire::rt {

namespace {
class ThroughHost final : public DeviceLink {
public:
  void exchange(Context &ctx, const char *what, const std::vector<DeviceMessage> &sends,
                const std::vector<DeviceMessage> &receives) override {
    followJobs(ctx);
    int64_t bytes = 0;
    for (const auto *list : {&sends, &receives})
      for (const DeviceMessage &m : *list)
        bytes += padded(m.bytes);
    if (bytes > room.size())
      room = Block(bytes);
    char *at = room.data();
    std::vector<Message> out, in;
    for (const DeviceMessage &m : sends) {
      download(ctx, at, m.data, m.bytes);
      out.push_back({m.peer, {{at, m.bytes}}});
      at += padded(m.bytes);
    }
    for (const DeviceMessage &m : receives) {
      in.push_back({m.peer, {{at, m.bytes}}});
      at += padded(m.bytes);
    }
    ctx.comm->exchange(what, out, in);
    for (size_t i = 0; i < in.size(); ++i)
      upload(ctx, receives[i].data, in[i].pieces[0].data, receives[i].bytes);
  }
  std::string describe() const override { return "GPU memory through the host"; }
  std::unique_ptr<StageMessages> stages(Context &ctx, Transport *link,
                                        const StageCounts &counts) override {
    return stagesThroughHost(ctx, link, counts);
  }

private:
  static int64_t padded(int64_t bytes) { return (bytes + 63) / 64 * 64; }
  Block room; ///< grows to what the largest exchange needs
};
} // namespace

std::shared_ptr<DeviceLink> linkThroughHost() { return std::make_shared<ThroughHost>(); }

} // namespace moire::rt
