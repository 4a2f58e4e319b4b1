//===- MappedFile.h - A read-only file in memory -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_FRONTEND_MAPPEDFILE_H
#define MOIRE_LIB_FRONTEND_MAPPEDFILE_H

#include "llvm/ADT/ArrayRef.h"
#include <memory>
#include <string>
#include <vector>

namespace moire::frontend {

/// Mapped and not read: of a file of weights only the touched pages cost memory.
class MappedFile {
public:
  /// Null, with the reason in `error`, where the path names no readable file.
  static std::unique_ptr<MappedFile> open(const std::string &path, std::string &error);
  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  llvm::ArrayRef<uint8_t> bytes() const { return {data, static_cast<size_t>(size)}; }

  /// Gives the pages of a range back; they are read again when touched.
  void release(int64_t offset, int64_t length) const;

  /// Copies a range that lies inside the file, without mapping pages of it: the
  /// kernel maps up to 2 MiB around each page that is touched, which adds up
  /// over many small tensors. Shorter than asked for where reading fails.
  std::vector<uint8_t> read(int64_t offset, int64_t length) const;

private:
  MappedFile(int descriptor, const uint8_t *data, int64_t size)
      : descriptor(descriptor), data(data), size(size) {}
  int descriptor;
  const uint8_t *data;
  int64_t size;
};

} // namespace moire::frontend

#endif // MOIRE_LIB_FRONTEND_MAPPEDFILE_H
