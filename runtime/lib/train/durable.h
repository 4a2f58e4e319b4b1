//===- durable.h - Files that outlive a loss of power ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What was written is on the disk once sync() of the file and syncFolder() of the folder that
// names it have returned, and not before. Errors are RunErrors, one sentence each.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_DURABLE_H
#define MOIRE_RT_DURABLE_H

#include <cstdint>
#include <string>
#include <utility>

namespace moire::rt {

class DurableFile {
public:
  /// bytes: a new file with room for so many, so that a disk which is too full is found at once;
  /// -1: one that is there, with whatever it holds.
  explicit DurableFile(const std::string &path, int64_t bytes = -1);
  DurableFile(DurableFile &&other) noexcept
      : path(std::move(other.path)), file(std::exchange(other.file, -1)) {}
  DurableFile(const DurableFile &) = delete;
  ~DurableFile();
  void write(const void *data, int64_t bytes, int64_t at);
  /// Waits until all that was written of the file, by whomever on this machine, is on the disk.
  void sync();

private:
  [[noreturn]] void fail(int error) const;
  std::string path;
  int file;
};

void syncFolder(const std::string &path);
/// A folder that is not there yet. Its parent is not synced.
void makeFolder(const std::string &path);
void renameFolder(const std::string &from, const std::string &to);
/// With all that it holds; nothing where it is not there.
void removeFolder(const std::string &path);

} // namespace moire::rt

#endif // MOIRE_RT_DURABLE_H
