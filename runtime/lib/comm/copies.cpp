//===- copies.cpp - Gradients of one parameter from several stages --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Every rank of pp that holds the parameter gets all copies and adds them itself, so
// that all have the same bits. Parameters with the same holders move together.
//
//===----------------------------------------------------------------------===//

#include "moire/rt/comm.h"
#include "moire/rt/gradients.h"
#include "moire/rt/optimizer.h"
#include "moire/rt/pieces.h"
#include "moire/rt/pipeline.h"
#include "train/stage_messages.h"

#include <algorithm>
#include <map>

namespace moire::rt {

namespace {
constexpr int64_t kMost = 25'000'000 / sizeof(float); ///< elements of copies that move at once

/// Elements [at, at + length) of a parameter's copies.
struct Slice {
  const ParameterInfo *parameter;
  int64_t at, length;
};

int64_t gradAt(const ParameterInfo &p) { return p.gradOffset < 0 ? p.offset : p.gradOffset; }

/// holders: coordinates of pp, ascending; pp: their ranks.
void addSlices(Context &ctx, const Group &pp, const std::vector<int> &holders,
               const std::vector<Slice> &slices) {
  // 1. What comes, one after another; places in the room are known later.
  int64_t come = 0;
  Comm::Pieces from(pp.size()), to(pp.size());
  for (const Slice &s : slices)
    for (int64_t k = 0; k < s.parameter->numCopies; ++k) {
      const CopyInfo &copy = s.parameter->copies[k];
      const int64_t bytes = s.length * int64_t(sizeof(float));
      if (copy.rank != pp.index) {
        to[copy.rank].push_back({nullptr, bytes});
        come += s.length;
        continue;
      }
      for (int holder : holders)
        if (holder != pp.index)
          from[holder].push_back({ctx.grad(copy.gradOffset + s.at), bytes});
    }
  const int64_t elements = come + roomToExchange(pp, from, to);
  auto *room = static_cast<float *>(ctx.scratch(elements * int64_t(sizeof(float))));
  // 2. The messages.
  float *at = room;
  for (auto &pieces : to)
    for (Piece &piece : pieces) {
      piece.data = at;
      at += piece.bytes / int64_t(sizeof(float));
    }
  if (holders.size() > 1)
    exchangePieces(ctx, pp, "sum of copies of gradients", from, to, room + come);
  // 3. The sums.
  std::vector<size_t> taken(pp.size());
  for (const Slice &s : slices) {
    std::vector<const float *> values;
    for (int64_t k = 0; k < s.parameter->numCopies; ++k) {
      const CopyInfo &copy = s.parameter->copies[k];
      values.push_back(copy.rank == pp.index
                           ? ctx.grad(copy.gradOffset + s.at)
                           : static_cast<float *>(to[copy.rank][taken[copy.rank]++].data));
    }
    addCopies(ctx, values, s.length, ctx.grad(gradAt(*s.parameter) + s.at));
  }
}
} // namespace

void sumCopies(Context &ctx) {
  const PipelineInfo &pipeline = *ctx.program->pipeline;
  const Group pp = ctx.comm ? ctx.comm->groupOver("pp") : Group{{0}, 0};
  std::map<int64_t, std::vector<int>> holders; // by a parameter's index
  for (int r = 0; r < pp.size(); ++r)
    for (int64_t i = 0; i < pipeline.ranks[r].numParameters; ++i)
      holders[pipeline.ranks[r].parameters[i].index].push_back(r);
  // All ranks visit sets of holders in one order, so that none waits for another in a circle.
  std::map<std::vector<int>, std::vector<Slice>> shared;
  for (int64_t i = 0; i < ctx.program->numParameters; ++i) {
    const ParameterInfo &p = ctx.program->parameters[i];
    if (isUpdated(ctx, p) && p.numCopies > 0)
      shared[holders[p.index]].push_back(
          {&p, 0, p.zero >= 2 ? owned(ctx, p).size() : shardElements(p)});
  }
  for (const auto &[set, whole] : shared) {
    std::vector<Slice> slices;
    int64_t elements = 0;
    for (const Slice &w : whole)
      for (int64_t at = 0; at < w.length;) {
        const int64_t copies = w.parameter->numCopies;
        const int64_t length =
            std::min(w.length - at, std::max<int64_t>(1, (kMost - elements) / copies));
        slices.push_back({w.parameter, at, length});
        at += length;
        elements += length * copies;
        if (elements + copies > kMost) {
          addSlices(ctx, pp, set, slices);
          slices.clear();
          elements = 0;
        }
      }
    if (!slices.empty())
      addSlices(ctx, pp, set, slices);
  }
}

} // namespace moire::rt
