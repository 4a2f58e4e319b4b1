//===- FileUtil.h - Files that tests write --------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RUNTIME_FILEUTIL_H
#define MOIRE_RUNTIME_FILEUTIL_H

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

namespace moire::rt::test {

/// A folder that is removed with its contents at the end of the test.
class TempFolder {
public:
  TempFolder() {
    char name[] = "/tmp/moire-rt-XXXXXX";
    path = mkdtemp(name);
  }
  ~TempFolder() { std::filesystem::remove_all(path); }
  std::string operator/(const std::string &name) const { return path + "/" + name; }
  std::string path;
};

inline void write(const std::string &path, const std::string &bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), bytes.size());
}
inline std::string read(const std::string &path) {
  std::ifstream f(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(f), {});
}
template <typename T> std::string bytes(const std::vector<T> &v) {
  return std::string(reinterpret_cast<const char *>(v.data()), v.size() * sizeof(T));
}

/// An llm.c token file.
template <typename T>
std::string tokenFile(int32_t magic, int32_t version, int32_t count,
                      const std::vector<T> &tokens) {
  std::vector<int32_t> header(256);
  header[0] = magic;
  header[1] = version;
  header[2] = count;
  return bytes(header) + bytes(tokens);
}

inline std::string varint(uint64_t v) {
  std::string s;
  for (; v >= 128; v >>= 7)
    s += char(v | 128);
  return s + char(v);
}
inline std::string field(int number, const std::string &value) {
  return varint(number << 3 | 2) + varint(value.size()) + value;
}
inline std::string field(int number, uint64_t value) {
  return varint(number << 3) + varint(value);
}
/// A TensorProto with raw_data.
inline std::string tensorProto(const std::string &name, int type,
                               const std::vector<int64_t> &dims,
                               const std::string &raw) {
  std::string s;
  for (int64_t d : dims)
    s += field(1, uint64_t(d));
  return s + field(2, uint64_t(type)) + field(8, name) + field(9, raw);
}

} // namespace moire::rt::test

#endif
