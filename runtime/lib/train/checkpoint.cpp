//===- checkpoint.cpp - The checkpoints of a run --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/checkpoint.h"
#include "train/gather.h"

#include <algorithm>
#include <filesystem>

namespace moire::rt {

namespace fs = std::filesystem;

static bool isAuto(const Options &o) { return o.resume == "auto"; }

Checkpoints::Checkpoints(Context &ctx, const Options &options,
                         std::function<void(const std::string &)> say)
    : ctx(ctx), options(options), say(std::move(say)), folder(options.checkpoint) {}

Checkpoints::~Checkpoints() {
  stop = true;
  if (thread.joinable())
    thread.join();
}

FoundCheckpoint Checkpoints::find(int64_t rowsOfStep) {
  if (options.resume.empty())
    return {};
  if (isAuto(options) &&
      tellAll(ctx.comm, folder.steps().empty() ? "" : "there are some", "a checkpoint to resume")
          .empty())
    return {};
  FoundCheckpoint found = findCheckpoint(ctx, isAuto(options) ? options.checkpoint : options.resume,
                                         Manifest::of(*ctx.program, options, {}, rowsOfStep));
  if (isInFolder(found))
    last = found.manifest.progress.step;
  return found;
}

bool Checkpoints::isInFolder(const FoundCheckpoint &found) const {
  const std::string own = folder.pathOf(found.manifest.progress.step);
  std::error_code none; // of a folder that is not there
  return !found.path.empty() && fs::equivalent(own, found.path, none);
}

void Checkpoints::prepare(const FoundCheckpoint &resumed) {
  if (options.checkpoint.empty())
    return;
  takeLock(); // what a run under way has there is no other error
  const std::vector<int64_t> steps = folder.steps();
  const int64_t from = resumed.manifest.progress.step;
  if (!steps.empty() && !isInFolder(resumed))
    throw InputError("--checkpoint '" + folder.path() + "' holds the checkpoint of step " +
                     std::to_string(steps.back()) + " of another run; add --resume auto to go on " +
                     "from it, or give another folder");
  // Those behind it that the search passed over are damaged, and will be replaced.
  const int64_t passedOver =
      std::count_if(steps.begin(), steps.end(), [&](int64_t step) { return step > from; });
  if (passedOver > int64_t(resumed.notes.size()))
    throw InputError("--checkpoint '" + folder.path() + "' holds the checkpoint of step " +
                     std::to_string(steps.back()) + ", later than step " + std::to_string(from) +
                     " that is resumed; give another folder, or remove it");
  folder.make();
  takeLock();
  folder.clean();
}

void Checkpoints::takeLock() {
  if (!lock.take(folder.path()))
    throw InputError("--checkpoint '" + folder.path() + "' is written by another run, which has " +
                     "not ended; wait for its end, or give another folder");
}

bool Checkpoints::isDue(int64_t step) const {
  return options.checkpointEvery > 0 && step % options.checkpointEvery == 0;
}

std::string Checkpoints::write(const Progress &progress, int64_t rowsOfStep) {
  if (std::string error = finish(); !error.empty())
    return error;
  if (!writer)
    writer = std::make_unique<CheckpointWriter>(ctx, options.checkpoint, options.keep);
  std::string error = writer->begin(Manifest::of(*ctx.program, options, progress, rowsOfStep));
  if (!error.empty())
    return error;
  last = progress.step;
  underWay = true;
  done = false;
  if (!options.asyncCheckpoint) {
    writer->writePart(stop);
    return finish();
  }
  writer->takeSnapshot();
  thread = std::thread([this] {
    writer->writePart(stop);
    done = true;
  });
  return "";
}

std::string Checkpoints::finish() {
  if (!underWay)
    return "";
  underWay = false;
  if (thread.joinable())
    thread.join();
  std::string error = writer->commit();
  if (error.empty())
    say("checkpoint: " + pathOfLast());
  return error;
}

} // namespace moire::rt
