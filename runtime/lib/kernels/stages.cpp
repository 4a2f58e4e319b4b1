//===- stages.cpp - What stages give each other, in the host's memory -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/parallel.h"
#include "moire/rt/pieces.h"
#include "train/stage_messages.h"

#include <algorithm>

namespace moire::rt {

namespace {
class OfHost final : public StageMessages {
public:
  explicit OfHost(Transport *link) : link(link) {}
  void copy(const std::vector<Piece> &from, const std::vector<Piece> &to) override {
    copyPieces(from, to);
  }
  void endTask(int) override {}
  void freeInbox(int) override {}
  void followMessage(int) override {}
  void send(int, const std::string &what, int peer, const std::vector<Piece> &from, int) override {
    link->exchange(what.c_str(), {{peer, from}}, {});
  }
  void receive(int, const std::string &what, int peer, const std::vector<Piece> &to, int) override {
    link->exchange(what.c_str(), {}, {{peer, to}});
  }

private:
  Transport *link;
};
} // namespace

std::unique_ptr<StageMessages> stageMessages(Context &, Transport *link, const StageCounts &) {
  return std::make_unique<OfHost>(link);
}

void addCopies(Context &ctx, const std::vector<const float *> &values, int64_t n, float *to) {
  parallelFor(ctx, n, kElementwiseGrain, [&](int64_t begin, int64_t end) {
    constexpr int64_t kBlock = 1024;
    float sum[kBlock];
    for (int64_t at = begin; at < end; at += kBlock) {
      const int64_t count = std::min(kBlock, end - at);
      std::copy_n(values[0] + at, count, sum);
      for (size_t k = 1; k < values.size(); ++k)
        for (int64_t i = 0; i < count; ++i)
          sum[i] += values[k][at + i];
      std::copy_n(sum, count, to + at);
    }
  });
}

int64_t roomToExchange(const Group &, const Comm::Pieces &, const Comm::Pieces &) { return 0; }
void exchangePieces(Context &ctx, const Group &group, const char *what, const Comm::Pieces &from,
                    const Comm::Pieces &to, float *) {
  ctx.comm->allToAllV(group, what, from, to);
}

} // namespace moire::rt
