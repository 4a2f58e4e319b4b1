//===- checkpoint_writer.cpp - Writing a checkpoint by all ranks ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/checkpoint_writer.h"
#include "moire/rt/device.h"
#include "train/durable.h"
#include "train/gather.h"
#include "train/placed_sum.h"

#include <algorithm>

namespace moire::rt {

static constexpr int64_t kItem = int64_t(1) << 22; // 16 MiB of host memory at a time

CheckpointWriter::CheckpointWriter(Context &ctx, std::string folder, int64_t keep)
    : ctx(ctx), folder(std::move(folder)), keep(keep), files(checkpointFiles(ctx)) {
  const Program &program = *ctx.program;
  for (size_t f = 0; f < files.size(); ++f)
    for (int64_t i = 0; i < program.numParameters; ++i) {
      const ParameterInfo &p = program.parameters[i];
      if (!files[f].holds(p))
        continue;
      const Held held = heldOf(ctx, files[f], p);
      const Owned written = writtenOf(ctx, files[f], p);
      for (int64_t begin = written.begin; begin < written.end; begin += kItem) {
        Item item = {f,
                     held.part,
                     {begin, std::min(written.end, begin + kItem)},
                     held.at + begin - held.range.begin,
                     files[f].places.at(p.torchName),
                     all};
        all += item.bytes();
        largest = std::max(largest, item.bytes());
        items.push_back(std::move(item));
      }
    }
}

std::string CheckpointWriter::agreeOn(const std::string &own) {
  const Verdict verdict = agree(ctx.comm, !own.empty(), own, "a checkpoint");
  if (verdict.code && (!ctx.comm || ctx.comm->rank() == 0))
    folder.discard(manifest.progress.step);
  return verdict.code ? "checkpoint of step " + std::to_string(manifest.progress.step) +
                            " was not saved: " + verdict.text
                      : "";
}

std::string CheckpointWriter::begin(const Manifest &what) {
  manifest = what;
  sums.assign(files.size(), 0);
  error.clear();
  hasSnapshot = false;
  std::string failed;
  if (!ctx.comm || ctx.comm->rank() == 0)
    try {
      folder.begin(manifest.progress.step);
      const std::string path = folder.temporaryOf(manifest.progress.step) + "/";
      for (size_t f = 0; f < files.size(); ++f) {
        const SafetensorsLayout &layout = files[f].layout;
        DurableFile(path + files[f].name, layout.bytes)
            .write(layout.head.data(), int64_t(layout.head.size()), 0);
        sums[f] = placedSum(layout.head.data(), int64_t(layout.head.size()), 0);
      }
    } catch (const std::exception &e) {
      failed = e.what();
    }
  return agreeOn(failed);
}

void CheckpointWriter::download(const Item &item, char *to) {
  rt::download(ctx, to, files[item.file].block->as<float>() + item.at, item.bytes());
}

void CheckpointWriter::takeSnapshot() {
  if (!snapshot.size())
    snapshot = Block(all);
  for (const Item &item : items)
    download(item, snapshot.data() + item.copyAt);
  hasSnapshot = true;
}

void CheckpointWriter::writePart(const std::atomic<bool> &stop) noexcept {
  try {
    const std::string path = folder.temporaryOf(manifest.progress.step) + "/";
    if (!hasSnapshot && !room.size())
      room = Block(largest);
    auto item = items.begin();
    for (size_t f = 0; f < files.size(); ++f) {
      DurableFile file(path + files[f].name);
      for (; item != items.end() && item->file == f; ++item) {
        if (stop)
          throw RunError("the run ended before it was written");
        char *from = room.data();
        if (hasSnapshot)
          from = snapshot.data() + item->copyAt;
        else
          download(*item, from);
        eachPieceWithin(item->part, item->range.begin, item->range.end,
                        [&](int64_t at, int64_t whole, int64_t count) {
                          const char *piece = from + (at - item->range.begin) * 4;
                          const int64_t place = item->place + whole * 4;
                          file.write(piece, count * 4, place);
                          sums[f] += placedSum(piece, count * 4, place);
                        });
      }
      file.sync();
    }
  } catch (const std::exception &e) {
    error = e.what();
  }
}

std::string CheckpointWriter::commit() {
  if (std::string failed = agreeOn(error); !failed.empty())
    return failed;
  std::vector<uint64_t> theirs = sums;
  if (ctx.comm) {
    const Group group = ctx.comm->groupOver("pp,dp,ep,tp");
    theirs.resize(sums.size() * group.size());
    ctx.comm->allGather(group, "a checkpoint's checksums", sums.data(), theirs.data(), 1,
                        int64_t(sums.size() * sizeof(uint64_t)));
  }
  std::string failed;
  if (!ctx.comm || ctx.comm->rank() == 0)
    try {
      for (size_t f = 0; f < files.size(); ++f) {
        manifest.files.push_back({files[f].name, files[f].layout.bytes, 0});
        for (size_t i = f; i < theirs.size(); i += files.size())
          manifest.files[f].sum += theirs[i];
      }
      const int64_t step = manifest.progress.step;
      const std::string text = manifest.text();
      DurableFile file(folder.temporaryOf(step) + "/" + kManifestName, int64_t(text.size()));
      file.write(text.data(), int64_t(text.size()), 0);
      file.sync();
      folder.commit(step);
      folder.keepLast(keep, step);
    } catch (const std::exception &e) {
      failed = e.what();
    }
  return agreeOn(failed);
}

} // namespace moire::rt
