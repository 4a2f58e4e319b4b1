//===- RankProgram.h - A small program for any mesh -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the compiler emits for a mesh, by hand: logits of a token are its row of
// `table`, whose columns tp splits in two blocks, plus `bias`, plus the row of its
// expert, token % 4, of `experts`, whose rows ep splits. Loss: the next token's
// cross-entropy. The same statements on one rank are the reference. `zero` divides
// what ranks with other tokens hold alike.
//
//===----------------------------------------------------------------------===//
#ifndef MOIRE_RUNTIME_RANKPROGRAM_H
#define MOIRE_RUNTIME_RANKPROGRAM_H

#include "moire/rt/program.h"

#include <string>
#include <vector>

namespace moire::rt::test {

class RankProgram {
public:
  static constexpr int64_t kVocab = 12, kExperts = 4, kBatch = 2, kSeq = 3;

  /// mesh: "dp=2,ep=2,tp=2"; an axis that is not named has size 1.
  explicit RankProgram(const std::string &mesh, int zero = 0);
  RankProgram(const RankProgram &) = delete;

  /// Makes table and experts update groups of these names; bias is in none.
  void makeGroups();

  Program p = {};
  ParameterInfo params[3];

private:
  AxisInfo axes[4];
  int64_t tableShape[2], expertShape[2];
  RangeInfo ranges[3];
  BucketInfo buckets[3];
};

} // namespace moire::rt::test

#endif
