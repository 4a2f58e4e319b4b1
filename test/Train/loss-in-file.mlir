// RUN: moire-opt %s --split-input-file --train-loss | FileCheck %s

// The file shifts by itself and divides by its count of labels: the division is
// taken back, because micro-batches may count differently.
// CHECK: moire.count = "skip-first", moire.labels = "as-is", moire.loss = "output", moire.seq = 3 : i64
// CHECK-SAME: moire.vocab = 5
// CHECK: %[[LOGITS:[a-z0-9]+]]: tensor<2x3x5xf32> {moire.role = "data"}, %[[LABELS:[a-z0-9]+]]: tensor<2x3xi64> {moire.role = "labels", onnx.name = "labels"}, %[[SCALE:[a-z0-9]+]]: tensor<f32> {moire.role = "scale"
func.func @forward(%logits: tensor<2x3x5xf32>, %labels: tensor<2x3xi64> {onnx.name = "labels"})
    -> (tensor<f32> {onnx.name = "loss"}, tensor<2x3x5xf32> {onnx.name = "logits"}) {
  %l = nn.slice %logits starts [0, 0, 0] limits [2, 2, 5] strides [1, 1, 1] : tensor<2x3x5xf32> -> tensor<2x2x5xf32>
  %rows = nn.reshape %l : tensor<2x2x5xf32> -> tensor<4x5xf32>
  %t = nn.slice %labels starts [0, 1] limits [2, 3] strides [1, 1] : tensor<2x3xi64> -> tensor<2x2xi64>
  %targets = nn.reshape %t : tensor<2x2xi64> -> tensor<4xi64>
  %losses, %lse = nn.cross_entropy %rows, %targets : tensor<4x5xf32>, tensor<4xi64> -> tensor<4xf32>, tensor<4xf32>
  // CHECK: %[[SUM:.*]] = nn.reduce sum %losses
  %sum = nn.reduce sum %losses [0] : tensor<4xf32> -> tensor<f32>
  %ignored = arith.constant dense<-100> : tensor<4xi64>
  %counts = arith.cmpi ne, %targets, %ignored : tensor<4xi64>
  %ones = arith.uitofp %counts : tensor<4xi1> to tensor<4xf32>
  %n = nn.reduce sum %ones [0] : tensor<4xf32> -> tensor<f32>
  %mean = arith.divf %sum, %n : tensor<f32>
  // CHECK: %[[LOSS:.*]] = arith.mulf %[[SUM]], %[[SCALE]]
  // CHECK: return %[[LOSS]] : tensor<f32>
  return %mean, %logits : tensor<f32>, tensor<2x3x5xf32>
}

// -----

// A term beside the mean is averaged over micro-batches by their counts.
// CHECK: moire.count = "all", moire.labels = "as-is", moire.loss = "output"
func.func @forward(%rows: tensor<4x5xf32>, %targets: tensor<4xi64> {onnx.name = "labels"},
                   %aux: tensor<f32>) -> (tensor<f32> {onnx.name = "loss"}) {
  %losses, %lse = nn.cross_entropy %rows, %targets : tensor<4x5xf32>, tensor<4xi64> -> tensor<4xf32>, tensor<4xf32>
  // CHECK: %[[SUM:.*]] = nn.reduce sum %losses
  %sum = nn.reduce sum %losses [0] : tensor<4xf32> -> tensor<f32>
  %ignored = arith.constant dense<-100> : tensor<4xi64>
  %counts = arith.cmpi ne, %targets, %ignored : tensor<4xi64>
  %int = arith.extui %counts : tensor<4xi1> to tensor<4xi64>
  %n = nn.reduce sum %int [0] : tensor<4xi64> -> tensor<i64>
  // CHECK: %[[N:.*]] = arith.sitofp
  %nf = arith.sitofp %n : tensor<i64> to tensor<f32>
  %mean = arith.divf %sum, %nf : tensor<f32>
  %total = arith.addf %mean, %aux : tensor<f32>
  // CHECK: %[[SHARE:.*]] = arith.mulf %[[N]], %[[SCALE:.*]] :
  // CHECK: %[[A:.*]] = arith.mulf %[[SUM]], %[[SCALE]]
  // CHECK: %[[B:.*]] = arith.mulf %arg2, %[[SHARE]]
  // CHECK: %[[LOSS:.*]] = arith.addf %[[A]], %[[B]]
  // CHECK: return %[[LOSS]]
  return %total : tensor<f32>
}

// -----

// A mean over all rows is the same for every micro-batch: their mean.
// CHECK: moire.count = "none", moire.labels = "as-is", moire.loss = "output"
func.func @forward(%rows: tensor<4x5xf32>, %targets: tensor<4xi64> {onnx.name = "labels"})
    -> (tensor<f32> {onnx.name = "loss"}) {
  %losses, %lse = nn.cross_entropy %rows, %targets : tensor<4x5xf32>, tensor<4xi64> -> tensor<4xf32>, tensor<4xf32>
  %sum = nn.reduce sum %losses [0] : tensor<4xf32> -> tensor<f32>
  %quarter = arith.constant dense<0.25> : tensor<f32>
  // CHECK: %[[MEAN:.*]] = arith.mulf
  %mean = arith.mulf %sum, %quarter : tensor<f32>
  // CHECK: arith.mulf %[[MEAN]], %arg2
  return %mean : tensor<f32>
}
