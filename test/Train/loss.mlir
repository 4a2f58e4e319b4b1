// RUN: moire-opt %s --split-input-file --train-loss | FileCheck %s

// Logits of rank 3: next-token, with targets that the runtime has shifted.
// CHECK: module attributes {moire.batch = 2 : i64, moire.count = "all", moire.labels = "shifted", moire.loss = "next-token", moire.seq = 3 : i64, moire.token_vocab = 7 : i64, moire.vocab = 5 : i64}
// CHECK: func.func @micro_step
// CHECK-SAME: %[[IDS:[a-z0-9]+]]: tensor<2x3xi64> {moire.role = "data", onnx.name = "input_ids"}
// CHECK-SAME: %[[LABELS:[a-z0-9]+]]: tensor<2x3xi64> {moire.role = "labels", onnx.name = "labels"}
// CHECK-SAME: %[[SCALE:[a-z0-9]+]]: tensor<f32> {moire.role = "scale", onnx.name = "scale"}) -> tensor<f32>
func.func @forward(%ids: tensor<2x3xi64> {onnx.name = "input_ids"})
    -> (tensor<2x3x5xf32> {onnx.name = "logits"}) {
  %table = arith.constant dense<0.0> : tensor<7x5xf32>
  // CHECK: %[[Y:.*]] = nn.gather
  %y = nn.gather %table[%ids] : tensor<7x5xf32>, tensor<2x3xi64> -> tensor<2x3x5xf32>
  // CHECK: %[[LOGITS:.*]] = nn.reshape %[[Y]] : tensor<2x3x5xf32> -> tensor<6x5xf32>
  // CHECK: %[[FLAT:.*]] = nn.reshape %[[LABELS]] : tensor<2x3xi64> -> tensor<6xi64>
  // CHECK: %[[LOSSES:.*]], %{{.*}} = nn.cross_entropy %[[LOGITS]], %[[FLAT]]
  // CHECK: %[[SUM:.*]] = nn.reduce sum %[[LOSSES]] [0]
  // CHECK: %[[LOSS:.*]] = arith.mulf %[[SUM]], %[[SCALE]]
  // CHECK: return %[[LOSS]] : tensor<f32>
  return %y : tensor<2x3x5xf32>
}

// -----

// An encoder-decoder's labels are aligned with its logits: no shift.
// CHECK: moire.labels = "as-is", moire.loss = "token"
func.func @forward(%ids: tensor<2x3xi64> {onnx.name = "decoder_input_ids"},
                   %y: tensor<2x3x5xf32>) -> tensor<2x3x5xf32> {
  return %y : tensor<2x3x5xf32>
}

// -----

// Logits of rank 2: classes.
// CHECK: moire.batch = 2 : i64, moire.count = "all", moire.labels = "as-is", moire.loss = "class", moire.seq = 3 : i64, moire.token_vocab = 0 : i64, moire.vocab = 5 : i64
// CHECK: %{{.*}}: tensor<2xi64> {moire.role = "labels", onnx.name = "labels"}
func.func @forward(%ids: tensor<2x3xi64> {onnx.name = "input_ids"},
                   %y: tensor<2x5xf32>) -> tensor<2x5xf32> {
  return %y : tensor<2x5xf32>
}

// -----

// The one called logits among outputs of one rank; other ranks do not count.
// CHECK: nn.reshape %arg1 : tensor<2x3x5xf32>
func.func @forward(%hidden: tensor<2x3x4xf32>, %logits: tensor<2x3x5xf32>, %aux: tensor<f32>)
    -> (tensor<2x3x4xf32> {onnx.name = "hidden"}, tensor<2x3x5xf32> {onnx.name = "logits"},
        tensor<f32> {onnx.name = "aux_loss"}) {
  return %hidden, %logits, %aux : tensor<2x3x4xf32>, tensor<2x3x5xf32>, tensor<f32>
}
