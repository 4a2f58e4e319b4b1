//===- folder_lock.h - One run at a time writes to a folder ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_FOLDER_LOCK_H
#define MOIRE_RT_FOLDER_LOCK_H

#include <string>

namespace moire::rt {

/// An advisory lock (flock) on a folder for as long as this object, or its process, lives.
class FolderLock {
public:
  FolderLock() = default;
  ~FolderLock();
  FolderLock(const FolderLock &) = delete;

  /// False where somebody else has it. File systems without locks give it to all.
  bool take(const std::string &folder);

private:
  int file = -1;
};

} // namespace moire::rt

#endif // MOIRE_RT_FOLDER_LOCK_H
