//===- new_file.cpp - A file that gets its name when it is whole ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/new_file.h"
#include "moire/rt/memory.h"
#include "train/onnx_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace moire::rt {

/// What a run that was killed left goes.
static DurableFile makeAnew(const std::string &path, int64_t bytes) {
  std::remove(path.c_str());
  try {
    return DurableFile(path, bytes);
  } catch (...) {
    std::remove(path.c_str());
    throw;
  }
}

NewFile::NewFile(const std::string &path, int64_t bytes)
    : path(path), temporary(path + ".tmp"), file(makeAnew(temporary, bytes)) {}

NewFile::~NewFile() {
  if (!isPublished)
    std::remove(temporary.c_str());
}

void NewFile::publish() {
  if (std::rename(temporary.c_str(), path.c_str()) != 0)
    throw RunError("cannot write '" + path + "': " + std::strerror(errno));
  isPublished = true;
  syncFolder(folderOf(path));
}

} // namespace moire::rt
