//===- Text.h - Numbers in sentences ----------------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_LIB_SCHEDULING_TEXT_H
#define MOIRE_LIB_SCHEDULING_TEXT_H

#include <sstream>
#include <string>

namespace moire::scheduling {

template <class... T> std::string text(const T &...parts) {
  std::ostringstream out;
  out.precision(12);
  (out << ... << parts);
  return out.str();
}

} // namespace moire::scheduling

#endif // MOIRE_LIB_SCHEDULING_TEXT_H
