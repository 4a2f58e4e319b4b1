//===- CostTest.cpp - Flops of the contractions --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Harness.h"

using namespace moire;

namespace {

struct Cost : testing::Test {
  int64_t flops(const char *op, const char *arguments) {
    context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>();
    std::string text = std::string("func.func @f(") + arguments + ") {\n" + op + "\nreturn\n}";
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    int64_t total = -1;
    module->walk([&](nn::CostOpInterface op) { total = op.flops(); });
    return total;
  }
  mlir::MLIRContext context;
};

TEST_F(Cost, Matmul) {
  EXPECT_EQ(flops("%y = nn.matmul %a, %b {transpose_lhs} : tensor<7x5xf32>, tensor<7x3xf32> -> "
                  "tensor<5x3xf32>",
                  "%a: tensor<7x5xf32>, %b: tensor<7x3xf32>"),
            2 * 5 * 3 * 7);
  EXPECT_EQ(flops("%y = nn.matmul %a, %b : tensor<2x4x7xf32>, tensor<7x3xf32> -> tensor<2x4x3xf32>",
                  "%a: tensor<2x4x7xf32>, %b: tensor<7x3xf32>"),
            2 * 2 * 4 * 3 * 7);
}

TEST_F(Cost, Attention) {
  // Per head and query 11 keys: 6 wide for the scores, 8 for the values.
  EXPECT_EQ(flops("%y:2 = nn.attention %q, %k, %v scale 1.0 : tensor<2x4x9x6xf32>, "
                  "tensor<2x2x11x6xf32>, tensor<2x2x11x8xf32> -> tensor<2x4x9x8xf32>, "
                  "tensor<2x4x9xf32>",
                  "%q: tensor<2x4x9x6xf32>, %k: tensor<2x2x11x6xf32>, %v: tensor<2x2x11x8xf32>"),
            2 * 2 * 4 * 9 * 11 * (6 + 8));
}

TEST_F(Cost, GroupedMatmul) {
  const char *arguments = "%x: tensor<6x5xf32>, %w: tensor<4x7x5xf32>, "
                          "%r: !nn.routing<tokens = 3, k = 2, experts = 4>";
  EXPECT_EQ(flops("%y = nn.grouped_matmul %x, %w, %r {transpose_weight} : tensor<6x5xf32>, "
                  "tensor<4x7x5xf32>, !nn.routing<tokens = 3, k = 2, experts = 4> -> "
                  "tensor<6x7xf32>",
                  arguments),
            2 * 6 * 5 * 7);
}

} // namespace
