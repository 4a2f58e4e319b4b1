// RUN: moire-opt %s --split-input-file --train-loss --verify-diagnostics

// expected-error @+1 {{the model has no output of float type, so there is nothing to train (recipe: docs/exporting.md#outputs)}}
func.func @forward(%x: tensor<2xi64>) -> tensor<2xi64> {
  return %x : tensor<2xi64>
}

// -----

// expected-error @+1 {{the loss could come from any of the outputs 'a', 'b'; choose one with --loss output:NAME}}
func.func @forward(%x: tensor<2x3x4xf32>)
    -> (tensor<2x3x4xf32> {onnx.name = "a"}, tensor<2x3x4xf32> {onnx.name = "b"}) {
  return %x, %x : tensor<2x3x4xf32>, tensor<2x3x4xf32>
}

// -----

// expected-error @+1 {{none of the outputs 'output 0' has the rank of logits (3 for tokens, 2 for classes); choose the loss with --loss mse or --loss output:NAME (recipe: docs/exporting.md#outputs)}}
func.func @forward(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

// -----

// expected-error @+1 {{needs a function @forward of one block}}
module {
}
