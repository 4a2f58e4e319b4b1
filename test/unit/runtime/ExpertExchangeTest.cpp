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
#include <numeric>

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

/// The most rows that a rank has for the experts of one.
int64_t mostForOne(const Layer &layer, int ranks) {
  int64_t most = 0;
  for (int source = 0; source < ranks; ++source) {
    std::vector<int64_t> rows(ranks);
    for (int64_t p = 0; p < layer.tokens * layer.k; ++p)
      most = std::max(most, ++rows[layer.choice(source, p) * ranks / layer.experts]);
  }
  return most;
}

/// There, each row doubled, and back; every rank's rows checked on the way. inSlots: with as
/// few slots as a GPU can do with, which must not be too few.
void check(const Layer &layer, int ranks, bool inSlots) {
  const int64_t local = layer.experts / ranks, rows = layer.tokens * layer.k;
  const auto errors = onThreads(line(ranks), {{0}}, [&](Comm &comm) {
    Context ctx(1);
    ctx.comm = &comm;
    connectDevices(ctx);
    const int me = comm.rank();
    const Routed global = routed(ctx, layer, me);
    const Routed here = inSlots ? Routed(ranks * mostForOne(layer, ranks), 1, local)
                                : Routed(ranks * layer.tokens, std::min(layer.k, local), local);
    std::vector<int32_t> exchange(exchangeLength(layer.experts) + 1, -7);
    if (inSlots)
      exchangeRoutingInSlots(ctx, 0, "counts", global.r, here.r, exchange.data());
    else
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
    checkSlots(ctx);
  });
  for (const std::string &error : errors)
    EXPECT_EQ(error, "") << ranks << " ranks, " << layer.experts << " experts, slots " << inSlots;
}
void check(const Layer &layer, int ranks) {
  for (bool inSlots : {false, true})
    check(layer, ranks, inSlots);
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

namespace {
constexpr char kOld = 0x5a;
using Bytes = std::vector<char>;

/// There and back in parts, against the whole: bytes of `to`, after each part, are those of
/// the whole where the part's rows or those of an earlier one are, and old ones elsewhere.
void checkParts(Context &ctx, const Layer &layer, int ranks, int me, int64_t rowBytes,
                uint32_t seed) {
  const int64_t local = layer.experts / ranks, rows = layer.tokens * layer.k;
  const Routed global = routed(ctx, layer, me);
  const Routed here(ranks * layer.tokens, std::min(layer.k, local), local);
  std::vector<int32_t> exchange(exchangeLength(layer.experts));
  exchangeRouting(ctx, 0, "counts", global.r, here.r, exchange.data());
  std::mt19937 gen(seed), own{uint32_t(me)};
  Bytes sorted(rows * rowBytes), whole(here.r.rows() * rowBytes, kOld);
  std::generate(sorted.begin(), sorted.end(), [&] { return char(own()); });
  allToAllRows(ctx, 0, "there", sorted.data(), whole.data(), rowBytes, exchange.data(), false);
  Bytes wholeBack(rows * rowBytes, kOld);
  allToAllRows(ctx, 0, "back", whole.data(), wholeBack.data(), rowBytes, exchange.data(), true);

  auto copyRows = [&](const Bytes &from, Bytes &to, int32_t begin, int32_t end) {
    std::copy(from.begin() + begin * rowBytes, from.begin() + end * rowBytes,
              to.begin() + begin * rowBytes);
  };
  for (bool back : {false, true})
    for (int64_t parts : {1, 2, 4}) {
      std::vector<int64_t> order(parts);
      std::iota(order.begin(), order.end(), 0);
      std::shuffle(order.begin(), order.end(), gen); // the same on all ranks
      const Bytes &from = back ? whole : sorted, &all = back ? wholeBack : whole;
      Bytes to(all.size(), kOld), want = to;
      for (int64_t part : order) {
        const int64_t begin = part * local / parts, end = (part + 1) * local / parts;
        allToAllRows(ctx, 0, "part", from.data(), to.data(), rowBytes, exchange.data(), back, part,
                     parts);
        if (back)
          for (int m = 0; m < ranks; ++m)
            copyRows(all, want, global.r.offsets[m * local + begin],
                     global.r.offsets[m * local + end]);
        else
          copyRows(all, want, here.r.offsets[begin], here.r.offsets[end]);
        if (to != want)
          throw std::runtime_error("part " + std::to_string(part) + " of " + std::to_string(parts) +
                                   (back ? " back" : " there") + " is not that of the whole");
      }
      if (to != all)
        throw std::runtime_error("the parts are not the whole");
    }
}
} // namespace

TEST(ExpertExchange, PartsAreTheWhole) {
  constexpr int64_t kLocal = 4;
  for (int ranks : {1, 2, 4})
    for (uint32_t seed = 0; seed < 4; ++seed)
      // Rows of odd widths of float and of bf16, and one that is moved 16 bytes at once.
      for (int64_t rowBytes : {4 * 5, 2 * 7, 2 * 1, 4 * 8}) {
        const int64_t experts = kLocal * ranks, tokens = 1 + seed * 7;
        std::mt19937 gen(seed);
        std::vector<int64_t> chosen; // the others have no rows
        for (int64_t e = 0; e < experts; ++e)
          if (gen() % 3)
            chosen.push_back(e);
        if (chosen.empty())
          chosen.push_back(experts - 1);
        const Layer layer = {tokens, 2, experts, 1, [&](int rank, int64_t p) {
                               std::mt19937 draw(seed * 1000 + uint32_t(rank * 100 + p));
                               return draw() % 8 ? chosen[draw() % chosen.size()]
                                                 : int64_t(-1); // no expert
                             }};
        const auto errors = onThreads(line(ranks), {{0}}, [&](Comm &comm) {
          Context ctx(1);
          ctx.comm = &comm;
          connectDevices(ctx);
          checkParts(ctx, layer, ranks, comm.rank(), rowBytes, seed);
        });
        EXPECT_EQ(errors, std::vector<std::string>(ranks)) << seed << ", rows of " << rowBytes;
        if (ranks == 1) {
          Context ctx(1);
          checkParts(ctx, layer, 1, 0, rowBytes, seed);
        }
      }
}

#ifdef MOIRE_CUDA_MODEL // the CPU's have no slots
TEST(ExpertExchange, RowsInSlotsAreNotExchangedInParts) {
  const auto errors = onThreads(line(2), {{0}}, [&](Comm &comm) {
    Context ctx(1);
    ctx.comm = &comm;
    connectDevices(ctx);
    const Layer layer = {6, 1, 8, 1, [](int, int64_t p) { return p; }};
    const Routed global = routed(ctx, layer, comm.rank()), here(12, 1, 4);
    std::vector<int32_t> exchange(exchangeLength(8));
    exchangeRoutingInSlots(ctx, 0, "counts", global.r, here.r, exchange.data());
    std::vector<float> from(6), to(12);
    allToAllRows(ctx, 0, "rows", from.data(), to.data(), 4, exchange.data(), false, 1, 2);
  });
  for (const std::string &error : errors)
    EXPECT_EQ(error, "rows: rows that have slots are not exchanged in parts");
}
#endif

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

// One rank's rows of one layer find no room; all ranks must hear of it, and go on.
TEST(ExpertExchange, AllRanksLearnThatRowsFindNoRoom) {
  constexpr int kRanks = 4;
  constexpr int64_t kTokens = 6, kExperts = 8;
  for (int full : {0, 3})
    for (int64_t layers : {1, 2}) {
      const auto errors = onThreads(line(kRanks), {{0}}, [&](Comm &comm) {
        Context ctx(1);
        ctx.comm = &comm;
        connectDevices(ctx);
        // Spread evenly a rank has 2 rows for another at most, 6 come to it.
        const Routed here(8, 1, kExperts / kRanks);
        std::vector<std::vector<int32_t>> exchanges(layers,
                                                    std::vector<int32_t>(exchangeLength(kExperts)));
        auto step = [&](bool crowded) {
          for (int64_t l = 0; l < layers; ++l) {
            const Layer layer = {kTokens, 1, kExperts, 3, [&](int rank, int64_t p) {
                                   return crowded && l == layers - 1 && rank == full
                                              ? int64_t(5)
                                              : 2 * ((p + rank) % kRanks) + p % 2;
                                 }};
            const Routed global = routed(ctx, layer, comm.rank());
            const std::string what = "exchange of layer " + std::to_string(l);
            exchangeRoutingInSlots(ctx, 0, what.c_str(), global.r, here.r, exchanges[l].data());
            std::vector<float> rows(kTokens * 3, 1.0f), there(8 * 3);
            allToAllRows(ctx, 0, "there", rows.data(), there.data(), 12, exchanges[l].data(),
                         false);
            allToAllRows(ctx, 0, "back", there.data(), rows.data(), 12, exchanges[l].data(), true);
          }
          checkSlots(ctx);
        };
        for (bool crowded : {true, false, true}) {
          std::string said;
          try {
            step(crowded);
          } catch (const ExpertOverflow &e) {
            said = e.what();
          }
          const std::string begin = "exchange of layer " + std::to_string(layers - 1) + ": ";
          if (crowded ? said.rfind(begin, 0) != 0 : !said.empty())
            throw std::runtime_error("crowded " + std::to_string(crowded) + ": '" + said + "'");
        }
      });
      EXPECT_EQ(errors, std::vector<std::string>(kRanks)) << full;
    }
}
