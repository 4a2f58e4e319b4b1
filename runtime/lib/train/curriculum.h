//===- curriculum.h - Which step has sequences of which length ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A row of the data is one of the longest length, L tokens. Where steps have shorter sequences,
// of l tokens, each takes one of the L/l pieces of a row. The position in the data is counted in
// pieces of the shortest length that was compiled: so it is a whole number at each step. Where
// the next step's sequences are longer, they begin with the next of their own pieces, and what is
// left before it is skipped.
//
//      row 0                         row 1
//     |       |       |       |     |       |       |       |      position in pieces of l = L/4
//      step 1: 3 rows of L/4  ^ skipped      step 2: 2 rows of L, from position 4 on
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_CURRICULUM_H
#define MOIRE_RT_CURRICULUM_H

#include "moire/rt/pipeline.h"

#include <string>
#include <vector>

namespace moire::rt {

/// All programs of a binary, the shortest sequences first; of one length it alone.
std::vector<const Program *> lengthsOf(const Program &program);
/// The same as the rank of pp with this coordinate has them.
std::vector<Program> lengthsOfRank(const Program &program, int64_t coordinate);

/// So many pieces of the shortest sequences a row of the longest ones has.
int64_t piecesOfRow(const Program &program);

/// Once `after` steps are done, sequences are those of this index of lengthsOf().
struct LengthChange {
  size_t length;
  int64_t after;
};
/// seq=128@0,512@1000 of --curriculum. Throws InputError.
std::vector<LengthChange> parseCurriculum(const std::string &text, const Program &program);

class Curriculum {
public:
  /// changes: none: all steps have the longest sequences. A step has `rounds` (--accumulate) times
  /// the micro-batches of a round, on `shards` ranks with data of their own.
  Curriculum(const Program &program, std::vector<LengthChange> changes, int64_t rounds,
             int64_t shards);

  struct Step {
    size_t length = 0;      ///< index of lengthsOf()
    RoundOfStep round;
    int64_t micros = 0;     ///< of a rank
    int64_t rowsBefore = 0; ///< rows of this length before the step's first one
    int64_t rows = 0;       ///< of all ranks
    int64_t end = 0;        ///< the position after it
  };
  /// The step after `done` steps, which begins at this position.
  Step stepAfter(int64_t done, int64_t position) const;
  /// Where a run is after so many steps.
  int64_t positionAfter(int64_t steps) const;
  /// Rows of the longest sequences that begin before this position.
  int64_t wholeRows(int64_t position) const { return (position + pieces - 1) / pieces; }
  /// Tokens before this position, those that were skipped among them; rows where there are no
  /// sequences.
  int64_t tokensBefore(int64_t position) const;

private:
  size_t lengthAfter(int64_t done) const;

  const std::vector<const Program *> lengths;
  const std::vector<LengthChange> changes;
  const int64_t rounds, shards, pieces;
};

} // namespace moire::rt

#endif // MOIRE_RT_CURRICULUM_H
