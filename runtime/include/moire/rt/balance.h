//===- balance.h - How full experts are -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// T tokens choose K of E experts each, ids [T, K]. An id outside [0, E) chooses none.
//
//===----------------------------------------------------------------------===//

#ifndef MOIRE_RT_BALANCE_H
#define MOIRE_RT_BALANCE_H

#include "moire/rt/context.h"

namespace moire::rt {

/// counts[j, e] = tokens whose choice number j is expert e: [K, E], exact below 2^24.
void choiceCounts(Context &ctx, int64_t tokens, int64_t k, int64_t experts, const int64_t *ids,
                  float *counts);

/// What experts take of a micro-batch that `shards` ranks hold, T tokens each.
struct Capacity {
  int64_t tokens, k, experts, shards;
  int64_t slots;             ///< pairs that one expert takes, of all shards
  bool choicesFirst = false; ///< order (choice, shard, token); else (shard, token, choice)
};
/// kept = ids where the pair is among the first `slots` of its expert, else -1. counts
/// [shards, K, E]: choiceCounts() of all shards; *shard: the number of this one.
void limitToCapacity(Context &ctx, const Capacity &c, const int64_t *ids, const float *counts,
                     const int64_t *shard, int64_t *kept);

} // namespace moire::rt

#endif // MOIRE_RT_BALANCE_H
