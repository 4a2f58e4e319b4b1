//===- memory_use.cpp - How much of its memory a rank really takes --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/memory_use.h"
#include "moire/rt/device.h"
#include "train/gather.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace moire::rt {

namespace {
const PipelineRankInfo *stagesOf(const Program &program, Comm *comm) {
  const PipelineInfo *info = program.pipeline;
  return info ? &info->ranks[comm ? comm->groupOver("pp").index : 0] : nullptr;
}
} // namespace

MemoryUse::MemoryUse(const std::string &path, Context &ctx, Comm *comm)
    : path(path), ctx(ctx), comm(comm) {
  if (!comm || comm->rank() == 0) {
    file = std::fopen(path.c_str(), "w");
    if (!file)
      throw InputError("cannot write --memory '" + path + "': " + std::strerror(errno));
  }
}

/// Of the length that the step has.
void MemoryUse::findRegions() {
  regions.clear();
  const PipelineRankInfo *own = stagesOf(*ctx.program, comm);
  if (!own) {
    regions.push_back({0, ctx.arena.size()});
    return;
  }
  regions.push_back({0, own->numStages ? own->stages[0].offset : own->inboxOffset});
  for (int64_t i = 0; i < own->numStages; ++i) {
    const HeldStageInfo &held = own->stages[i];
    const int64_t bytes = ctx.program->pipeline->stages[held.stage].slotBytes;
    for (int64_t slot = 0; slot < held.slots; ++slot)
      regions.push_back({held.offset + slot * bytes, held.offset + (slot + 1) * bytes});
  }
  for (int64_t i = 0; i < own->numInboxes; ++i)
    regions.push_back({own->inboxOffset + i * own->inboxBytes,
                       own->inboxOffset + (i + 1) * own->inboxBytes});
}

MemoryUse::~MemoryUse() {
  if (file)
    std::fclose(file);
}

void MemoryUse::fill(int64_t step) {
  findRegions();
  HostCopy copy(ctx, ctx.arena, /*read=*/false);
  if (ctx.arena.size())
    std::memset(copy.data(), pattern(step), size_t(ctx.arena.size()));
  copy.store();
}

void MemoryUse::look(int64_t step, int64_t microBatches, const Pipeline *pipeline) {
  const HostCopy copy(ctx, ctx.arena, /*read=*/true);
  for (Region &region : regions) {
    int64_t at = region.end;
    while (at > region.begin && static_cast<unsigned char>(copy.data()[at - 1]) == pattern(step))
      --at;
    region.touched = at - region.begin;
  }
  add(taken[{ctx.program, microBatches}], pipeline);
}

void MemoryUse::add(Taken &taken, const Pipeline *pipeline) const {
  auto most = [](int64_t &value, int64_t now) { value = std::max(value, now); };
  ++taken.steps;
  most(taken.temporaries, regions[0].touched);
  const PipelineRankInfo *own = stagesOf(*ctx.program, comm);
  if (!own || !pipeline)
    return;
  most(taken.inFlight, pipeline->mostInFlight());
  most(taken.waiting, pipeline->mostWaiting());
  taken.stages.resize(own->numStages);
  size_t next = 1;
  for (int64_t i = 0; i < own->numStages; ++i) {
    const HeldStageInfo &held = own->stages[i];
    const auto [slots, bytes] = touchedOf(next, next + size_t(held.slots));
    next += size_t(held.slots);
    most(taken.stages[i].slots, slots);
    most(taken.stages[i].slot, bytes);
    most(taken.stages[i].inFlight, pipeline->mostInFlight(held.stage));
  }
  const auto [inboxes, bytes] = touchedOf(next, regions.size());
  most(taken.inboxes, inboxes);
  most(taken.inbox, bytes);
}

std::pair<int64_t, int64_t> MemoryUse::touchedOf(size_t begin, size_t end) const {
  int64_t count = 0, most = 0;
  for (size_t i = begin; i < end; ++i) {
    count += regions[i].touched > 0;
    most = std::max(most, regions[i].touched);
  }
  return {count, most};
}

std::string MemoryUse::textOf(const Key &key, const Taken &taken) const {
  const auto &[program, microBatches] = key;
  auto field = [](const char *name, int64_t value) {
    return std::string("\"") + name + "\": " + std::to_string(value);
  };
  std::string text = "{" + field("rank", comm ? comm->rank() : 0) + ", " +
                     field("pp", comm ? comm->groupOver("pp").index : 0) + ", " +
                     (program->numLengths ? field("seq", program->seq) + ", " : "") +
                     field("micro_batches", microBatches) + ", " + field("steps", taken.steps) +
                     ", " + field("arena", ctx.arena.size()) + ", " +
                     field("temporaries", taken.temporaries);
  if (taken.stages.empty())
    return text + "}";
  text += ", " + field("in_flight", taken.inFlight) + ", \"stages\": [";
  const PipelineRankInfo *own = stagesOf(*program, comm);
  for (size_t i = 0; i < taken.stages.size(); ++i) {
    const Taken::Stage &stage = taken.stages[i];
    text += std::string(i ? ", {" : "{") + field("stage", own->stages[i].stage) + ", " +
            field("slots", stage.slots) + ", " + field("slot", stage.slot) + ", " +
            field("in_flight", stage.inFlight) + "}";
  }
  return text + "], " + field("inboxes", taken.inboxes) + ", " + field("inbox", taken.inbox) +
         ", " + field("messages_waiting", taken.waiting) + "}";
}

void MemoryUse::write() {
  std::string own;
  for (const auto &[key, of] : taken)
    own += (own.empty() ? "" : ",\n") + textOf(key, of);
  const std::vector<std::string> texts = gatherTexts(comm, own, "what memory ranks take");
  if (!file)
    return;
  std::string all;
  for (const std::string &text : texts)
    all += (all.empty() ? "" : ",\n") + text;
  std::fprintf(file, "{\"ranks\": [\n%s\n]}\n", all.c_str());
  closeWritten(file, "--memory", path);
}

} // namespace moire::rt
