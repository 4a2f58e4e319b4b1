//===- npy.cpp - NumPy arrays of tokens -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// "\x93NUMPY", u8 major, u8 minor, the header's length (u16 in version 1, u32 in 2 and 3), the
// header, which is a Python dictionary
//
//     {'descr': '<u2', 'fortran_order': False, 'shape': (1000, 129), }
//
// and the values. The rows of a matrix are its documents.
//
//===----------------------------------------------------------------------===//

#include "train/token_files/formats.h"

#include <limits>
#include <optional>
#include <vector>

namespace moire::rt {

namespace {
constexpr char kMagic[] = "\x93NUMPY";
constexpr int64_t kMagicBytes = 6;

/// What follows 'key': in the dictionary, without spaces before it; empty: it has no such key.
std::string valueOf(const std::string &header, const std::string &key) {
  size_t at = header.find("'" + key + "'");
  if (at == std::string::npos)
    return "";
  at = header.find_first_not_of(' ', at + key.size() + 2);
  if (at == std::string::npos || header[at] != ':')
    return "";
  at = header.find_first_not_of(' ', at + 1);
  return at == std::string::npos ? "" : header.substr(at);
}

std::optional<std::vector<int64_t>> parseShape(const std::string &text) {
  const size_t close = text.find(')');
  if (text.empty() || text[0] != '(' || close == std::string::npos)
    return std::nullopt;
  std::vector<int64_t> shape;
  for (size_t at = 1; at < close;) {
    if (text[at] == ' ' || text[at] == ',') {
      ++at;
      continue;
    }
    size_t end = at;
    while (text[end] >= '0' && text[end] <= '9')
      ++end;
    if (end == at || end - at > 18)
      return std::nullopt;
    shape.push_back(std::stoll(text.substr(at, end - at)));
    at = end;
  }
  return shape;
}

TokenType typeOf(const std::string &descr, const std::string &path) {
  const std::pair<const char *, TokenType> known[] = {
      {"|u1", TokenType::u8},  {"|i1", TokenType::i8},  {"<u2", TokenType::u16},
      {"<i2", TokenType::i16}, {"<u4", TokenType::u32}, {"<i4", TokenType::i32},
      {"<u8", TokenType::u64}, {"<i8", TokenType::i64}};
  for (const auto &[name, type] : known)
    if (descr == name)
      return type;
  throw InputError("'" + path + "' has dtype '" + descr +
                   "'; tokens are little-endian integers: |u1, |i1, <u2, <i2, <u4, <i4, <u8 or "
                   "<i8");
}

class Npy final : public TokenFile {
public:
  Npy(MappedFile file, int64_t offset, TokenType type, int64_t rows, int64_t columns)
      : TokenFile(std::move(file), offset, type, rows * columns), rows(rows), columns(columns) {}

  int64_t documents() const override { return rows; }
  void documentStarts(int64_t first, int64_t n, int64_t *to) const override {
    for (int64_t i = 0; i <= n; ++i)
      to[i] = (first + i) * columns;
  }

private:
  int64_t rows, columns;
};
} // namespace

bool isNpy(const MappedFile &file) {
  return file.size() >= kMagicBytes && std::memcmp(file.data(), kMagic, kMagicBytes) == 0;
}

std::unique_ptr<TokenFile> openNpy(MappedFile file) {
  const std::string path = file.path();
  auto fail = [&](const std::string &what) -> InputError {
    return InputError("'" + path + "' " + what);
  };
  if (!isNpy(file))
    throw fail("does not begin with \\x93NUMPY, as an .npy file does");
  const int major = file.size() > 7 ? file.data()[6] : 0,
            minor = file.size() > 7 ? file.data()[7] : 0;
  if (major < 1 || major > 3 || minor != 0)
    throw fail("has .npy version " + std::to_string(major) + "." + std::to_string(minor) +
               "; 1.0, 2.0 and 3.0 can be read");
  const int64_t begin = major == 1 ? 10 : 12;
  uint32_t length = 0;
  if (file.size() >= begin)
    std::memcpy(&length, file.data() + 8, major == 1 ? 2 : 4);
  if (file.size() < begin + int64_t(length))
    throw fail("has " + std::to_string(file.size()) + " bytes, its header alone needs " +
               std::to_string(begin + int64_t(length)));
  const std::string header(file.data() + begin, file.data() + begin + length);

  std::string descr = valueOf(header, "descr");
  if (descr.size() < 2 || descr[0] != '\'' || descr.find('\'', 1) == std::string::npos)
    throw fail("has a header without a simple 'descr'; save a one- or two-dimensional array of "
               "integers");
  descr = descr.substr(1, descr.find('\'', 1) - 1);
  const TokenType type = typeOf(descr, path);
  const auto shape = parseShape(valueOf(header, "shape"));
  if (!shape)
    throw fail("has a header without a 'shape' that can be read");
  if (shape->empty() || shape->size() > 2)
    throw fail("has " + std::to_string(shape->size()) + " dimensions; tokens have 1 or 2");
  const std::string order = valueOf(header, "fortran_order");
  const bool fortran = order.rfind("True", 0) == 0;
  if (!fortran && order.rfind("False", 0) != 0)
    throw fail("has a header without a 'fortran_order' of True or False");
  if (fortran && shape->size() == 2)
    throw fail("is in Fortran order; save numpy.ascontiguousarray of it");

  const int64_t rows = shape->size() == 2 ? (*shape)[0] : 1, columns = shape->back();
  const int64_t offset = begin + length, width = bytesOf(type), rest = file.size() - offset;
  if (columns && rows > std::numeric_limits<int64_t>::max() / 8 / columns)
    throw fail("has a shape of more elements than any file has");
  if (rows * columns * width != rest)
    throw fail("has " + std::to_string(rest) + " bytes of values, its header's " +
               std::to_string(rows * columns) + " of " + std::to_string(width) + " bytes need " +
               std::to_string(rows * columns * width));
  return std::make_unique<Npy>(std::move(file), offset, type, rows, columns);
}

} // namespace moire::rt
