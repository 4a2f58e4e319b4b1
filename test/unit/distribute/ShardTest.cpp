//===- ShardTest.cpp - Splits against lists of the elements that they give ===//
//
// A tensor is the numbers 0, 1, 2…; what a rank holds of it is a list of them. An
// index change is right where doing it to the whole and taking a rank's part
// gives the same list as doing it to the rank's part.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "lib/Distribute/Shard.h"
#include "gtest/gtest.h"
#include <random>

using namespace moire::distribute;
using Sizes = std::vector<int64_t>;

namespace {

struct Dense {
  Sizes shape, values;

  static Dense iota(Sizes shape) {
    Dense t{shape, {}};
    int64_t n = 1;
    for (int64_t size : shape)
      n *= size;
    for (int64_t i = 0; i < n; ++i)
      t.values.push_back(i);
    return t;
  }
};

/// The positions of one dim, taken in this order; -1 gives the number -1.
Dense take(const Dense &t, int64_t dim, const Sizes &positions) {
  int64_t inner = 1, outer = 1;
  for (size_t d = dim + 1; d < t.shape.size(); ++d)
    inner *= t.shape[d];
  for (int64_t d = 0; d < dim; ++d)
    outer *= t.shape[d];
  Dense result{t.shape, {}};
  result.shape[dim] = positions.size();
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t p : positions)
      for (int64_t i = 0; i < inner; ++i)
        result.values.push_back(p < 0 ? -1 : t.values[(o * t.shape[dim] + p) * inner + i]);
  return result;
}

/// What a rank holds, said in words: of each block its piece.
Dense partOf(const Dense &t, const Shard &shard, int64_t ranks, int64_t rank) {
  Sizes positions;
  int64_t begin = 0;
  for (int64_t size : shard.blocks) {
    for (int64_t i = rank * size / ranks; i < (rank + 1) * size / ranks; ++i)
      positions.push_back(begin + i);
    begin += size;
  }
  EXPECT_EQ(begin, t.shape[shard.dim]);
  return take(t, shard.dim, positions);
}

class Random {
public:
  explicit Random(unsigned seed) : rng(seed) {}
  int64_t pick(int64_t lo, int64_t hi) {
    return std::uniform_int_distribution<int64_t>(lo, hi)(rng);
  }
  /// One to three blocks of whole pieces.
  Sizes blocks(int64_t ranks, int64_t atMost) {
    Sizes sizes(pick(1, 3));
    for (int64_t &size : sizes)
      size = ranks * pick(1, atMost);
    return sizes;
  }

private:
  std::mt19937 rng;
};

int64_t sum(const Sizes &sizes) {
  int64_t n = 0;
  for (int64_t size : sizes)
    n += size;
  return n;
}

} // namespace

TEST(Shard, ReshapeKeepsEachRanksElements) {
  Random random(1);
  int found = 0;
  for (int round = 0; round < 4000; ++round) {
    // Two factorizations of one number, and a split of the first.
    Sizes factors;
    for (int64_t i = random.pick(2, 5); i > 0; --i)
      factors.push_back(random.pick(1, 4));
    auto grouped = [&] {
      Sizes shape = {1};
      for (int64_t f : factors)
        if (random.pick(0, 1))
          shape.back() *= f;
        else
          shape.push_back(f);
      return shape;
    };
    Sizes from = grouped(), to = grouped();
    int64_t ranks = random.pick(2, 3), dim = random.pick(0, from.size() - 1);
    if (from[dim] % ranks != 0)
      continue;
    Sizes blocks = {from[dim]};
    if (random.pick(0, 1) && from[dim] % (2 * ranks) == 0)
      blocks = {from[dim] / 2, from[dim] / 2};
    Shard shard = Shard::split(dim, blocks);
    auto other = throughReshape(from, to, shard, ranks);
    if (!other)
      continue;
    ++found;
    Dense whole = Dense::iota(from), reshaped = Dense::iota(to);
    for (int64_t rank = 0; rank < ranks; ++rank)
      EXPECT_EQ(partOf(whole, shard, ranks, rank).values,
                partOf(reshaped, *other, ranks, rank).values);
  }
  EXPECT_GT(found, 300);
}

TEST(Shard, ReshapesOfHeadsAreFound) {
  auto through = [](Sizes from, Sizes to, Shard shard, int64_t ranks) {
    return throughReshape(from, to, shard, ranks);
  };
  // [B, S, H * D] as [B, S, H, D], and as rows.
  EXPECT_EQ(through({2, 10, 32}, {2, 10, 4, 8}, Shard::split(2, {32}), 4), Shard::split(2, {4}));
  EXPECT_EQ(through({2, 10, 4, 8}, {20, 32}, Shard::split(2, {4}), 4), Shard::split(1, {32}));
  // Fused query, key and value: before the heads, or as a dim of its own.
  EXPECT_EQ(through({20, 96}, {2, 10, 12, 8}, Shard::split(1, {32, 32, 32}), 2),
            Shard::split(2, {4, 4, 4}));
  EXPECT_EQ(through({20, 96}, {20, 3, 4, 8}, Shard::split(1, {32, 32, 32}), 2),
            Shard::split(2, {4}));
  EXPECT_EQ(through({20, 3, 4, 8}, {20, 96}, Shard::split(2, {4}), 2),
            Shard::split(1, {32, 32, 32}));
  // Pieces of half a head are none of whole heads.
  EXPECT_EQ(through({20, 32}, {20, 4, 8}, Shard::split(1, {32}), 8), std::nullopt);
}

TEST(Shard, SlicesOfWholePieces) {
  Random random(2);
  int found = 0;
  for (int round = 0; round < 4000; ++round) {
    int64_t ranks = random.pick(1, 4);
    Shard shard = Shard::split(1, random.blocks(ranks, 4));
    int64_t size = sum(Sizes(shard.blocks.begin(), shard.blocks.end()));
    int64_t start = random.pick(0, size - 1), limit = random.pick(start + 1, size);
    int64_t stride = random.pick(1, 3);
    auto window = throughSlice(shard, start, limit, stride, ranks);
    if (!window)
      continue;
    ++found;
    Dense whole = Dense::iota({2, size, 3});
    auto positions = [](int64_t from, int64_t to, int64_t by) {
      Sizes list;
      for (int64_t i = from; i < to; i += by)
        list.push_back(i);
      return list;
    };
    Dense sliced = take(whole, 1, positions(start, limit, stride));
    for (int64_t rank = 0; rank < ranks; ++rank) {
      Dense mine = partOf(whole, shard, ranks, rank);
      EXPECT_LE(window->limit, mine.shape[1]);
      EXPECT_EQ(take(mine, 1, positions(window->start, window->limit, stride)).values,
                partOf(sliced, window->shard, ranks, rank).values);
    }
  }
  EXPECT_GT(found, 300);
}

TEST(Shard, SlicesOfFusedWeightsAreFound) {
  // Up of gate and up; every second element from 1 on.
  auto up = throughSlice(Shard::split(1, {48, 48}), 48, 96, 1, 4);
  ASSERT_TRUE(up);
  EXPECT_EQ(up->shard, Shard::split(1, {48}));
  EXPECT_EQ(up->start, 12);
  EXPECT_EQ(up->limit, 24);
  auto odd = throughSlice(Shard::split(1, {96}), 1, 96, 2, 4);
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->shard, Shard::split(1, {48}));
  EXPECT_EQ(odd->start, 1);
  EXPECT_EQ(odd->limit, 24);
  // Half of one block has no equal pieces on all ranks.
  EXPECT_FALSE(throughSlice(Shard::split(1, {96}), 48, 96, 1, 4));
}

TEST(Shard, PadsByWholePieces) {
  Random random(3);
  int found = 0;
  for (int round = 0; round < 4000; ++round) {
    int64_t ranks = random.pick(1, 4);
    Shard shard = Shard::split(0, random.blocks(ranks, 4));
    int64_t size = sum(Sizes(shard.blocks.begin(), shard.blocks.end()));
    int64_t low = random.pick(0, 6), high = random.pick(0, 6), interior = random.pick(0, 2);
    auto padding = throughPad(shard, low, high, interior, ranks);
    if (!padding)
      continue;
    ++found;
    auto positions = [&](int64_t elements, int64_t before, int64_t after) {
      Sizes list(before, -1);
      for (int64_t i = 0; i < elements; ++i) {
        list.push_back(i);
        if (i + 1 < elements)
          list.insert(list.end(), interior, -1);
      }
      list.insert(list.end(), after, -1);
      return list;
    };
    Dense whole = Dense::iota({size, 3});
    Dense padded = take(whole, 0, positions(size, low, high));
    for (int64_t rank = 0; rank < ranks; ++rank) {
      Dense mine = partOf(whole, shard, ranks, rank);
      EXPECT_EQ(take(mine, 0, positions(mine.shape[0], padding->low, padding->high)).values,
                partOf(padded, padding->shard, ranks, rank).values);
    }
  }
  EXPECT_GT(found, 300);
}
