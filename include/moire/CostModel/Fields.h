//===- Fields.h - Files of keys and values ----------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Clusters, shapes and plans are TOML files whose keys are all known. A reader lists them, with
// where each goes and an example, and every mistake in a file gets a sentence from that list.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_COSTMODEL_FIELDS_H
#define MOIRE_COSTMODEL_FIELDS_H

#include "moire/Scheduling/Problem.h"
#include <string>
#include <variant>
#include <vector>

namespace moire::cost {

using scheduling::Refusal;

/// A key that a file may have.
struct Field {
  std::string table; ///< `device.flops`; empty: the top of the file
  std::string key;
  /// Where its value goes; left as it is where the file lacks an optional key.
  std::variant<double *, int *, bool *, std::string *> value;
  std::string example; ///< a value that works, as it would be written
  bool required = true;
  /// Numbers: the range, without its lower end where `above`.
  double least = 0;
  double most = std::numeric_limits<double>::infinity();
  bool above = false;
  /// Strings: the words that are known; empty: any.
  std::vector<std::string> words = {};
};

/// Reads `text`, which sentences call `path`, into `fields`. Refuses what is no TOML, a table or
/// key that no field names, a missing required key, a value of another type or out of range.
Refusal readFields(const std::string &text, const std::string &path,
                   const std::vector<Field> &fields);

/// The whole of a file as text.
Refusal readText(const std::string &path, std::string &text);

/// Words in a row: `a, b and c`.
std::string listOf(const std::vector<std::string> &words);
/// The one of `words` that `word` was probably meant to be; empty: none is near.
std::string nearest(const std::string &word, const std::vector<std::string> &words);

/// A number as a person writes it: up to 12 digits, 8e10 rather than 80000000000.
std::string number(double value);
/// `text` quoted for TOML.
std::string quoted(const std::string &text);

} // namespace moire::cost

#endif // MOIRE_COSTMODEL_FIELDS_H
