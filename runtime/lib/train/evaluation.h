//===- evaluation.h - What the loss is measured on ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_EVALUATION_H
#define MOIRE_RT_EVALUATION_H

#include "train/options.h"

namespace moire::rt {

/// The first rows of the data of --eval, the same at every evaluation and on every mesh.
class EvaluationSet {
public:
  /// For rank `shard` of `shards` with data of their own; no step has more than `most`
  /// micro-batches. Throws InputError for data that openData() refuses, or that is less than what
  /// is read at once and has no labels to leave out.
  EvaluationSet(const Options &options, const Program &program, int64_t most, int64_t shard,
                int64_t shards);

  int64_t rows() const { return count; }
  std::string describe() const { return source->describe(); }
  /// This rank's `micros` micro-batches behind the first `rowsBefore` rows. Labels of rows behind
  /// the last one do not count. Valid until the next call.
  const MicroBatch *read(int64_t rowsBefore, int64_t micros);

private:
  void leaveOut(int64_t first, MicroBatch &batch) const;

  const Program &program;
  const int64_t shard, shards;
  std::unique_ptr<DataSource> source;
  std::vector<MicroBatch> batches;
  int64_t count;
};

} // namespace moire::rt

#endif // MOIRE_RT_EVALUATION_H
