// RUN: moire-opt %s --raise-moe --split-input-file --verify-diagnostics | FileCheck %s

// The softmax over all pairs mixes rows, so the experts cannot be sorted apart.
// CHECK-LABEL: @mixes_rows
// CHECK-NOT:     nn.grouped_matmul
pipe.parameter @experts : tensor<8x4x4xf32> from [#pipe.source<"e", "m.onnx", 0, 512, f32, same, 0>]
func.func @mixes_rows(%x: tensor<6x4xf32>, %logits: tensor<6x8xf32>) -> tensor<6x4xf32> {
  %e = pipe.read @experts : tensor<8x4x4xf32>
  %w, %ids = nn.top_k %logits k 2 : tensor<6x8xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
  // expected-warning @+1 {{the matrices of the 8 experts in 'experts' are copied for each of 12 tokens and choices, because what follows is not recognised as a mixture of experts; export the model with batched experts (recipe: docs/exporting.md#experts)}}
  %m = nn.gather %e[%ids] : tensor<8x4x4xf32>, tensor<6x2xi64> -> tensor<6x2x4x4xf32>
  %xb = nn.broadcast %x [0, 3] : tensor<6x4xf32> -> tensor<6x2x1x4xf32>
  %y1 = nn.matmul %xb, %m : tensor<6x2x1x4xf32>, tensor<6x2x4x4xf32> -> tensor<6x2x1x4xf32>
  %t = nn.reshape %y1 : tensor<6x2x1x4xf32> -> tensor<48xf32>
  %mixed = nn.softmax %t : tensor<48xf32>
  %y = nn.reshape %mixed : tensor<48xf32> -> tensor<6x2x4xf32>
  %wb = nn.broadcast %w [0, 1] : tensor<6x2xf32> -> tensor<6x2x4xf32>
  %yw = arith.mulf %y, %wb : tensor<6x2x4xf32>
  %out = nn.reduce sum %yw [1] : tensor<6x2x4xf32> -> tensor<6x4xf32>
  return %out : tensor<6x4xf32>
}

// -----

// Two choices whose matrices come from each other's ids: not one routing.
// CHECK-LABEL: @two_routings
// CHECK-NOT:     nn.grouped_matmul
func.func @two_routings(%x: tensor<6x4xf32>, %ids: tensor<6x2xi64>, %other: tensor<6x2xi64>, %e: tensor<8x4x4xf32>) -> tensor<6x4xf32> {
  %m = nn.gather %e[%ids] : tensor<8x4x4xf32>, tensor<6x2xi64> -> tensor<6x2x4x4xf32>
  %n = nn.gather %e[%other] : tensor<8x4x4xf32>, tensor<6x2xi64> -> tensor<6x2x4x4xf32>
  %xb = nn.broadcast %x [0, 3] : tensor<6x4xf32> -> tensor<6x2x1x4xf32>
  %y1 = nn.matmul %xb, %m : tensor<6x2x1x4xf32>, tensor<6x2x4x4xf32> -> tensor<6x2x1x4xf32>
  %y2 = nn.matmul %y1, %n : tensor<6x2x1x4xf32>, tensor<6x2x4x4xf32> -> tensor<6x2x1x4xf32>
  %y = nn.reshape %y2 : tensor<6x2x1x4xf32> -> tensor<6x2x4xf32>
  %out = nn.reduce sum %y [1] : tensor<6x2x4xf32> -> tensor<6x4xf32>
  return %out : tensor<6x4xf32>
}

// -----

// A sum over the tokens, not over the choices.
// CHECK-LABEL: @wrong_dim
// CHECK-NOT:     nn.grouped_matmul
func.func @wrong_dim(%x: tensor<6x4xf32>, %ids: tensor<6x2xi64>, %e: tensor<8x4x4xf32>) -> tensor<2x4xf32> {
  %m = nn.gather %e[%ids] : tensor<8x4x4xf32>, tensor<6x2xi64> -> tensor<6x2x4x4xf32>
  %xb = nn.broadcast %x [0, 3] : tensor<6x4xf32> -> tensor<6x2x1x4xf32>
  %y1 = nn.matmul %xb, %m : tensor<6x2x1x4xf32>, tensor<6x2x4x4xf32> -> tensor<6x2x1x4xf32>
  %y = nn.reshape %y1 : tensor<6x2x1x4xf32> -> tensor<6x2x4xf32>
  %out = nn.reduce sum %y [0] : tensor<6x2x4xf32> -> tensor<2x4xf32>
  return %out : tensor<2x4xf32>
}
