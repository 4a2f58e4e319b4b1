// RUN: moire-opt %s --split-input-file --onnx-to-nn | FileCheck %s

// CHECK-LABEL: func.func @forward
// CHECK: nn.layer_norm %{{.*}} scale %{{.*}} bias %{{.*}} eps 1.000000e-05 : tensor<2x10x32xf32>
// CHECK: nn.rms_norm %{{.*}} scale %{{.*}} eps 9.9999999999999995E-7
func.func @main(%x: tensor<2x10x32xf32>, %s: tensor<32xf32>, %b: tensor<32xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %y = onnx.node "LayerNormalization"(%x, %s, %b) : (tensor<2x10x32xf32>, tensor<32xf32>, tensor<32xf32>) -> tensor<*xf32>
  %z = onnx.node "RMSNormalization"(%x, %s) with {epsilon = 1.000000e-06 : f32} : (tensor<2x10x32xf32>, tensor<32xf32>) -> tensor<*xf32>
  return %y, %z : tensor<*xf32>, tensor<*xf32>
}

// -----

// A norm over several dims is one over their product.
// CHECK-LABEL: func.func @forward
// CHECK: nn.layer_norm %{{.*}} scale %{{.*}} eps 1.000000e-05 : tensor<2x320xf32>, tensor<320xf32>
// CHECK: nn.reshape %{{.*}} : tensor<2x320xf32> -> tensor<2x10x32xf32>
func.func @main(%x: tensor<2x10x32xf32>, %s: tensor<10x32xf32>) -> tensor<*xf32> {
  %y = onnx.node "LayerNormalization"(%x, %s) with {axis = 1 : i64} : (tensor<2x10x32xf32>, tensor<10x32xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Groups of channels are rows; the affine map is per channel. Batch norm in
// inference form is an affine map by its statistics.
// CHECK-LABEL: func.func @forward
// CHECK: nn.layer_norm %{{.*}} eps 1.000000e-05 : tensor<2x2x50xf32>
// CHECK: arith.mulf
// CHECK: arith.addf
// CHECK: math.rsqrt %{{.*}} : tensor<4xf32>
func.func @main(%x: tensor<2x4x5x5xf32>, %s: tensor<4xf32>, %b: tensor<4xf32>, %m: tensor<4xf32>, %v: tensor<4xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %y = onnx.node "GroupNormalization"(%x, %s, %b) with {num_groups = 2 : i64} : (tensor<2x4x5x5xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<*xf32>
  %z = onnx.node "BatchNormalization"(%x, %s, %b, %m, %v) : (tensor<2x4x5x5xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<*xf32>
  return %y, %z : tensor<*xf32>, tensor<*xf32>
}

// -----

// CHECK-LABEL: func.func @forward
// CHECK: %[[S:.*]] = arith.addf
// CHECK: nn.rms_norm %[[S]] scale
func.func @main(%x: tensor<2x10x32xf32>, %skip: tensor<2x10x32xf32>, %s: tensor<32xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %y, %m, %v, %sum = onnx.node "SkipSimplifiedLayerNormalization"(%x, %skip, %s) domain "com.microsoft" : (tensor<2x10x32xf32>, tensor<2x10x32xf32>, tensor<32xf32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>)
  return %y, %sum : tensor<*xf32>, tensor<*xf32>
}
