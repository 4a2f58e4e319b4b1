//===- balance.cpp - How full experts are ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Serial: a pair costs one or two nanoseconds, once a layer.
//
//===----------------------------------------------------------------------===//

#include "moire/rt/balance.h"

#include <algorithm>
#include <vector>

namespace moire::rt {

void choiceCounts(Context &, int64_t tokens, int64_t k, int64_t experts, const int64_t *ids,
                  float *counts) {
  std::fill(counts, counts + k * experts, 0.0f);
  for (int64_t p = 0; p < tokens * k; ++p)
    if (ids[p] >= 0 && ids[p] < experts)
      ++counts[p % k * experts + ids[p]];
}

void limitToCapacity(Context &, const Capacity &c, const int64_t *ids, const float *counts,
                     const int64_t *shard, int64_t *kept) {
  const int64_t size = c.k * c.experts;
  // Of each expert: pairs that come before the next one looked at.
  std::vector<int64_t> before(c.experts);
  auto passOthers = [&](int64_t s, int64_t j) {
    for (int64_t e = 0; e < c.experts; ++e)
      before[e] += int64_t(counts[s * size + j * c.experts + e]);
  };
  auto take = [&](int64_t p) {
    const int64_t e = ids[p];
    kept[p] = e >= 0 && e < c.experts && before[e]++ < c.slots ? e : -1;
  };
  if (!c.choicesFirst) {
    for (int64_t s = 0; s < *shard; ++s)
      for (int64_t j = 0; j < c.k; ++j)
        passOthers(s, j);
    for (int64_t p = 0; p < c.tokens * c.k; ++p)
      take(p);
    return;
  }
  for (int64_t j = 0; j < c.k; ++j) {
    for (int64_t s = 0; s < *shard; ++s)
      passOthers(s, j);
    for (int64_t t = 0; t < c.tokens; ++t)
      take(t * c.k + j);
    for (int64_t s = *shard + 1; s < c.shards; ++s)
      passOthers(s, j);
  }
}

} // namespace moire::rt
