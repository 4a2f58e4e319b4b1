//===- mapped_file.h - A file's bytes, mapped read-only -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_MAPPED_FILE_H
#define MOIRE_RT_MAPPED_FILE_H

#include "moire/rt/context.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace moire::rt {

class MappedFile {
public:
  /// Throws an InputError that names the path.
  explicit MappedFile(const std::string &path) : name(path) {
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
      std::string why = fd < 0 ? std::strerror(errno) : "it is not a file";
      if (fd >= 0)
        close(fd);
      throw InputError("cannot read '" + path + "': " + why);
    }
    length = st.st_size;
    if (length) {
      void *p = mmap(nullptr, length, PROT_READ, MAP_PRIVATE, fd, 0);
      if (p == MAP_FAILED) {
        close(fd);
        throw InputError("cannot map '" + path + "': " + std::strerror(errno));
      }
      bytes = static_cast<const unsigned char *>(p);
    }
    close(fd);
  }
  MappedFile(MappedFile &&other) noexcept
      : name(std::move(other.name)), bytes(std::exchange(other.bytes, nullptr)),
        length(std::exchange(other.length, 0)) {}
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;
  ~MappedFile() {
    if (bytes)
      munmap(const_cast<unsigned char *>(bytes), length);
  }

  const std::string &path() const { return name; }
  const unsigned char *data() const { return bytes; }
  int64_t size() const { return length; }

  /// Reading here and there: the kernel reads what is asked for and nothing around it.
  void readInAnyOrder() const {
    if (bytes)
      madvise(const_cast<unsigned char *>(bytes), length, MADV_RANDOM);
  }

  /// Begins to read bytes that are needed soon, which lie in this file.
  void willRead(const unsigned char *from, int64_t count) const {
    advise(from, count, MADV_WILLNEED);
  }

  /// Lets go of the memory of bytes that were read, which lie in this file. They can be
  /// read again.
  void forget(const unsigned char *from, int64_t count) const {
    advise(from, count, MADV_DONTNEED);
  }

private:
  void advise(const unsigned char *from, int64_t count, int advice) const {
    const int64_t page = sysconf(_SC_PAGESIZE);
    const int64_t begin = (from - bytes) / page * page;
    if (from >= bytes && count > 0 && from + count <= bytes + length)
      madvise(const_cast<unsigned char *>(bytes) + begin, from - bytes + count - begin, advice);
  }

  std::string name;
  const unsigned char *bytes = nullptr;
  int64_t length = 0;
};

} // namespace moire::rt

#endif // MOIRE_RT_MAPPED_FILE_H
