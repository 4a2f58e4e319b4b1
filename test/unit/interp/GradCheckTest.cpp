//===- GradCheckTest.cpp - The checker finds wrong gradients -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Harness.h"
#include "moire/Interp/GradCheck.h"

using namespace mlir;
using namespace moire::interp;

namespace {

struct GradCheck : Interp {
  /// L = <c, x * y>; the adjoint's second gradient is given.
  std::string check(StringRef dy) {
    std::string text = (R"(
      func.func @f(%x: tensor<3xf32>, %y: tensor<3xf32>) -> tensor<3xf32> {
        %0 = arith.mulf %x, %y : tensor<3xf32>
        return %0 : tensor<3xf32>
      }
      func.func @g(%x: tensor<3xf32>, %y: tensor<3xf32>, %c: tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>) {
        %dx = arith.mulf %c, %y : tensor<3xf32>
        %dy = )" + dy + R"( : tensor<3xf32>
        return %dx, %dy : tensor<3xf32>, tensor<3xf32>
      })").str();
    func::FuncOp primal = parse(text);
    auto adjoint = module->lookupSymbol<func::FuncOp>("g");
    return checkGradients(primal, adjoint, {f32({3}, {1, 2, 3}), f32({3}, {-1, 4, 0.5})});
  }
};

TEST_F(GradCheck, RightGradientsPass) { EXPECT_EQ(check("arith.mulf %c, %x"), ""); }

TEST_F(GradCheck, AWrongOneIsNamed) {
  EXPECT_TRUE(StringRef(check("arith.mulf %c, %y")).starts_with("argument 1, element 0: the gradient is"));
}

TEST_F(GradCheck, KinksAreLeftOut) {
  func::FuncOp primal = parse(R"(
      func.func @f(%x: tensor<4xf32>) -> tensor<4xf32> {
        %z = arith.constant dense<0.0> : tensor<4xf32>
        %0 = arith.maximumf %x, %z : tensor<4xf32>
        return %0 : tensor<4xf32>
      }
      func.func @g(%x: tensor<4xf32>, %c: tensor<4xf32>) -> tensor<4xf32> {
        %z = arith.constant dense<0.0> : tensor<4xf32>
        %p = arith.cmpf ogt, %x, %z : tensor<4xf32>
        %0 = arith.select %p, %c, %z : tensor<4xi1>, tensor<4xf32>
        return %0 : tensor<4xf32>
      })");
  auto adjoint = module->lookupSymbol<func::FuncOp>("g");
  // The third element is nearer to 0 than the step.
  EXPECT_EQ(checkGradients(primal, adjoint, {f32({4}, {1, -2, 3e-6, 5})}), "");
  GradCheckOptions strict;
  strict.skipKinks = false;
  EXPECT_NE(checkGradients(primal, adjoint, {f32({4}, {1, -2, 3e-6, 5})}, strict), "");
}

} // namespace
