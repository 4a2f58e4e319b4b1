//===- Share.cpp - Files that come with the project ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Share.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <algorithm>

using namespace moire::plan;
namespace path = llvm::sys::path;

std::string moire::plan::shareFolder(const char *program) {
  const std::string self = llvm::sys::fs::getMainExecutable(
      program, reinterpret_cast<void *>(reinterpret_cast<intptr_t>(&shareFolder)));
  llvm::SmallString<128> installed(path::parent_path(path::parent_path(self)));
  path::append(installed, "share", "moire");
  if (llvm::sys::fs::is_directory(installed))
    return installed.str().str();
  return MOIRE_SHARE;
}

std::vector<std::string> moire::plan::namesIn(const std::string &share, const std::string &kind) {
  std::vector<std::string> names;
  llvm::SmallString<128> folder(share);
  path::append(folder, kind);
  std::error_code error;
  for (llvm::sys::fs::directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error))
    if (path::extension(at->path()) == ".toml")
      names.push_back(path::stem(at->path()).str());
  std::sort(names.begin(), names.end());
  return names;
}

Refusal moire::plan::resolve(const std::string &share, const std::string &kind,
                             const std::string &name, std::string &file) {
  file = name;
  if (path::has_extension(name) && path::extension(name) != ".onnx" && llvm::sys::fs::exists(name))
    return {};
  if (path::extension(name) == ".toml" || name.find('/') != std::string::npos) {
    if (llvm::sys::fs::exists(name))
      return {};
    return text("cannot read '", name, "': no such file; the ", kind, " that come with it are ",
                list(namesIn(share, kind)));
  }
  llvm::SmallString<128> known(share);
  path::append(known, kind, name + ".toml");
  if (llvm::sys::fs::exists(known)) {
    file = known.str().str();
    return {};
  }
  const std::vector<std::string> names = namesIn(share, kind);
  const std::string near = nearest(name, names);
  return text("no file of ", kind, " is named '", name, "'; use one of ", list(names),
              " or a file's path", near.empty() ? "" : text(" (the nearest is ", near, ")"));
}
