//===- data.h - Where micro-batches come from -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_DATA_H
#define MOIRE_RT_DATA_H

#include "moire/rt/context.h"
#include "train/curriculum.h"

#include <memory>
#include <string>
#include <vector>

namespace moire::rt {

/// The inputs of one micro-batch, one block per Program::inputs (empty for the
/// scale), and how many of its labels count.
struct MicroBatch {
  const Program *program; ///< whose inputs they are
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
  /// so that a run which goes on under another plan reads on where this one stopped. Of a
  /// micro-batch whose program has sequences of l tokens, where the longest have L, row n is piece
  /// n mod L/l of row ⌊n / (L/l)⌋. Throws InputError for a token or label that is wrong.
  virtual void read(int64_t rowsBefore, int64_t micro, MicroBatch &batch) = 0;
  /// So many different rows there are.
  virtual int64_t rowsOfEpoch() const = 0;
  /// One line for the start of the run.
  virtual std::string describe() const = 0;
};

/// What --data, --mix, --documents, --seed and --curriculum say.
struct DataOptions {
  std::string path;
  std::vector<std::string> mix;
  bool keepDocuments = false;
  uint64_t seed = 0;
  std::vector<LengthChange> curriculum = {};
};

/// Token files, a text file, a folder of tensors or a folder of such folders. Checks all that can
/// be checked before the first step. A step has `rounds` (--accumulate) times the program's
/// micro-batches of a round and `shards` ranks with data of their own: shard s reads number
/// a · shards + s in accumulation a. program: of several lengths the longest.
std::unique_ptr<DataSource> openData(const DataOptions &options, const Program &program,
                                     int64_t rounds, int64_t shards = 1);

/// Throws where a run that goes on after `steps` steps and `rows` rows has a --mix that counts
/// steps, and so many steps of its own plan are `own` rows: it would read other rows than were
/// left.
void checkMixOfSteps(const DataOptions &options, int64_t steps, int64_t rows, int64_t own);

/// Number of elements of one micro-batch's input.
int64_t elements(const InputInfo &input);
/// Bytes of one micro-batch's input number i in the length that has most.
int64_t mostBytesOfInput(const std::vector<const Program *> &lengths, int64_t i);
/// How many labels of a filled micro-batch count toward N.
int64_t countLabels(const Program &program, const MicroBatch &batch);
/// Writes a role's default (mask 1, positions 0, 1, …, type 0); false where the
/// role has none.
bool fillDefault(const InputInfo &input, void *to);
/// Throws unless each of n labels of whole rows is -100 or a class below program.vocab.
void checkLabels(const Program &program, const InputInfo &input, const int64_t *labels, int64_t n,
                 const std::string &where);

} // namespace moire::rt

#endif // MOIRE_RT_DATA_H
