//===- Files.cpp - Results into files, whole or not at all ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Files.h"
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sys/stat.h>
#include <unistd.h>

using namespace moire::plan;

void Files::add(const std::string &path, const std::function<void(std::ostream &)> &write) {
  if (path.empty())
    return;
  std::ostringstream out;
  write(out);
  contents.emplace_back(path, out.str());
}

bool Files::ownsStdout() const {
  for (const auto &[path, text] : contents)
    if (path == "-")
      return true;
  return false;
}

/// What is written to, not replaced: a device or a pipe.
static bool isSpecial(const std::string &path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode);
}

static std::string temporaryOf(const std::string &path) {
  return text(path, ".", getpid(), ".tmp");
}

Refusal Files::write() {
  for (size_t i = 0; i < contents.size(); ++i)
    for (size_t k = 0; k < i; ++k)
      if (contents[i].first == contents[k].first)
        return text("two results go to '", contents[i].first, "'; give each a name of its own");
  // All of them beside their names, then all get their names.
  std::vector<std::string> temporaries;
  auto undo = [&](const std::string &path) -> Refusal {
    const std::string why = std::strerror(errno);
    for (const std::string &temporary : temporaries)
      std::remove(temporary.c_str());
    return text("cannot write '", path, "': ", why);
  };
  for (const auto &[path, result] : contents) {
    if (path == "-")
      continue;
    const bool special = isSpecial(path);
    const std::string file = special ? path : temporaryOf(path);
    std::ofstream out(file, std::ios::binary);
    if (out && !special)
      temporaries.push_back(file);
    out << result;
    out.close();
    if (!out)
      return undo(path);
  }
  for (const auto &[path, result] : contents)
    if (path != "-" && !isSpecial(path) &&
        std::rename(temporaryOf(path).c_str(), path.c_str()) != 0)
      return undo(path);
  for (const auto &[path, result] : contents)
    if (path == "-")
      std::cout << result << std::flush;
  return {};
}

Refusal moire::plan::readFile(const std::string &path, std::string &contents) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0)
    return text("cannot read '", path, "': ", std::strerror(errno));
  if (S_ISDIR(status.st_mode))
    return text("cannot read '", path, "': it is a folder");
  std::ifstream in(path, std::ios::binary);
  std::ostringstream all;
  all << in.rdbuf();
  if (!in)
    return text("cannot read '", path, "': ", std::strerror(errno));
  contents = all.str();
  return {};
}
