//===- checksum.h - A quick fingerprint of a weight file ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The compiler records it, the trainer compares: offsets into a file mean
// nothing once the file is another one. It must stay cheap for files of many
// gigabytes, so it is no proof against malice and misses a change of single
// weights: FNV-1a, 64 bits, over the size (8 bytes, little-endian), the first
// and the last MiB, and 64 blocks of 4 KiB at offsets i * (size / 64). A file of
// up to 4 MiB is taken whole instead.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RT_CHECKSUM_H
#define MOIRE_RT_CHECKSUM_H

#include <cstdint>
#include <cstdio>
#include <memory>

namespace moire::rt {

struct FileChecksum {
  int64_t bytes = -1; ///< -1: the file cannot be read
  uint64_t sum = 0;
  bool ok() const { return bytes >= 0; }
};

inline uint64_t fnv1a(const void *data, size_t bytes, uint64_t hash = 0xcbf29ce484222325u) {
  for (size_t i = 0; i < bytes; ++i)
    hash = (hash ^ static_cast<const unsigned char *>(data)[i]) * 0x100000001b3u;
  return hash;
}

/// Read in pieces and not mapped, so that it does not count as memory in use.
inline FileChecksum fileChecksum(const char *path) {
  constexpr int64_t mib = 1 << 20, block = 4096;
  FileChecksum result;
  std::FILE *file = std::fopen(path, "rb");
  if (!file)
    return result;
  std::unique_ptr<char[]> buffer(new char[mib]);
  bool good = fseeko(file, 0, SEEK_END) == 0;
  int64_t size = good ? static_cast<int64_t>(ftello(file)) : -1;
  unsigned char length[8];
  for (int i = 0; i < 8; ++i)
    length[i] = static_cast<unsigned char>(static_cast<uint64_t>(size) >> (8 * i));
  uint64_t hash = fnv1a(length, 8);
  auto add = [&](int64_t offset, int64_t bytes) {
    good = good && fseeko(file, offset, SEEK_SET) == 0 &&
           std::fread(buffer.get(), 1, bytes, file) == static_cast<size_t>(bytes);
    if (good)
      hash = fnv1a(buffer.get(), bytes, hash);
  };
  if (size <= 4 * mib) {
    for (int64_t offset = 0; offset < size; offset += mib)
      add(offset, size - offset < mib ? size - offset : mib);
  } else {
    add(0, mib);
    add(size - mib, mib);
    for (int64_t i = 0; i < 64; ++i)
      add(i * (size / 64), block);
  }
  std::fclose(file);
  if (good && size >= 0) {
    result.bytes = size;
    result.sum = hash;
  }
  return result;
}

} // namespace moire::rt

#endif // MOIRE_RT_CHECKSUM_H
