//===- token_file.cpp - The tokens of one file ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/token_files/formats.h"

namespace moire::rt {

namespace {
template <typename T> void widen(const unsigned char *from, int64_t n, int64_t *to) {
  for (int64_t i = 0; i < n; ++i) {
    T value;
    std::memcpy(&value, from + i * int64_t(sizeof(T)), sizeof(T));
    to[i] = int64_t(value);
  }
}

class TextFile final : public TokenFile {
public:
  TextFile(MappedFile file, int64_t bytes) : TokenFile(std::move(file), 0, TokenType::u8, bytes) {}
  bool isText() const override { return true; }
};

bool exists(const std::string &path) { return access(path.c_str(), F_OK) == 0; }

bool endsWith(const std::string &text, const std::string &end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}
} // namespace

int64_t bytesOf(TokenType type) {
  switch (type) {
  case TokenType::u8:
  case TokenType::i8:
    return 1;
  case TokenType::u16:
  case TokenType::i16:
    return 2;
  case TokenType::u32:
  case TokenType::i32:
    return 4;
  case TokenType::u64:
  case TokenType::i64:
    return 8;
  }
  return 0;
}

void TokenFile::documentStarts(int64_t first, int64_t n, int64_t *to) const {
  for (int64_t i = 0; i <= n; ++i)
    to[i] = first + i == 0 ? 0 : tokens;
}

void TokenFile::willRead(int64_t at, int64_t n) const {
  file.willRead(file.data() + offset + at * bytesOf(type), n * bytesOf(type));
}

void TokenFile::read(int64_t at, int64_t n, int64_t *to) const {
  const unsigned char *from = file.data() + offset + at * bytesOf(type);
  switch (type) {
  case TokenType::u8:
    widen<uint8_t>(from, n, to);
    break;
  case TokenType::i8:
    widen<int8_t>(from, n, to);
    break;
  case TokenType::u16:
    widen<uint16_t>(from, n, to);
    break;
  case TokenType::i16:
    widen<int16_t>(from, n, to);
    break;
  case TokenType::u32:
    widen<uint32_t>(from, n, to);
    break;
  case TokenType::i32:
    widen<int32_t>(from, n, to);
    break;
  case TokenType::u64:
    widen<uint64_t>(from, n, to);
    break;
  case TokenType::i64:
    widen<int64_t>(from, n, to);
    break;
  }
  file.forget(from, n * bytesOf(type));
}

std::unique_ptr<TokenFile> openHeaderless(MappedFile file, TokenType type) {
  const int64_t bytes = file.size(), width = bytesOf(type);
  if (bytes % width)
    throw InputError("'" + file.path() + "' has " + std::to_string(bytes) + " bytes, tokens of " +
                     std::to_string(width) + " bytes need a multiple of that");
  return std::make_unique<TokenFile>(std::move(file), 0, type, bytes / width);
}

std::string pathOfTokens(const std::string &name) {
  const bool prefixed = name.rfind("u16:", 0) == 0 || name.rfind("u32:", 0) == 0;
  return prefixed && !exists(name) ? name.substr(4) : name;
}

std::unique_ptr<TokenFile> openTokenFile(const std::string &name) {
  const std::string path = pathOfTokens(name);
  if (path != name)
    return openHeaderless(MappedFile(path), name[1] == '1' ? TokenType::u16 : TokenType::u32);
  // Megatron's users name the common prefix; the index decides.
  const bool ends = endsWith(path, ".idx") || endsWith(path, ".bin");
  const std::string prefix = ends ? path.substr(0, path.size() - 4) : path;
  if (endsWith(path, ".idx") || ((ends || !exists(path)) && exists(prefix + ".idx")))
    return openMegatron(MappedFile(prefix + ".idx"), MappedFile(prefix + ".bin"));
  if (!exists(path))
    throw InputError("--data '" + path + "' does not exist");
  MappedFile file(path);
  if (isNpy(file) || endsWith(path, ".npy"))
    return openNpy(std::move(file));
  if (isLlmC(file) || endsWith(path, ".bin"))
    return openLlmC(std::move(file));
  const int64_t bytes = file.size();
  return std::make_unique<TextFile>(std::move(file), bytes);
}

} // namespace moire::rt
