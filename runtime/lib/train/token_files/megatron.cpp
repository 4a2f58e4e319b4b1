//===- megatron.cpp - Megatron's indexed token files ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// PREFIX.bin holds tokens alone. PREFIX.idx, little-endian:
//
//     "MMIDIDX\0\0"  u64 version = 1  u8 type  u64 S sequences  u64 D
//     i32 lengths[S]                   tokens of each sequence
//     i64 pointers[S]                  byte in .bin where it begins
//     i64 documents[D]                 sequence where each document begins, and S at the end
//
//===----------------------------------------------------------------------===//

#include "train/token_files/formats.h"

#include <algorithm>
#include <vector>

namespace moire::rt {

namespace {
constexpr char kMagic[] = "MMIDIDX\0"; // and the literal's own 0
constexpr int64_t kMagicBytes = 9, kHeader = 34;
/// Of an index that is larger than memory so many elements are looked at in a row.
constexpr int64_t kChunk = 1 << 20;

TokenType typeOf(int code, const std::string &path) {
  switch (code) {
  case 1:
    return TokenType::u8;
  case 2:
    return TokenType::i8;
  case 3:
    return TokenType::i16;
  case 4:
    return TokenType::i32;
  case 5:
    return TokenType::i64;
  case 8:
    return TokenType::u16;
  default:
    throw InputError("'" + path + "' has type code " + std::to_string(code) +
                     "; tokens are 1 (u8), 2 (i8), 3 (i16), 4 (i32), 5 (i64) or 8 (u16)");
  }
}

template <typename T> T at(const unsigned char *array, int64_t i) {
  T value;
  std::memcpy(&value, array + i * int64_t(sizeof(T)), sizeof(T));
  return value;
}

/// The parts of an index whose header is right.
class Index {
public:
  explicit Index(MappedFile mapped) : file(std::move(mapped)) {
    const std::string &path = file.path();
    if (file.size() < kHeader)
      throw InputError("'" + path + "' has " + std::to_string(file.size()) +
                       " bytes, a Megatron index starts with a header of " +
                       std::to_string(kHeader));
    if (std::memcmp(file.data(), kMagic, kMagicBytes) != 0)
      throw InputError("'" + path + "' begins with '" + printable(file.data(), kMagicBytes) +
                       "', a Megatron index with 'MMIDIDX' and two zero bytes");
    const auto version = at<uint64_t>(file.data() + 9, 0);
    if (version != 1)
      throw InputError("'" + path + "' has version " + std::to_string(version) +
                       ", a Megatron index that can be read has 1");
    type = typeOf(file.data()[17], path);
    const auto s = at<uint64_t>(file.data() + 18, 0), d = at<uint64_t>(file.data() + 26, 0);
    const auto bound = uint64_t(file.size());
    const uint64_t need = s > bound || d > bound ? 0 : kHeader + 12 * s + 8 * d;
    if (need != bound)
      throw InputError("'" + path + "' has " + std::to_string(bound) + " bytes, its header's " +
                       std::to_string(s) + " sequences and " + std::to_string(d) +
                       " document indices need " +
                       (need ? std::to_string(need) : std::string("far more")));
    sequences = int64_t(s);
    documents = int64_t(d) - 1;
    lengths = file.data() + kHeader;
    pointers = lengths + 4 * sequences;
    begins = pointers + 8 * sequences;
    if (documents < 0)
      throw InputError("'" + path +
                       "' has no document index; it begins with 0 and ends with the "
                       "number of sequences, " +
                       std::to_string(sequences));
  }

  MappedFile file;
  TokenType type = TokenType::u16;
  int64_t sequences = 0, documents = 0;
  const unsigned char *lengths, *pointers, *begins;

  /// That sequences lie end to end, which makes a document a range of tokens, and documents are
  /// in order. Returns the number of tokens.
  int64_t check() const {
    const std::string &path = file.path();
    const int64_t width = bytesOf(type);
    int64_t end = 0;
    for (int64_t i = 0; i < sequences; ++i) {
      const auto length = at<int32_t>(lengths, i);
      const auto pointer = at<int64_t>(pointers, i);
      if (length < 0)
        throw InputError("'" + path + "' gives sequence " + std::to_string(i) + " a length of " +
                         std::to_string(length) + "; it is 0 or more");
      if (pointer != end)
        throw InputError("'" + path + "' has sequence " + std::to_string(i) + " at byte " +
                         std::to_string(pointer) + ", and those before it end at " +
                         std::to_string(end) + "; write the data set again");
      end += length * width;
      if (i % kChunk == kChunk - 1 || i + 1 == sequences) {
        const int64_t first = i / kChunk * kChunk;
        file.forget(lengths + 4 * first, 4 * (i + 1 - first));
        file.forget(pointers + 8 * first, 8 * (i + 1 - first));
      }
    }
    int64_t before = 0;
    for (int64_t i = 0; i <= documents; ++i) {
      const auto begin = at<int64_t>(begins, i);
      if (begin < before || begin > sequences || (i == 0 && begin != 0) ||
          (i == documents && begin != sequences))
        throw InputError("'" + path + "' has document index " + std::to_string(begin) +
                         " at place " + std::to_string(i) +
                         "; they ascend from 0 to the number of sequences, " +
                         std::to_string(sequences));
      before = begin;
      if (i % kChunk == kChunk - 1 || i == documents) {
        const int64_t first = i / kChunk * kChunk;
        file.forget(begins + 8 * first, 8 * (i + 1 - first));
      }
    }
    return end / width;
  }

private:
  static std::string printable(const unsigned char *bytes, int64_t n) {
    std::string text(bytes, bytes + n);
    for (char &c : text)
      c = c >= ' ' && c <= '~' && c != '\'' ? c : '.';
    return text;
  }
};

class Megatron final : public TokenFile {
public:
  Megatron(Index i, MappedFile tokens, int64_t count)
      : TokenFile(std::move(tokens), 0, i.type, count), index(std::move(i)) {}

  int64_t documents() const override { return index.documents; }

  void documentStarts(int64_t first, int64_t n, int64_t *to) const override {
    const int64_t width = bytesOf(index.type);
    for (int64_t i = 0; i <= n; ++i) {
      const auto sequence = at<int64_t>(index.begins, first + i);
      to[i] = sequence == index.sequences ? count() : at<int64_t>(index.pointers, sequence) / width;
    }
    const auto from = at<int64_t>(index.begins, first), end = at<int64_t>(index.begins, first + n);
    index.file.forget(index.begins + 8 * first, 8 * (n + 1));
    index.file.forget(index.pointers + 8 * from, 8 * (std::min(end + 1, index.sequences) - from));
  }

private:
  Index index;
};
} // namespace

std::unique_ptr<TokenFile> openMegatron(MappedFile indexFile, MappedFile tokens) {
  Index index(std::move(indexFile));
  const int64_t count = index.check(), bytes = count * bytesOf(index.type);
  if (bytes != tokens.size())
    throw InputError("'" + tokens.path() + "' has " + std::to_string(tokens.size()) +
                     " bytes, the " + std::to_string(count) + " tokens of " +
                     std::to_string(bytesOf(index.type)) + " bytes that '" + index.file.path() +
                     "' lists need " + std::to_string(bytes));
  return std::make_unique<Megatron>(std::move(index), std::move(tokens), count);
}

} // namespace moire::rt
