//===- ExpertExchangeTest.cpp - Rows to the ranks of their experts --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Each row carries its source rank and its place there, so that where it lands says
// whether it was moved right.
//
//===----------------------------------------------------------------------===//

#include "CommUtil.h"
#include "TestUtil.h"
#include "moire/rt/device.h"
#include "moire/rt/kernels.h"

#include <algorithm>
#include <functional>

using namespace moire::rt;
using namespace moire::rt::test;

namespace {
struct Layer {
  int64_t tokens, k, experts, width;
  /// The expert of rank's pair p.
  std::function<int64_t(int rank, int64_t p)> choice;
};

struct Routed {
  std::vector<char> memory;
  Routing r;
  Routed(int64_t tokens, int64_t k, int64_t experts)
      : memory(Routing::bytes(tokens, k, experts)),
        r(Routing::at(memory.data(), tokens, k, experts)) {}
};

Routed routed(Context &ctx, const Layer &layer, int rank) {
  Routed routing(layer.tokens, layer.k, layer.experts);
  std::vector<int64_t> ids;
  for (int64_t p = 0; p < layer.tokens * layer.k; ++p)
    ids.push_back(layer.choice(rank, p));
  route(ctx, routing.r, ids.data());
  return routing;
}

/// There, each row doubled, and back; every rank's rows checked on the way.
void check(const Layer &layer, int ranks) {
  const int64_t local = layer.experts / ranks, rows = layer.tokens * layer.k;
  const auto errors = onThreads(line(ranks), {{0}}, [&](Comm &comm) {
    Context ctx(1);
    ctx.comm = &comm;
    connectDevices(ctx);
    const int me = comm.rank();
    const Routed global = routed(ctx, layer, me);
    const Routed here(ranks * layer.tokens, std::min(layer.k, local), local);
    std::vector<int32_t> exchange(exchangeLength(layer.experts) + 1, -7);
    exchangeRouting(ctx, 0, "counts", global.r, here.r, exchange.data());
    if (exchange.back() != -7)
      throw std::runtime_error("wrote past exchangeLength");

    // What must arrive: for each local expert, each source's rows of it.
    std::vector<float> want;
    std::vector<int32_t> offsets = {0};
    for (int64_t l = 0; l < local; ++l) {
      for (int source = 0; source < ranks; ++source) {
        const Routed theirs = routed(ctx, layer, source);
        for (int32_t row = theirs.r.offsets[me * local + l];
             row < theirs.r.offsets[me * local + l + 1]; ++row)
          for (int64_t c = 0; c < layer.width; ++c)
            want.push_back(float(source * 100000 + row * 10 + c));
      }
      offsets.push_back(int32_t(want.size() / layer.width));
    }
    if (!std::equal(offsets.begin(), offsets.end(), here.r.offsets))
      throw std::runtime_error("wrong offsets");

    std::vector<float> sorted(rows * layer.width), back(rows * layer.width, -1);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t c = 0; c < layer.width; ++c)
        sorted[i * layer.width + c] = float(me * 100000 + i * 10 + c);
    std::vector<float> grouped(here.r.rows() * layer.width, -1);
    allToAllRows(ctx, 0, "there", sorted.data(), grouped.data(), layer.width * 4, exchange.data(),
                 false);
    if (!std::equal(want.begin(), want.end(), grouped.begin()))
      throw std::runtime_error("wrong rows");
    if (std::any_of(grouped.begin() + int64_t(want.size()), grouped.end(),
                    [](float x) { return x != -1; }))
      throw std::runtime_error("wrote past the last row");
    for (float &x : grouped)
      x *= 2;
    allToAllRows(ctx, 0, "back", grouped.data(), back.data(), layer.width * 4, exchange.data(),
                 true);
    for (size_t i = 0; i < sorted.size(); ++i)
      if (back[i] != 2 * sorted[i])
        throw std::runtime_error("wrong rows came back");
  });
  for (const std::string &error : errors)
    EXPECT_EQ(error, "") << ranks << " ranks, " << layer.experts << " experts";
}
} // namespace

TEST(ExpertExchange, RowsGoToTheirExpertsAndBack) {
  for (int ranks : {1, 2, 4, 8})
    for (auto [tokens, k, perRank, width] :
         {std::array<int64_t, 4>{17, 3, 2, 5}, {1, 1, 1, 1}, {33, 2, 5, 3}, {64, 8, 1, 7}})
      check({tokens, std::min(k, perRank * ranks), perRank * ranks, width,
             [=, k = std::min(k, perRank * ranks), experts = perRank * ranks](int rank, int64_t p) {
               std::mt19937 gen(uint32_t(rank * 7919 + p / k));
               // k different ones a token, where there are as many.
               return int64_t(gen() + p % k) % experts;
             }},
            ranks);
}

TEST(ExpertExchange, AllTokensToOneExpert) {
  for (int ranks : {1, 2, 4, 8})
    for (int64_t expert : {int64_t(0), int64_t(2 * ranks - 1)})
      check({13, 1, 2 * ranks, 3, [=](int, int64_t) { return expert; }}, ranks);
}

TEST(ExpertExchange, RanksWhoseExpertsGetNoneAndRanksThatSendToOneOnly) {
  for (int ranks : {2, 4, 8}) {
    check({9, 2, 2 * ranks, 3,
           [=](int rank, int64_t p) { // to the neighbour's two experts
             return int64_t((rank + 1) % ranks * 2 + p % 2);
           }},
          ranks);
    check({9, 2, 2 * ranks, 3,
           [=](int rank, int64_t p) { // never to the last rank
             return (rank + p) % (2 * ranks - 2);
           }},
          ranks);
  }
}

TEST(ExpertExchange, OneRankWithoutOthersIsTheSameAsAGroupOfOne) {
  Context ctx(1);
  const Layer layer = {6, 2, 3, 4, [](int, int64_t p) { return p * p % 3; }};
  const Routed global = routed(ctx, layer, 0);
  const Routed here(6, 2, 3);
  std::vector<int32_t> exchange(exchangeLength(3));
  exchangeRouting(ctx, 0, "counts", global.r, here.r, exchange.data());
  EXPECT_TRUE(std::equal(global.r.offsets, global.r.offsets + 4, here.r.offsets));
  Floats from = random(48, 1), to(48), back(48);
  allToAllRows(ctx, 0, "there", from.data(), to.data(), 16, exchange.data(), false);
  EXPECT_EQ(from, to);
  allToAllRows(ctx, 0, "back", to.data(), back.data(), 16, exchange.data(), true);
  EXPECT_EQ(from, back);
}

TEST(ExpertExchange, AMeshThatCannotHoldTheExpertsIsRefused) {
  Context ctx(1);
  const Routed global(4, 1, 6), here(4, 1, 4);
  std::vector<int32_t> exchange(exchangeLength(6));
  try {
    exchangeRouting(ctx, 0, "all_to_all of x", global.r, here.r, exchange.data());
    FAIL();
  } catch (const RunError &e) {
    EXPECT_STREQ(e.what(), "all_to_all of x: 1 ranks of 4 experts each cannot hold 6");
  }
}
