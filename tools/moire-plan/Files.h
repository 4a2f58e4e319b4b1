//===- Files.h - Results into files, whole or not at all -------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_TOOLS_PLAN_FILES_H
#define MOIRE_TOOLS_PLAN_FILES_H

#include "Units.h"
#include <functional>
#include <iosfwd>

namespace moire::plan {

/// What one run of the tool leaves behind. Everything is made in memory first, and no file is
/// touched before all of it is; then each is written beside its name and renamed. `-` is stdout.
class Files {
public:
  void add(const std::string &path, const std::function<void(std::ostream &)> &write);
  /// Writes all; the first that cannot be written is refused.
  Refusal write();
  /// Whether stdout is one of them: then nothing else is printed there.
  bool ownsStdout() const;

private:
  std::vector<std::pair<std::string, std::string>> contents;
};

/// All of a file.
Refusal readFile(const std::string &path, std::string &contents);

} // namespace moire::plan

#endif // MOIRE_TOOLS_PLAN_FILES_H
