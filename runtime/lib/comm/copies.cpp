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
#include "moire/rt/parallel.h"
#include "moire/rt/pieces.h"
#include "moire/rt/pipeline.h"

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

/// values[k] added in order; to may be one of them.
void addInOrder(Context &ctx, const std::vector<const float *> &values, int64_t n, float *to) {
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

/// holders: coordinates of pp, ascending; pp: their ranks.
void addSlices(Context &ctx, const Group &pp, const std::vector<int> &holders,
               const std::vector<Slice> &slices) {
  int64_t come = 0;
  for (const Slice &s : slices)
    for (int64_t k = 0; k < s.parameter->numCopies; ++k)
      come += s.parameter->copies[k].rank == pp.index ? 0 : s.length;
  auto *room = static_cast<float *>(ctx.scratch(come * int64_t(sizeof(float))));
  std::map<int, Message> sends, receives;
  std::vector<std::vector<const float *>> copies(slices.size());
  for (size_t i = 0; i < slices.size(); ++i) {
    const auto [p, at, length] = slices[i];
    const int64_t bytes = length * int64_t(sizeof(float));
    for (int64_t k = 0; k < p->numCopies; ++k) {
      const CopyInfo &copy = p->copies[k];
      if (copy.rank != pp.index) {
        copies[i].push_back(room);
        receives[copy.rank].pieces.push_back({room, bytes});
        room += length;
        continue;
      }
      float *own = ctx.grad(copy.gradOffset + at);
      copies[i].push_back(own);
      for (int holder : holders)
        if (holder != pp.index)
          sends[holder].pieces.push_back({own, bytes});
    }
  }
  std::vector<Message> out, in;
  for (auto *messages : {&sends, &receives})
    for (auto &[coordinate, message] : *messages) {
      message.peer = pp.members[coordinate];
      (messages == &sends ? out : in).push_back(std::move(message));
    }
  if (!out.empty() || !in.empty())
    ctx.comm->exchange("sum of copies of gradients", out, in);
  for (size_t i = 0; i < slices.size(); ++i)
    addInOrder(ctx, copies[i], slices[i].length,
               ctx.grad(gradAt(*slices[i].parameter) + slices[i].at));
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
    if (p.trainable && p.numCopies > 0)
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
