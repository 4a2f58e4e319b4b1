//===- checkpoint.h - The checkpoints of a run ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Of one rank. All ranks call the same functions at the same time; what they return is the same
// on all of them.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CHECKPOINT_H
#define MOIRE_RT_CHECKPOINT_H

#include "train/checkpoint_reader.h"
#include "train/checkpoint_writer.h"
#include "train/folder_lock.h"

#include <functional>
#include <memory>
#include <thread>

namespace moire::rt {

class Checkpoints {
public:
  /// say: gets one line for each that was written.
  Checkpoints(Context &ctx, const Options &options, std::function<void(const std::string &)> say);
  /// Waits for what is under way, which leaves early.
  ~Checkpoints();

  /// What --resume names; an empty path where that is `auto` and there is nothing yet.
  FoundCheckpoint find(int64_t rowsOfStep);
  /// Of rank 0 alone, before the first step: makes --checkpoint's folder and removes what is
  /// left over there. Throws InputError where it holds checkpoints that this run does not go
  /// on from, or another run writes there.
  void prepare(const FoundCheckpoint &resumed);

  /// Whether one is due after this step.
  bool isDue(int64_t step) const;
  /// Writes one, or with --async-checkpoint starts to. Those below return an error; empty: none.
  std::string write(const Progress &progress, int64_t rowsOfStep);
  /// Whether a rank's part of what was started is written.
  bool partIsWritten() const { return underWay && done; }
  /// Waits for what was started, and finishes it.
  std::string finish();

  /// The step of the last one in --checkpoint's folder that this run wrote, started, or goes on
  /// from; -1: none yet.
  int64_t lastStep() const { return last; }
  std::string pathOfLast() const { return folder.pathOf(last); }

private:
  void takeLock(); ///< of a folder that is there
  bool isInFolder(const FoundCheckpoint &found) const;
  Context &ctx;
  const Options &options;
  std::function<void(const std::string &)> say;
  CheckpointFolder folder;
  FolderLock lock; ///< of rank 0
  std::unique_ptr<CheckpointWriter> writer; ///< from the first one on
  std::thread thread;
  std::atomic<bool> stop{false}, done{false};
  bool underWay = false;
  int64_t last = -1;
};

} // namespace moire::rt

#endif // MOIRE_RT_CHECKPOINT_H
