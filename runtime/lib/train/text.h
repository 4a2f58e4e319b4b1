//===- text.h - Items and numbers of an option's text -----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_TEXT_H
#define MOIRE_RT_TEXT_H

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace moire::rt {

/// What stands between separators, empty items too: of "a,," three, of "" one.
inline std::vector<std::string> split(const std::string &text, char separator) {
  std::vector<std::string> items;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    items.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return items;
}

/// All of the text as a number of 0 or more.
inline std::optional<int64_t> wholeNumber(const std::string &text) {
  int64_t value = 0;
  const char *end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end || value < 0)
    return std::nullopt;
  return value;
}

} // namespace moire::rt

#endif // MOIRE_RT_TEXT_H
