//===- checkpoint_folder.h - The names of checkpoints ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
//     DIR/step-00000100        a checkpoint, whole since it has this name
//     DIR/.tmp-step-00000200   one that is being written, or never was finished
//     DIR/.tmp-old-step-00000050   one that is being removed
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CHECKPOINT_FOLDER_H
#define MOIRE_RT_CHECKPOINT_FOLDER_H

#include <cstdint>
#include <string>
#include <vector>

namespace moire::rt {

class CheckpointFolder {
public:
  explicit CheckpointFolder(std::string path) : folder(std::move(path)) {}
  const std::string &path() const { return folder; }

  /// Of a finished checkpoint.
  std::string pathOf(int64_t step) const;
  /// Of one that is being written.
  std::string temporaryOf(int64_t step) const;
  /// Of finished checkpoints, ascending; none where the folder is not there.
  std::vector<int64_t> steps() const;
  /// Names of those that were never finished, or never wholly removed.
  std::vector<std::string> leftOver() const;

  /// Makes the folder itself where it is not there. Throws InputError where that cannot be.
  void make() const;
  /// Removes what is left over.
  void clean() const;
  /// Makes the folder of a checkpoint that is to be written.
  void begin(int64_t step) const;
  /// Gives a checkpoint its name, once all its files are synced; then it is on the disk.
  void commit(int64_t step) const;
  /// Removes what begin() made.
  void discard(int64_t step) const noexcept;
  /// Of checkpoints up to `step` only the last `count` stay.
  void keepLast(int64_t count, int64_t step) const;

private:
  void remove(int64_t step) const;
  std::string folder;
};

/// The step of a checkpoint's name; -1: it is none.
int64_t stepOfName(const std::string &name);

} // namespace moire::rt

#endif // MOIRE_RT_CHECKPOINT_FOLDER_H
