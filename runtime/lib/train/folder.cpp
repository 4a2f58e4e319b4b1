//===- folder.cpp - A fixed batch from a folder of tensors ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "moire/rt/pipeline.h"
#include "train/sources.h"
#include "train/tensor_folder.h"

#include <cstring>

namespace moire::rt {

namespace {
class Folder final : public DataSource {
public:
  Folder(const std::string &path, const Program &program, int64_t rounds, int64_t shards)
      : folder(path, program), program(program), rounds(rounds), shards(shards),
        whole(folder.load(rowsOfStep(), [this](int64_t found) { return wrongRows(found); })) {}

  void read(int64_t, int64_t micro, MicroBatch &batch) override {
    for (int64_t i = 0; i < program.numInputs; ++i) {
      const InputInfo &in = program.inputs[i];
      if (whole[i].empty())
        fillDefault(in, batch.blocks[i].data());
      else if (folder.hasRows(in))
        folder.copyRows(in, whole[i], micro * program.batch, program.batch, batch.blocks[i], 0);
      else
        std::memcpy(batch.blocks[i].data(), whole[i].data(), whole[i].size());
    }
    batch.counted = countLabels(program, batch);
  }

  int64_t rowsOfEpoch() const override { return rowsOfStep(); }

  std::string describe() const override {
    return "a fixed batch of " + std::to_string(rowsOfStep()) + " rows from '" + folder.path() +
           "'" + (program.numRamp > 1 ? ", of which a smaller step takes the first ones" : "");
  }

private:
  int64_t rowsOfRound() const { return program.batch * mostMicroBatches(program) * shards; }
  int64_t rowsOfStep() const { return rowsOfRound() * rounds; }

  std::string wrongRows(int64_t found) const {
    const int64_t unit = rowsOfRound(), microBatches = mostMicroBatches(program);
    return "batch " + std::to_string(program.batch) +
           (microBatches > 1 ? " x " + std::to_string(microBatches) + " micro-batches" : "") +
           " x accumulation " + std::to_string(rounds) +
           (shards > 1 ? " x " + std::to_string(shards) + " ranks with data of their own" : "") +
           " is " + std::to_string(rowsOfStep()) +
           (found % unit == 0 && found > 0 ? "; use --accumulate " + std::to_string(found / unit)
            : unit > program.batch         ? "; use a multiple of " + std::to_string(unit) + " rows"
                                           : "; use --bind batch=" + std::to_string(found));
  }

  const TensorFolder folder;
  const Program &program;
  const int64_t rounds, shards;
  const std::vector<std::vector<unsigned char>> whole; ///< all rows of each input
};
} // namespace

std::unique_ptr<DataSource> openFolder(const std::string &path, const Program &program,
                                       int64_t rounds, int64_t shards) {
  return std::make_unique<Folder>(path, program, rounds, shards);
}

} // namespace moire::rt
