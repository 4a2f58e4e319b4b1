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

static Refusal writeFile(const std::string &path, const std::string &contents) {
  struct stat status;
  // A device or a pipe is written to, not replaced.
  const bool special = stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode);
  const std::string temporary = special ? path : text(path, ".", getpid(), ".tmp");
  std::ofstream out(temporary, std::ios::binary);
  out << contents;
  out.close();
  if (!out || (!special && std::rename(temporary.c_str(), path.c_str()) != 0)) {
    const std::string why = std::strerror(errno);
    if (!special)
      std::remove(temporary.c_str());
    return text("cannot write '", path, "': ", why);
  }
  return {};
}

Refusal Files::write() {
  for (size_t i = 0; i < contents.size(); ++i)
    for (size_t k = 0; k < i; ++k)
      if (contents[i].first == contents[k].first)
        return text("two results go to '", contents[i].first, "'; give each a name of its own");
  for (const auto &[path, result] : contents)
    if (path == "-")
      std::cout << result << std::flush;
    else if (Refusal refusal = writeFile(path, result))
      return refusal;
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
