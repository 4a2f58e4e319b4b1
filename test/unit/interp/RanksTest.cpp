//===- RanksTest.cpp - Collectives between ranks that are threads --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "moire/Interp/Ranks.h"
#include "Harness.h"
#include "dialects/dist/Dist.h"
#include <random>

using namespace mlir;
using namespace moire;
using namespace moire::interp;

namespace {
struct Ranks : Interp {
  Ranks() {
    context.getOrLoadDialect<dist::DistDialect>();
    context.enableMultithreading();
  }

  /// Runs the text's first function on every rank of its mesh; empty where one fails.
  std::vector<SmallVector<RuntimeValue>>
  runRanks(StringRef text, llvm::function_ref<SmallVector<RuntimeValue>(int64_t)> arguments) {
    func::FuncOp func = parse(text);
    if (!func)
      return {};
    Meetings meetings(dist::meshOf(func));
    std::vector<SmallVector<RuntimeValue>> given, results(meetings.getMesh().getRanks());
    for (size_t rank = 0; rank < results.size(); ++rank)
      given.push_back(arguments(rank));
    if (failed(meetings.forAllRanks([&](int64_t rank) {
          Membership membership{&meetings, rank};
          EvaluatorOptions options;
          options.membership = &membership;
          return Evaluator(options).run(func, given[rank], results[rank]);
        })))
      return {};
    return results;
  }
};

std::vector<double> values(const RuntimeValue &value) { return value.tensor().floats().vec(); }
} // namespace

// Rank r of dp = 2, tp = 3 holds r + [0, 1, 2; 10, 11, 12].
TEST_F(Ranks, SumsGathersAndPieces) {
  auto results = runRanks(R"mlir(
    module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 3>} {
    func.func @f(%x: tensor<2x3xf32>) -> (tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x1xf32>, tensor<2x9xf32>,
                                          tensor<2x1xf32>, tensor<i64>) {
      %0 = dist.all_reduce %x over ["dp"] : tensor<2x3xf32>
      %1 = dist.all_reduce %x over ["dp", "tp"] : tensor<2x3xf32>
      %2 = dist.reduce_scatter %x dim 1 over ["tp"] : tensor<2x3xf32> -> tensor<2x1xf32>
      %3 = dist.all_gather %x dim 1 over ["tp"] : tensor<2x3xf32> -> tensor<2x9xf32>
      %4 = dist.split %x dim 1 over ["tp"] : tensor<2x3xf32> -> tensor<2x1xf32>
      %5 = dist.axis_index over ["tp"] : tensor<i64>
      return %0, %1, %2, %3, %4, %5 : tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x1xf32>, tensor<2x9xf32>, tensor<2x1xf32>, tensor<i64>
    }})mlir",
                          [&](int64_t r) -> SmallVector<RuntimeValue> {
                            double x = r;
                            return {f32({2, 3}, {x, x + 1, x + 2, x + 10, x + 11, x + 12})};
                          });
  ASSERT_EQ(results.size(), 6u);
  for (int64_t rank = 0; rank < 6; ++rank) {
    const int64_t dp = rank / 3, tp = rank % 3;
    const double pair = tp + (tp + 3), row = 9 * dp + 3; // sums of the numbers of dp's, tp's ranks
    EXPECT_EQ(values(results[rank][0]),
              (std::vector<double>{pair, pair + 2, pair + 4, pair + 20, pair + 22, pair + 24}));
    EXPECT_EQ(values(results[rank][1]), (std::vector<double>{15, 21, 27, 75, 81, 87}));
    EXPECT_EQ(values(results[rank][2]), (std::vector<double>{row + 3 * tp, row + 30 + 3 * tp}));
    std::vector<double> gathered;
    for (double base : {0.0, 10.0})
      for (int64_t other = 3 * dp; other < 3 * dp + 3; ++other)
        for (double column : {0.0, 1.0, 2.0})
          gathered.push_back(base + other + column);
    EXPECT_EQ(values(results[rank][3]), gathered);
    EXPECT_EQ(values(results[rank][4]), (std::vector<double>{rank + double(tp), rank + 10.0 + tp}));
    EXPECT_EQ(results[rank][5].tensor().ints()[0], tp);
  }
}

// Each row says whose it is and for which expert; it must arrive there and come home.
TEST_F(Ranks, RowsReachTheirExpertsAndComeHome) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    auto expertOf = [&](int64_t rank, int64_t pair) {
      std::mt19937_64 engine(seed * 100 + rank);
      int64_t first = 0, second = 0;
      for (int64_t token = 0; token <= pair / 2; ++token) {
        first = seed == 0 ? 5 : engine() % 6; // seed 0: all to two experts of one rank
        second = seed == 0 ? 4 : (first + 1 + engine() % 5) % 6;
      }
      return pair % 2 ? second : first;
    };
    auto results =
        runRanks(R"mlir(
      module attributes {dist.mesh = #dist.mesh<ep = 3>} {
      func.func @f(%ids: tensor<4x2xi64>, %x: tensor<4x1xf32>) -> (tensor<24x1xf32>, tensor<8x1xf32>, tensor<8x1xf32>) {
        %r = nn.route %ids : tensor<4x2xi64> -> <tokens = 4, k = 2, experts = 6>
        %l, %e = dist.exchange %r over ["ep"] : <tokens = 4, k = 2, experts = 6> -> <tokens = 24, k = 1, experts = 2>, <["ep"], sent = 8, received = 24>
        %rows = nn.dispatch %x, %r : tensor<4x1xf32>, <tokens = 4, k = 2, experts = 6> -> tensor<8x1xf32>
        %come = dist.all_to_all_rows %rows, %e : tensor<8x1xf32>, <["ep"], sent = 8, received = 24> -> tensor<24x1xf32>
        %home = dist.all_to_all_rows %come, %e back : tensor<24x1xf32>, <["ep"], sent = 8, received = 24> -> tensor<8x1xf32>
        return %come, %rows, %home : tensor<24x1xf32>, tensor<8x1xf32>, tensor<8x1xf32>
      }})mlir",
                 [&](int64_t rank) -> SmallVector<RuntimeValue> {
                   SmallVector<int64_t> ids;
                   for (int64_t pair = 0; pair < 8; ++pair)
                     ids.push_back(expertOf(rank, pair));
                   double base = 100 * rank + 1;
                   return {i64({4, 2}, ids), f32({4, 1}, {base, base + 1, base + 2, base + 3})};
                 });
    ASSERT_EQ(results.size(), 3u);
    for (int64_t holder = 0; holder < 3; ++holder) {
      std::vector<double> expected;
      for (int64_t expert = 2 * holder; expert < 2 * holder + 2; ++expert)
        for (int64_t source = 0; source < 3; ++source)
          for (int64_t pair = 0; pair < 8; ++pair)
            if (expertOf(source, pair) == expert)
              expected.push_back(100 * source + 1 + pair / 2);
      expected.resize(24, 0); // padding is zero in the interpreter
      EXPECT_EQ(values(results[holder][0]), expected) << "seed " << seed;
      EXPECT_EQ(values(results[holder][1]), values(results[holder][2]));
    }
  }
}

TEST_F(Ranks, ARankThatFailsEndsTheOthers) {
  // Rank 1 reads a row that is not there; rank 0 waits for it in the sum.
  std::string said;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    said += diagnostic.str() + "\n";
    return success();
  });
  auto results = runRanks(R"mlir(
    module attributes {dist.mesh = #dist.mesh<dp = 2>} {
    func.func @f(%table: tensor<4x1xf32>, %i: tensor<1xi64>) -> tensor<1x1xf32> {
      %0 = nn.gather %table[%i] : tensor<4x1xf32>, tensor<1xi64> -> tensor<1x1xf32>
      %1 = dist.all_reduce %0 over ["dp"] : tensor<1x1xf32>
      return %1 : tensor<1x1xf32>
    }})mlir",
                          [&](int64_t rank) -> SmallVector<RuntimeValue> {
                            return {f32({4, 1}, {1, 2, 3, 4}), i64({1}, {rank ? 9 : 0})};
                          });
  EXPECT_TRUE(results.empty());
  EXPECT_EQ(llvm::StringRef(said).count("nn.gather"), 1u) << said;
}

TEST_F(Ranks, ShardsOfBlocksComeBackTogether) {
  auto mesh = dist::MeshAttr::get(
      &context, {StringAttr::get(&context, "ep"), StringAttr::get(&context, "tp")}, {2, 3});
  auto axis = [&](StringRef name) {
    return ArrayAttr::get(&context, StringAttr::get(&context, name));
  };
  // Two blocks of 6 and 3 rows, cut over tp each by itself; columns over ep.
  auto sharding = dist::ShardingAttr::get(
      &context, {axis("tp"), axis("ep")},
      {DenseI64ArrayAttr::get(&context, {6, 3}), DenseI64ArrayAttr::get(&context, {})}, {});
  std::vector<double> numbers;
  for (int64_t i = 0; i < 9 * 4; ++i)
    numbers.push_back(i);
  Tensor whole = f32({9, 4}, numbers), again = f32({9, 4}, std::vector<double>(36, -1));
  // ep = 1, tp = 2: rows 4, 5 of the first block and 8 of the second; columns 2, 3.
  EXPECT_EQ(values(shardOf(whole, sharding, mesh, 5)),
            (std::vector<double>{18, 19, 22, 23, 34, 35}));
  for (int64_t rank = 0; rank < 6; ++rank)
    insertShard(again, shardOf(whole, sharding, mesh, rank), sharding, mesh, rank);
  EXPECT_EQ(values(again), numbers);
}
