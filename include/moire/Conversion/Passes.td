//===- Passes.td - From the onnx dialect to nn ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef MOIRE_CONVERSION_PASSES
#define MOIRE_CONVERSION_PASSES

include "mlir/Pass/PassBase.td"

def OnnxBind : Pass<"onnx-bind", "::mlir::ModuleOp"> {
  let summary = "Gives the graph inputs' symbolic dimensions their sizes";
  let description = [{
    A symbolic dimension may be an expression of names (`2*batch*seq`). One
    without a name is bound as INPUT.INDEX. Static dimensions stay.

    ```
    func.func @main(%x: tensor<?x?xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]})
    ~~> --onnx-bind="sizes=batch=2,seq=10"
    func.func @main(%x: tensor<2x10xi64> {onnx.name = "input_ids", onnx.dims = ["batch", "seq"]})
    ```
  }];
  let options = [
    ListOption<"sizes", "sizes", "std::string", "NAME=SIZE for each symbolic dimension">
  ];
}

def OnnxToNN : Pass<"onnx-to-nn", "::mlir::ModuleOp"> {
  let summary = "Gives each ONNX node its meaning in nn, arith and math ops";
  let description = [{
    One walk in the order of the graph. Every type is static, because each op
    infers its type and ops on constants are folded at once, so that shape
    arithmetic is known when the next node needs it. All op types without
    meaning here are reported together, and so are the nodes whose form cannot
    be compiled (up to 20). Weights become `pipe.parameter`s, read in PyTorch's
    layout where the file tells it.

    ```
    %w = onnx.initializer "val_101" at <"model.onnx", 812, 4096> : tensor<32x16xf32>
    %y = onnx.node "MatMul"(%x, %w) : (tensor<2x32xf32>, tensor<32x16xf32>) -> tensor<2x16xf32>
    ~~>
    pipe.parameter @proj.weight : tensor<16x32xf32> from [<"val_101", ..., transpose_last2, 0>] ...
    %w = pipe.read @proj.weight : tensor<16x32xf32>
    %t = nn.transpose %w [1, 0] : tensor<16x32xf32> -> tensor<32x16xf32>
    %y = nn.matmul %x, %t : tensor<2x32xf32>, tensor<32x16xf32> -> tensor<2x16xf32>
    ```
  }];
  let options = [
    Option<"freeze", "freeze", "std::string", "", "parameters whose names match are not trained">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
                           "::mlir::math::MathDialect", "::moire::nn::NNDialect",
                           "::moire::pipe::PipeDialect"];
}

#endif // MOIRE_CONVERSION_PASSES
