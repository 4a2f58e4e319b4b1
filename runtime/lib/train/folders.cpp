//===- folders.cpp - Batches from a folder of folders of tensors -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "train/philox.h"
#include "train/sources.h"
#include "train/tensor_folder.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace moire::rt {

namespace {
namespace fs = std::filesystem;

/// F folders of R rows each: row n of a run is row n mod R of folder π(k mod F), k = ⌊n / R⌋, where
/// π is the permutation of epoch ⌊k / F⌋. One folder at a time is in memory.
class Folders final : public DataSource {
public:
  Folders(const std::string &path, const Program &program, uint64_t seed)
      : path(path), program(program), seed(seed) {
    std::vector<std::string> names;
    for (const fs::directory_entry &entry : fs::directory_iterator(path))
      if (entry.is_directory() && entry.path().filename().string()[0] != '.')
        names.push_back(entry.path().string());
    std::sort(names.begin(), names.end());
    for (const std::string &name : names)
      folders.emplace_back(name, program);
    rows = folders[0].rows();
    if (rows < 1)
      throw InputError("'" + names[0] +
                       "' has no rows: no input of the model begins with its "
                       "batch of " +
                       std::to_string(program.batch) + "; use one folder of tensors");
    for (const TensorFolder &folder : folders)
      folder.check(rows, wrongRows());
  }

  void read(int64_t rowsBefore, int64_t micro, MicroBatch &batch) override {
    const int64_t first = rowsBefore + micro * program.batch;
    for (int64_t i = 0; i < program.numInputs; ++i)
      fillDefault(program.inputs[i], batch.blocks[i].data());
    for (int64_t r = 0; r < program.batch;) {
      const int64_t from = (first + r) % rows, count = std::min(program.batch - r, rows - from);
      load((first + r) / rows);
      for (int64_t i = 0; i < program.numInputs; ++i) {
        const InputInfo &in = program.inputs[i];
        if (whole[i].empty())
          continue;
        if (folders[loaded].hasRows(in))
          folders[loaded].copyRows(in, whole[i], from, count, batch.blocks[i], r);
        else if (r == 0) // what has no rows is that of the first one's folder
          std::memcpy(batch.blocks[i].data(), whole[i].data(), whole[i].size());
      }
      r += count;
    }
    batch.counted = countLabels(program, batch);
  }

  int64_t rowsOfEpoch() const override { return int64_t(folders.size()) * rows; }

  std::string describe() const override {
    return std::to_string(folders.size()) + " folders of " + std::to_string(rows) +
           " rows each from '" + path + "'";
  }

private:
  TensorFolder::WrongRows wrongRows() const {
    return [this](int64_t) {
      return "those in '" + folders[0].path() + "' one of " + std::to_string(rows) +
             "; all folders of a folder have the same number of rows";
    };
  }

  void load(int64_t number) {
    const int64_t n = int64_t(folders.size());
    const Permutation order(n, seed, number / n);
    const auto folder = int64_t(order(number % n));
    if (folder == loaded)
      return;
    loaded = -1;
    whole = folders[folder].load(rows, wrongRows());
    loaded = folder;
  }

  const std::string path;
  const Program &program;
  const uint64_t seed;
  std::vector<TensorFolder> folders;
  int64_t rows = 0;    ///< of each
  int64_t loaded = -1; ///< the folder in `whole`
  std::vector<std::vector<unsigned char>> whole;
};
} // namespace

bool isFolderOfFolders(const std::string &path) {
  bool folders = false;
  std::error_code error; // an unreadable one is said to lack its files
  for (const fs::directory_entry &entry : fs::directory_iterator(path, error)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("input_", 0) == 0 || name == "labels.pb")
      return false;
    folders = folders || (entry.is_directory() && name[0] != '.');
  }
  return folders;
}

std::unique_ptr<DataSource> openFolders(const std::string &path, const Program &program,
                                        uint64_t seed) {
  return std::make_unique<Folders>(path, program, seed);
}

} // namespace moire::rt
