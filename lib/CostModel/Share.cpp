//===- Share.cpp - Files that come with the project ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/CostModel/Share.h"
#include "../Scheduling/Text.h"
#include "moire/CostModel/Fields.h"
#include <algorithm>
#include <filesystem>

using namespace moire::cost;
using moire::scheduling::text;
namespace fs = std::filesystem;

std::string moire::cost::shareFolder() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  const fs::path installed = self.parent_path().parent_path() / "share" / "moire";
  return fs::is_directory(installed, error) ? installed.string() : MOIRE_SHARE;
}

std::vector<std::string> moire::cost::namesIn(const std::string &share, const std::string &kind) {
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::directory_entry &entry : fs::directory_iterator(fs::path(share) / kind, error))
    if (entry.path().extension() == ".toml")
      names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

static std::string list(const std::vector<std::string> &names) {
  std::string all;
  for (const std::string &name : names)
    all += (all.empty() ? "" : ", ") + name;
  return all;
}

Refusal moire::cost::resolve(const std::string &share, const std::string &kind,
                             const std::string &name, std::string &file) {
  file = name;
  std::error_code error; // what cannot be looked at is not there
  const std::string extension = fs::path(name).extension().string();
  if (!extension.empty() && extension != ".onnx" && fs::exists(name, error))
    return {};
  if (extension == ".toml" || name.find('/') != std::string::npos) {
    if (fs::exists(name, error))
      return {};
    return text("cannot read '", name, "': no such file; the ", kind, " that come with it are ",
                list(namesIn(share, kind)));
  }
  const fs::path known = fs::path(share) / kind / (name + ".toml");
  if (fs::exists(known, error)) {
    file = known.string();
    return {};
  }
  const std::vector<std::string> names = namesIn(share, kind);
  const std::string near = nearest(name, names);
  return text("no file of ", kind, " is named '", name, "'; use one of ", list(names),
              " or a file's path", near.empty() ? "" : text(" (the nearest is ", near, ")"));
}
