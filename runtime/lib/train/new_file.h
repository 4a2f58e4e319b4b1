//===- new_file.h - A file that gets its name when it is whole ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_NEW_FILE_H
#define MOIRE_RT_NEW_FILE_H

#include "train/durable.h"

#include <string>

namespace moire::rt {

/// Lies under another name beside `path` until it is published, and is removed where that
/// never happens. Errors are RunErrors.
class NewFile {
public:
  /// bytes: its size; the disk must have room for it.
  NewFile(const std::string &path, int64_t bytes);
  ~NewFile();
  NewFile(const NewFile &) = delete;
  void write(const void *data, int64_t bytes, int64_t at) { file.write(data, bytes, at); }
  void sync() { file.sync(); }
  /// Behind sync(): takes the place of what `path` names.
  void publish();

private:
  std::string path, temporary;
  bool isPublished = false;
  DurableFile file;
};

} // namespace moire::rt

#endif // MOIRE_RT_NEW_FILE_H
