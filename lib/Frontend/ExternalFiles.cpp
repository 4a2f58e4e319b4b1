//===- ExternalFiles.cpp - Weight files beside the model -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "ExternalFiles.h"
#include "moire/Support/Recipes.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include <filesystem>
#include <sys/stat.h>

using namespace llvm;
using namespace moire::frontend;

const ExternalFiles::File &ExternalFiles::get(StringRef location) {
  auto [entry, isNew] = files.try_emplace(location);
  if (isNew)
    entry->second = open(location.str());
  return entry->second;
}

/// How many of a file's names lie in the folder that it was found in.
static uint64_t countLinksBeside(const std::filesystem::path &path, const struct stat &status) {
  uint64_t count = 0;
  std::error_code failed;
  for (const auto &entry : std::filesystem::directory_iterator(path.parent_path(), failed)) {
    struct stat other;
    if (::lstat(entry.path().c_str(), &other) == 0 && other.st_ino == status.st_ino &&
        other.st_dev == status.st_dev)
      ++count;
  }
  return count;
}

ExternalFiles::File ExternalFiles::open(const std::string &location) {
  File file;
  auto refuse = [&](std::string why) {
    file.error = std::move(why);
    return std::move(file);
  };
  // 1. The name alone.
  if (location.empty() || location.find('\0') != std::string::npos)
    return refuse("has no proper file name; export the model again" + recipe("weights"));
  if (sys::path::is_absolute(location, sys::path::Style::posix) ||
      sys::path::is_absolute(location, sys::path::Style::windows))
    return refuse("is an absolute path; weights must lie in the model's own folder" +
                  recipe("weights"));
  for (StringRef part : split(location, '/'))
    if (part == "..")
      return refuse("climbs out of the model's folder with \"..\"; weights must lie inside it" +
                    recipe("weights"));

  // 2. What it leads to.
  std::string path = folder.empty() ? location : folder + "/" + location;
  SmallString<256> realFolder, realPath;
  if (!sys::fs::exists(path)) {
    file.missing = true;
    return refuse("is not there; put it beside the model, or start from fresh weights with --init");
  }
  if (sys::fs::real_path(folder.empty() ? "." : folder, realFolder) ||
      sys::fs::real_path(path, realPath))
    return refuse("cannot be resolved");
  if (realFolder != "/")
    realFolder += "/";
  if (!StringRef(realPath).starts_with(realFolder))
    return refuse(formatv("is a link to '{0}', outside of the model's folder; copy the file into it",
                          realPath));
  struct stat status;
  if (::stat(realPath.c_str(), &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink > 1 &&
      countLinksBeside(realPath.str().str(), status) < status.st_nlink)
    return refuse("has hard links outside of its folder; copy the file instead of linking it");

  // 3. The file.
  file.mapped = MappedFile::open(std::string(realPath), file.error);
  return file;
}
