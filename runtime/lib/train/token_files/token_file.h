//===- token_file.h - The tokens of one file ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_TOKENFILE_H
#define MOIRE_RT_TOKENFILE_H

#include "train/mapped_file.h"

#include <cstdint>
#include <memory>
#include <string>

namespace moire::rt {

enum class TokenType : uint8_t { u8, i8, u16, i16, u32, i32, u64, i64 };

int64_t bytesOf(TokenType type);

/// Little-endian integers in a row in a mapped file, which may be larger than memory: what was
/// read stays in the kernel's cache alone.
class TokenFile {
public:
  /// `count` tokens from byte `offset` on, which lie inside the file.
  TokenFile(MappedFile file, int64_t offset, TokenType type, int64_t count)
      : file(std::move(file)), offset(offset), type(type), tokens(count) {
    this->file.readInAnyOrder();
  }
  virtual ~TokenFile() = default;

  const std::string &path() const { return file.path(); }
  int64_t count() const { return tokens; }

  /// Whether the tokens are the bytes of a text.
  virtual bool isText() const { return false; }
  /// A format without documents is one.
  virtual int64_t documents() const { return 1; }
  /// to[i] = the first token of document `first` + i for i <= n: to[n] is where the last of
  /// the n documents ends.
  virtual void documentStarts(int64_t first, int64_t n, int64_t *to) const;

  /// Tells the kernel that tokens [at, at + n) are read soon.
  void willRead(int64_t at, int64_t n) const;
  /// to[i] = token at + i for i < n. A u64 of 2^63 or more is negative.
  void read(int64_t at, int64_t n, int64_t *to) const;

private:
  MappedFile file;
  int64_t offset;
  TokenType type;
  int64_t tokens;
};

/// Opens `name` by its content: an .idx beside it: Megatron; an .npy; llm.c's magic or the
/// ending .bin: llm.c; u16:FILE or u32:FILE: tokens without a header; else text. Throws InputError
/// for a header that is wrong.
std::unique_ptr<TokenFile> openTokenFile(const std::string &name);

/// `name` without u16: or u32:.
std::string pathOfTokens(const std::string &name);

} // namespace moire::rt

#endif // MOIRE_RT_TOKENFILE_H
