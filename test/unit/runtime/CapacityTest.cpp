//===- CapacityTest.cpp - Experts that do not take every pair -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "TestUtil.h"
#include "moire/rt/balance.h"
#include "moire/rt/routing.h"

#include <algorithm>
#include <tuple>

using namespace moire::rt;
using namespace moire::rt::test;

// Pairs without an expert give nothing and get nothing; the tail of the rows stays.
TEST(Capacity, PairsWithoutAnExpert) {
  struct {
    int64_t tokens = 11, k = 3, experts = 4;
    std::vector<int64_t> ids = randomInts(33, 5, 9);
  } c;
  for (int64_t &id : c.ids)
    --id; // -1 … 3
  for (int k = 0; k < 3; ++k)
    c.ids[4 * 3 + k] = -1; // a token without any
  const int64_t width = 19, rows = c.tokens * c.k;
  const int64_t kept = rows - std::count(c.ids.begin(), c.ids.end(), -1);
  Context ctx(2);
  std::vector<char> memory(Routing::bytes(c.tokens, c.k, c.experts) + 64);
  const Routing r = Routing::at(memory.data(), c.tokens, c.k, c.experts);
  route(ctx, r, c.ids.data());
  ASSERT_EQ(*r.count(), kept);
  ASSERT_LT(kept, rows - 3);
  Floats input = random(c.tokens * width, 1), got(rows * width, NAN);
  Floats values = random(c.experts * width, 5), biased(rows * width, NAN);
  dispatch(ctx, r, width, input.data(), got.data());
  perExpert(ctx, r, width, values.data(), biased.data());
  Floats rowValues = random(rows * width, 2), w = random(rows, 3);
  Floats dy = random(c.tokens * width, 4), y(c.tokens * width, NAN);
  Floats drows(rows * width, NAN), dw(rows, NAN);
  combine(ctx, r, width, rowValues.data(), w.data(), y.data());
  combineGrad(ctx, r, width, rowValues.data(), w.data(), dy.data(), drows.data(), dw.data());
  Doubles wantY(y.size()), wantW(rows);
  for (int64_t p = 0; p < rows; ++p) {
    const int64_t row = r.pairToRow[p];
    ASSERT_EQ(row < 0, c.ids[p] < 0);
    for (int64_t i = 0; row >= 0 && i < width; ++i) {
      ASSERT_EQ(got[row * width + i], input[p / c.k * width + i]);
      ASSERT_EQ(biased[row * width + i], values[c.ids[p] * width + i]);
      ASSERT_EQ(drows[row * width + i], w[p] * dy[p / c.k * width + i]);
      wantY[p / c.k * width + i] += double(w[p]) * rowValues[row * width + i];
      wantW[p] += double(rowValues[row * width + i]) * dy[p / c.k * width + i];
    }
  }
  expectNear(y, wantY, 1e-5);
  expectNear(dw, wantW, 1e-5);
}

TEST(Capacity, ChoicesAreCountedByExpert) {
  for (auto [tokens, k, experts] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1}, {77, 3, 9}}) {
    Context ctx(2);
    std::vector<int64_t> ids = randomInts(tokens * k, experts + 1, 4);
    for (int64_t &id : ids)
      --id; // -1 … E-1
    Floats counts(k * experts, NAN);
    choiceCounts(ctx, tokens, k, experts, ids.data(), counts.data());
    for (int64_t j = 0; j < k; ++j)
      for (int64_t e = 0; e < experts; ++e) {
        int64_t want = 0;
        for (int64_t t = 0; t < tokens; ++t)
          want += ids[t * k + j] == e;
        ASSERT_EQ(counts[j * experts + e], float(want));
      }
  }
}

// Shards decide as one that has all tokens: sorts all pairs by the order that the papers
// give and takes the first ones of each expert.
TEST(Capacity, ShardsKeepWhatOneRankKeeps) {
  const int64_t shards = 3, tokens = 41, k = 3, experts = 5, pairs = tokens * k;
  for (bool choicesFirst : {false, true})
    for (int64_t slots : {0, 1, 20, 70, 1000}) {
      Context ctx(1);
      std::vector<int64_t> ids = randomInts(shards * pairs, experts, 7);
      Floats counts(shards * k * experts);
      for (int64_t s = 0; s < shards; ++s)
        choiceCounts(ctx, tokens, k, experts, ids.data() + s * pairs,
                     counts.data() + s * k * experts);
      std::vector<int64_t> order(shards * pairs), want(shards * pairs, -1);
      for (size_t i = 0; i < order.size(); ++i)
        order[i] = i;
      if (choicesFirst)
        std::stable_sort(order.begin(), order.end(),
                         [&](int64_t a, int64_t b) { return a % k < b % k; });
      std::vector<int64_t> taken(experts);
      for (int64_t p : order)
        if (taken[ids[p]]++ < slots)
          want[p] = ids[p];
      for (int64_t s = 0; s < shards; ++s) {
        std::vector<int64_t> kept(pairs);
        const Capacity c{tokens, k, experts, shards, slots, choicesFirst};
        limitToCapacity(ctx, c, ids.data() + s * pairs, counts.data(), &s, kept.data());
        for (int64_t p = 0; p < pairs; ++p)
          ASSERT_EQ(kept[p], want[s * pairs + p]) << "pair " << p << " of shard " << s;
      }
    }
}
