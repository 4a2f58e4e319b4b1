//===- checkpoint_folder.cpp - The names of checkpoints -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/checkpoint_folder.h"
#include "moire/rt/memory.h"
#include "train/durable.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

namespace moire::rt {

namespace fs = std::filesystem;

static const std::string kStep = "step-", kTemporary = ".tmp-", kOld = ".tmp-old-";

static std::string nameOf(int64_t step) {
  char text[32];
  std::snprintf(text, sizeof text, "%s%08lld", kStep.c_str(), (long long)step);
  return text;
}

int64_t stepOfName(const std::string &name) {
  const size_t digits = name.size() - std::min(name.size(), kStep.size());
  if (name.compare(0, kStep.size(), kStep) != 0 || digits < 8 || digits > 18 ||
      name.find_first_not_of("0123456789", kStep.size()) != std::string::npos)
    return -1;
  return std::stoll(name.substr(kStep.size()));
}

std::string CheckpointFolder::pathOf(int64_t step) const { return folder + "/" + nameOf(step); }
std::string CheckpointFolder::temporaryOf(int64_t step) const {
  return folder + "/" + kTemporary + nameOf(step);
}

static std::vector<std::string> namesIn(const std::string &folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  return names;
}

std::vector<int64_t> CheckpointFolder::steps() const {
  std::vector<int64_t> steps;
  for (const std::string &name : namesIn(folder))
    if (const int64_t step = stepOfName(name); step >= 0)
      steps.push_back(step);
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::vector<std::string> CheckpointFolder::leftOver() const {
  std::vector<std::string> left;
  for (const std::string &name : namesIn(folder))
    for (const std::string &head : {kOld, kTemporary})
      if (name.compare(0, head.size(), head) == 0 && stepOfName(name.substr(head.size())) >= 0)
        left.push_back(name);
  return left;
}

void CheckpointFolder::make() const {
  std::error_code error;
  const bool made = fs::create_directories(folder, error);
  if (!error && !fs::is_directory(folder))
    error = std::make_error_code(std::errc::not_a_directory);
  if (error)
    throw InputError("cannot make the folder '" + folder + "' of --checkpoint: " + error.message());
  if (made)
    syncFolder(fs::absolute(folder).lexically_normal().parent_path().string());
}

void CheckpointFolder::clean() const {
  for (const std::string &name : leftOver())
    removeFolder(folder + "/" + name);
}

void CheckpointFolder::begin(int64_t step) const {
  removeFolder(temporaryOf(step));
  makeFolder(temporaryOf(step));
}

void CheckpointFolder::commit(int64_t step) const {
  syncFolder(temporaryOf(step));
  remove(step); // a damaged one that was passed over at the resume
  renameFolder(temporaryOf(step), pathOf(step));
  syncFolder(folder);
}

void CheckpointFolder::discard(int64_t step) const noexcept {
  try {
    removeFolder(temporaryOf(step));
  } catch (const std::exception &) {
    // It has a temporary name: the next run removes it.
  }
}

void CheckpointFolder::remove(int64_t step) const {
  const std::string old = folder + "/" + kOld + nameOf(step);
  removeFolder(old);
  if (!fs::exists(pathOf(step)))
    return;
  // So that what is half removed is not taken for a checkpoint.
  renameFolder(pathOf(step), old);
  syncFolder(folder);
  removeFolder(old);
}

void CheckpointFolder::keepLast(int64_t count, int64_t step) const {
  std::vector<int64_t> all = steps();
  all.erase(std::upper_bound(all.begin(), all.end(), step), all.end());
  for (int64_t i = 0; i + count < int64_t(all.size()); ++i)
    remove(all[i]);
}

} // namespace moire::rt
