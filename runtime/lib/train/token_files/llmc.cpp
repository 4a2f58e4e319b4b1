//===- llmc.cpp - llm.c's token files -------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A header of 256 int32 (magic, version, number of tokens), then the tokens: magic
// 20240520, version 1: uint16 (GPT-2); magic 20240801, version 7: uint32 (Llama 3).
//
//===----------------------------------------------------------------------===//

#include "train/token_files/formats.h"

namespace moire::rt {

namespace {
constexpr int32_t kMagic16 = 20240520, kMagic32 = 20240801;
constexpr int64_t kHeader = 1024;

struct Header {
  int32_t magic = 0, version = 0, count = 0;

  explicit Header(const MappedFile &file) {
    int32_t words[3] = {0, 0, 0};
    if (file.size() >= int64_t(sizeof words))
      std::memcpy(words, file.data(), sizeof words);
    magic = words[0];
    version = words[1];
    count = words[2];
  }
  bool known() const { return magic == kMagic16 || magic == kMagic32; }
};
} // namespace

bool isLlmC(const MappedFile &file) { return Header(file).known(); }

std::unique_ptr<TokenFile> openLlmC(MappedFile file) {
  const std::string path = file.path();
  const Header header(file);
  if (file.size() < kHeader)
    throw InputError("'" + path + "' has " + std::to_string(file.size()) +
                     " bytes, an llm.c token file starts with a header of " +
                     std::to_string(kHeader));
  if (!header.known())
    throw InputError("'" + path + "' has magic " + std::to_string(header.magic) +
                     "; an llm.c token file has " + std::to_string(kMagic16) + " (uint16) or " +
                     std::to_string(kMagic32) +
                     " (uint32), Megatron's has an .idx beside it, and tokens without a header "
                     "are named u16:FILE or u32:FILE");
  const int32_t version = header.magic == kMagic16 ? 1 : 7;
  if (header.version != version)
    throw InputError("'" + path + "' has version " + std::to_string(header.version) +
                     ", a file of magic " + std::to_string(header.magic) + " has " +
                     std::to_string(version));
  const TokenType type = header.magic == kMagic16 ? TokenType::u16 : TokenType::u32;
  const int64_t bytes = kHeader + header.count * bytesOf(type);
  if (header.count < 0 || bytes != file.size())
    throw InputError("'" + path + "' has " + std::to_string(file.size()) + " bytes, its header's " +
                     std::to_string(header.count) + " tokens of " + std::to_string(bytesOf(type)) +
                     " bytes need " + std::to_string(bytes));
  return std::make_unique<TokenFile>(std::move(file), kHeader, type, header.count);
}

} // namespace moire::rt
