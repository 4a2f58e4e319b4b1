// RUN: moire-opt %s --split-input-file --onnx-to-nn | FileCheck %s

// The mean is over the labels that count.
// CHECK-LABEL: func.func @forward
// CHECK: %[[N:.*]] = arith.cmpi ne, %[[L:.*]], %
// CHECK: %[[LOSS:.*]], %{{.*}} = nn.cross_entropy %[[X:.*]], %[[L]] : tensor<20x96xf32>, tensor<20xi64>
// CHECK: %[[S:.*]] = nn.reduce {{ *}}sum %[[LOSS]] [0]
// CHECK: %[[F:.*]] = arith.uitofp %[[N]]
// CHECK: %[[C:.*]] = nn.reduce {{ *}}sum %[[F]] [0]
// CHECK: arith.divf %[[S]], %[[C]]
func.func @main(%x: tensor<20x96xf32>, %l: tensor<20xi64>) -> tensor<*xf32> {
  %y = onnx.node "SoftmaxCrossEntropyLoss"(%x, %l) with {ignore_index = -100 : i64} : (tensor<20x96xf32>, tensor<20xi64>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Classes are dim 1 whatever the rank.
// CHECK-LABEL: func.func @forward
// CHECK: nn.transpose %{{.*}} [0, 2, 3, 1] : tensor<2x5x3x4xf32> -> tensor<2x3x4x5xf32>
// CHECK: nn.cross_entropy %{{.*}}, %{{.*}} : tensor<24x5xf32>, tensor<24xi64>
// CHECK: nn.reshape %{{.*}} : tensor<24xf32> -> tensor<2x3x4xf32>
func.func @main(%x: tensor<2x5x3x4xf32>, %l: tensor<2x3x4xi64>) -> tensor<*xf32> {
  %y = onnx.node "SoftmaxCrossEntropyLoss"(%x, %l) with {reduction = "none"} : (tensor<2x5x3x4xf32>, tensor<2x3x4xi64>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Weights of classes weigh the mean, too.
// CHECK-LABEL: func.func @forward
// CHECK: nn.gather_elements %{{.*}} axis 1 : tensor<20x5xf32>, tensor<20x1xi64>
// CHECK: arith.negf
// CHECK: %[[W:.*]] = nn.gather %{{.*}} : tensor<5xf32>, tensor<20xi64>
// CHECK: %[[M:.*]] = arith.mulf %{{.*}}, %[[W]]
// CHECK: %[[S:.*]] = nn.reduce {{ *}}sum %[[M]] [0]
// CHECK: %[[T:.*]] = nn.reduce {{ *}}sum %[[W]] [0]
// CHECK: arith.divf %[[S]], %[[T]]
func.func @main(%x: tensor<20x5xf32>, %l: tensor<20xi32>, %w: tensor<5xf32>) -> tensor<*xf32> {
  %y = onnx.node "NegativeLogLikelihoodLoss"(%x, %l, %w) : (tensor<20x5xf32>, tensor<20xi32>, tensor<5xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}
