//===- EvaluatorTest.cpp - Single ops and constant folding ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Harness.h"
#include <limits>

using namespace mlir;
using namespace moire::interp;

namespace {

using EvaluatorTest = Interp;
const double inf = std::numeric_limits<double>::infinity();
const double nan = std::numeric_limits<double>::quiet_NaN();

/// Values as a vector, for EXPECT_EQ's message.
std::vector<double> floats(const RuntimeValue &value) { return value.tensor().floats().vec(); }
std::vector<int64_t> ints(const RuntimeValue &value) { return value.tensor().ints().vec(); }

TEST_F(EvaluatorTest, F32IsRoundedAfterEachOp) {
  StringRef text = R"(func.func @f(%a: tensor<1xf32>, %b: tensor<1xf32>) -> tensor<1xf32> {
    %0 = arith.addf %a, %b : tensor<1xf32>
    %1 = arith.subf %0, %a : tensor<1xf32>
    return %1 : tensor<1xf32>
  })";
  // 2^24 + 1 is no float.
  EXPECT_EQ(floats(run(text, {f32({1}, {16777216}), f32({1}, {1})})[0]), std::vector<double>{0});
  EvaluatorOptions wide;
  wide.f64 = true;
  EXPECT_EQ(floats(run(text, {f32({1}, {16777216}), f32({1}, {1})}, wide)[0]), std::vector<double>{1});
}

TEST_F(EvaluatorTest, MaximumPassesNaNOn) {
  auto results = run(R"(func.func @f(%a: tensor<3xf32>, %b: tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>, tensor<3xi1>) {
    %0 = arith.maximumf %a, %b : tensor<3xf32>
    %1 = arith.maxnumf %a, %b : tensor<3xf32>
    %2 = arith.cmpf uno, %a, %b : tensor<3xf32>
    return %0, %1, %2 : tensor<3xf32>, tensor<3xf32>, tensor<3xi1>
  })", {f32({3}, {nan, 1, -inf}), f32({3}, {2, nan, 5})});
  ASSERT_EQ(results.size(), 3u);
  EXPECT_TRUE(std::isnan(floats(results[0])[0]));
  EXPECT_TRUE(std::isnan(floats(results[0])[1]));
  EXPECT_EQ(floats(results[0])[2], 5);
  EXPECT_EQ(floats(results[1]), (std::vector<double>{2, 1, 5}));
  EXPECT_EQ(ints(results[2]), (std::vector<int64_t>{1, 1, 0}));
}

TEST_F(EvaluatorTest, IntegersWrapAndDivideLikeArith) {
  auto results = run(R"(func.func @f(%a: tensor<2xi64>, %b: tensor<2xi64>) -> (tensor<2xi64>, tensor<2xi64>, tensor<2xi64>, tensor<2xi8>) {
    %0 = arith.divsi %a, %b : tensor<2xi64>
    %1 = arith.floordivsi %a, %b : tensor<2xi64>
    %2 = arith.remsi %a, %b : tensor<2xi64>
    %c = arith.constant dense<100> : tensor<2xi8>
    %3 = arith.addi %c, %c : tensor<2xi8>
    return %0, %1, %2, %3 : tensor<2xi64>, tensor<2xi64>, tensor<2xi64>, tensor<2xi8>
  })", {i64({2}, {-7, 7}), i64({2}, {2, -2})});
  ASSERT_EQ(results.size(), 4u);
  EXPECT_EQ(ints(results[0]), (std::vector<int64_t>{-3, -3}));
  EXPECT_EQ(ints(results[1]), (std::vector<int64_t>{-4, -4}));
  EXPECT_EQ(ints(results[2]), (std::vector<int64_t>{-1, 1}));
  EXPECT_EQ(ints(results[3]), (std::vector<int64_t>{-56, -56}));
}

TEST_F(EvaluatorTest, ConversionsReadTheRightSign) {
  auto results = run(R"(func.func @f(%b: tensor<2xi1>) -> (tensor<2xf32>, tensor<2xf32>, tensor<2xi64>, tensor<2xi64>) {
    %0 = arith.uitofp %b : tensor<2xi1> to tensor<2xf32>
    %1 = arith.sitofp %b : tensor<2xi1> to tensor<2xf32>
    %2 = arith.extui %b : tensor<2xi1> to tensor<2xi64>
    %3 = arith.extsi %b : tensor<2xi1> to tensor<2xi64>
    return %0, %1, %2, %3 : tensor<2xf32>, tensor<2xf32>, tensor<2xi64>, tensor<2xi64>
  })", {*Tensor::fromAttribute(DenseElementsAttr::get(
        RankedTensorType::get(2, IntegerType::get(&context, 1)), ArrayRef<bool>{true, false}))});
  ASSERT_EQ(results.size(), 4u);
  EXPECT_EQ(floats(results[0]), (std::vector<double>{1, 0}));
  EXPECT_EQ(floats(results[1]), (std::vector<double>{-1, 0}));
  EXPECT_EQ(ints(results[2]), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(ints(results[3]), (std::vector<int64_t>{-1, 0}));
}

// Two results, a broadcast operand and a map with a constant offset, as fused
// kernels have them: rows 0..1 of a 2x4 operand, its columns 2..3.
TEST_F(EvaluatorTest, GenericRunsItsRegion) {
  auto results = run(R"(func.func @f(%a: tensor<2x4xf32>, %v: tensor<2xf32>) -> (tensor<2x2xf32>, tensor<2x2xi1>) {
    %e = tensor.empty() : tensor<2x2xf32>
    %p = tensor.empty() : tensor<2x2xi1>
    %r:2 = linalg.generic {
        indexing_maps = [affine_map<(i, j) -> (i, j + 2)>, affine_map<(i, j) -> (j)>,
                         affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j, i)>],
        iterator_types = ["parallel", "parallel"]}
        ins(%a, %v : tensor<2x4xf32>, tensor<2xf32>) outs(%e, %p : tensor<2x2xf32>, tensor<2x2xi1>) {
      ^bb0(%x: f32, %y: f32, %o: f32, %q: i1):
        %two = arith.constant 2.0 : f32
        %m = arith.mulf %x, %two : f32
        %s = arith.addf %m, %y : f32
        %i = linalg.index 0 : index
        %k = arith.index_cast %i : index to i64
        %one = arith.constant 1 : i64
        %first = arith.cmpi slt, %k, %one : i64
        linalg.yield %s, %first : f32, i1
    } -> (tensor<2x2xf32>, tensor<2x2xi1>)
    return %r#0, %r#1 : tensor<2x2xf32>, tensor<2x2xi1>
  })", {f32({2, 4}, {0, 1, 2, 3, 4, 5, 6, 7}), f32({2}, {10, 20})});
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(floats(results[0]), (std::vector<double>{14, 26, 22, 34}));
  EXPECT_EQ(ints(results[1]), (std::vector<int64_t>{1, 0, 1, 0}));
}

TEST_F(EvaluatorTest, IndexOutOfRangeIsAnErrorAtTheOp) {
  std::string said;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &d) { said = d.str(); });
  auto results = run(R"(func.func @f(%t: tensor<3x2xf32>, %i: tensor<2xi64>) -> tensor<2x2xf32> {
    %0 = nn.gather %t[%i] : tensor<3x2xf32>, tensor<2xi64> -> tensor<2x2xf32>
    return %0 : tensor<2x2xf32>
  })", {f32({3, 2}, {0, 1, 2, 3, 4, 5}), i64({2}, {0, 3})});
  EXPECT_TRUE(results.empty());
  EXPECT_EQ(said, "'nn.gather' op has index 3 at position 1, which must lie in 0..2");
}

TEST_F(EvaluatorTest, ConstantsFold) {
  auto func = parse(R"(func.func @f(%x: tensor<2xi64>) -> (tensor<2xi64>, tensor<2xi64>, i64) {
    %a = arith.constant dense<[3, 4]> : tensor<2xi64>
    %i = nn.iota 0 : tensor<2xi64>
    %0 = arith.addi %a, %a : tensor<2xi64>
    %1 = arith.addi %a, %x : tensor<2xi64>
    %c = arith.constant 3 : i64
    %2 = arith.muli %c, %c : i64
    return %0, %1, %2 : tensor<2xi64>, tensor<2xi64>, i64
  })");
  Operation *end = func.getBody().front().getTerminator();
  auto folded = [&](unsigned i) { return foldConstant(end->getOperand(i).getDefiningOp()); };
  Builder b(&context);
  ASSERT_TRUE(folded(0));
  EXPECT_EQ((*folded(0))[0], b.getI64TensorAttr({6, 8}));
  EXPECT_FALSE(folded(1));
  EXPECT_EQ((*folded(2))[0], b.getI64IntegerAttr(9));
  Operation *iota = &*std::next(func.getBody().front().begin());
  EXPECT_EQ((*foldConstant(iota))[0], b.getI64TensorAttr({0, 1}));
}

} // namespace
