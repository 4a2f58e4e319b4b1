//===- data.h - Where micro-batches come from -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_DATA_H
#define MOIRE_RT_DATA_H

#include "moire/rt/context.h"

#include <memory>
#include <string>

namespace moire::rt {

/// The inputs of one micro-batch, one block per Program::inputs (empty for the
/// scale), and how many of its labels count.
struct MicroBatch {
  std::unique_ptr<Block[]> blocks;
  int64_t counted = 0;

  explicit MicroBatch(const Program &program);
};

class DataSource {
public:
  virtual ~DataSource() = default;
  /// Fills micro-batch `micro` of those of all shards of a step before which all ranks together
  /// read `rowsBefore` rows (sequences): its rows are number rowsBefore + micro · batch and the
  /// following ones of the run. That number is the whole position in the data: what row n is
  /// depends on the files, the options and the seed alone, not on batch, accumulation or ranks,
  /// so that a run which goes on under another plan reads on where this one stopped. Throws
  /// InputError for a token or label that is wrong.
  virtual void read(int64_t rowsBefore, int64_t micro, MicroBatch &batch) = 0;
  /// One line for the start of the run.
  virtual std::string describe() const = 0;
};

/// A folder of tensors, an llm.c .bin or a text file. Checks all that can be
/// checked before the first step. The largest step has accumulate · shards micro-batches:
/// shard s of `shards` reads number a · shards + s in accumulation a.
std::unique_ptr<DataSource> openData(const std::string &path,
                                     const Program &program, int64_t accumulate,
                                     uint64_t seed, int64_t shards = 1);

/// Number of elements of one micro-batch's input.
int64_t elements(const InputInfo &input);
/// How many labels of a filled micro-batch count toward N.
int64_t countLabels(const Program &program, const MicroBatch &batch);
/// Writes a role's default (mask 1, positions 0, 1, …, type 0); false where the
/// role has none.
bool fillDefault(const InputInfo &input, void *to);
/// Throws unless every label is -100 or a class below program.vocab. `first` is
/// the number of the micro-batch's first row, for the message.
void checkLabels(const Program &program, const InputInfo &input,
                 const int64_t *labels, int64_t first, const std::string &where);

} // namespace moire::rt

#endif // MOIRE_RT_DATA_H
