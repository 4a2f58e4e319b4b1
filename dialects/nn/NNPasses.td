//===- NNPasses.td - Passes that stay inside the nn dialect --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_NN_PASSES
#define MOIRE_NN_PASSES

include "mlir/Pass/PassBase.td"

def NNDecompose : Pass<"nn-decompose"> {
  let summary = "Replaces composite ops by their plain formulas";
  let description = [{
    What the interpreter executes for a composite op, written out.
    ```mlir
    %y = nn.softmax_grad %p, %d : tensor<2x3xf32>, tensor<2x3xf32>
    ~~>
    %0 = arith.mulf %p, %d : tensor<2x3xf32>
    %1 = nn.reduce sum %0 [1] : tensor<2x3xf32> -> tensor<2xf32>
    %2 = nn.broadcast %1 [0] : tensor<2xf32> -> tensor<2x3xf32>
    %3 = arith.subf %d, %2 : tensor<2x3xf32>
    %y = arith.mulf %p, %3 : tensor<2x3xf32>
    ```
  }];
  let options = [ListOption<"only", "only", "std::string", "Ops to decompose, such as nn.softmax (all where none is given)">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

#endif // MOIRE_NN_PASSES
