//===- durable.cpp - Files that outlive a loss of power -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/durable.h"
#include "moire/rt/memory.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

namespace moire::rt {

static RunError cannot(const char *what, const std::string &path, int error) {
  return RunError(std::string("cannot ") + what + " '" + path + "': " + std::strerror(error));
}

void DurableFile::fail(int error) const { throw cannot("write", path, error); }

DurableFile::DurableFile(const std::string &path, int64_t bytes)
    : path(path),
      file(open(path.c_str(), O_WRONLY | O_CLOEXEC | (bytes < 0 ? 0 : O_CREAT | O_EXCL), 0666)) {
  if (file < 0)
    fail(errno);
  const int error = bytes > 0 ? posix_fallocate(file, 0, bytes) : 0;
  if (error) {
    close(std::exchange(file, -1));
    fail(error);
  }
}

DurableFile::~DurableFile() {
  if (file >= 0)
    close(file);
}

void DurableFile::write(const void *data, int64_t bytes, int64_t at) {
  const char *from = static_cast<const char *>(data);
  while (bytes > 0) {
    const ssize_t n = pwrite(file, from, size_t(bytes), at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      fail(n < 0 ? errno : ENOSPC);
    from += n;
    at += n;
    bytes -= n;
  }
}

void DurableFile::sync() {
  if (fsync(file) != 0)
    fail(errno);
}

void syncFolder(const std::string &path) {
  const int folder = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool good = folder >= 0 && fsync(folder) == 0;
  const int error = errno;
  if (folder >= 0)
    close(folder);
  // Some network file systems cannot, and then need not.
  if (!good && !(folder >= 0 && error == EINVAL))
    throw cannot("sync", path, error);
}

void makeFolder(const std::string &path) {
  if (mkdir(path.c_str(), 0777) != 0)
    throw cannot("make the folder", path, errno);
}

void renameFolder(const std::string &from, const std::string &to) {
  if (std::rename(from.c_str(), to.c_str()) != 0)
    throw cannot("rename to", to, errno);
}

void removeFolder(const std::string &path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error)
    throw cannot("remove", path, error.value());
}

} // namespace moire::rt
