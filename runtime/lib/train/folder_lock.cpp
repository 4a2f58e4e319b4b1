//===- folder_lock.cpp - One run at a time writes to a folder -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/folder_lock.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace moire::rt {

FolderLock::~FolderLock() {
  if (file >= 0)
    close(file);
}

bool FolderLock::take(const std::string &folder) {
  // On the folder itself: a file for it would stay behind.
  if (file < 0)
    file = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return file < 0 || flock(file, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

} // namespace moire::rt
