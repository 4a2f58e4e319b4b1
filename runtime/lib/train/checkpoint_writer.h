//===- checkpoint_writer.h - Writing a checkpoint by all ranks ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
//     begin()        all ranks: rank 0 makes the files, as large as they will be
//     takeSnapshot() each rank, where writePart() is to run beside steps
//     writePart()    each rank, on any thread: its elements to their places, synced
//     commit()       all ranks: rank 0 writes the manifest and gives the folder its name
//
// A power cut or a signal at any moment leaves the folder under its temporary name, or the
// checkpoint whole.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CHECKPOINT_WRITER_H
#define MOIRE_RT_CHECKPOINT_WRITER_H

#include "train/checkpoint_folder.h"
#include "train/checkpoint_manifest.h"
#include "train/checkpoint_tensors.h"

#include <atomic>

namespace moire::rt {

class CheckpointWriter {
public:
  /// keep: how many checkpoints stay.
  CheckpointWriter(Context &ctx, std::string folder, int64_t keep);

  /// begin() and commit() return an error, which is the same on all ranks; empty: none. Then the
  /// temporary folder is gone.
  std::string begin(const Manifest &manifest);
  void takeSnapshot();
  /// Does not throw: commit() tells. stop: to leave early, unfinished.
  void writePart(const std::atomic<bool> &stop) noexcept;
  std::string commit();

private:
  /// A part of a tensor that this rank writes, of at most kItem elements.
  struct Item {
    size_t file;
    Part part;
    Owned range;    ///< elements of the part
    int64_t at;     ///< in elements of the block
    int64_t place;  ///< of the tensor in the file, in bytes
    int64_t copyAt; ///< in bytes of the snapshot
    int64_t bytes() const { return range.size() * int64_t(sizeof(float)); }
  };
  void download(const Item &item, char *to);
  std::string agreeOn(const std::string &error);

  Context &ctx;
  CheckpointFolder folder;
  const int64_t keep;
  std::vector<CheckpointFile> files;
  std::vector<Item> items;
  int64_t largest = 0, all = 0; ///< bytes of the largest item and of all of them
  Block snapshot, room;
  bool hasSnapshot = false;
  Manifest manifest;
  std::vector<uint64_t> sums; ///< of what this rank wrote, by file
  std::string error;          ///< of writePart()
};

} // namespace moire::rt

#endif // MOIRE_RT_CHECKPOINT_WRITER_H
