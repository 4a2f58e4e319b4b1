// RUN: moire-opt %s --split-input-file --onnx-to-nn | FileCheck %s

// A mean is a sum times a constant; axes are attributes below opset 18.
// CHECK-LABEL: func.func @forward
// CHECK: %[[C:.*]] = arith.constant dense<3.125000e-02> : tensor<2x10xf32>
// CHECK: %[[S:.*]] = nn.reduce {{ *}}sum %{{.*}} [2] : tensor<2x10x32xf32> -> tensor<2x10xf32>
// CHECK: %[[M:.*]] = arith.mulf %[[S]], %[[C]]
// CHECK: nn.reshape %[[M]] : tensor<2x10xf32> -> tensor<2x10x1xf32>
// CHECK: nn.reduce {{ *}}max %{{.*}} [0, 1, 2] : tensor<2x10x32xf32> -> tensor<f32>
module attributes {onnx.opsets = {"ai.onnx" = 17 : i64}} {
  func.func @main(%x: tensor<2x10x32xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
    %m = onnx.node "ReduceMean"(%x) with {axes = array<i64: -1>} : (tensor<2x10x32xf32>) -> tensor<*xf32>
    %n = onnx.node "ReduceMax"(%x) with {keepdims = 0 : i64} : (tensor<2x10x32xf32>) -> tensor<*xf32>
    return %m, %n : tensor<*xf32>, tensor<*xf32>
  }
}

// -----

// From opset 18 on the axes are an input; none may mean no reduction.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: (%[[X:.*]]: tensor<2x10xf32>)
// CHECK: %[[S:.*]] = nn.reduce {{ *}}sum %[[X]] [0]
// CHECK: return %[[S]], %[[X]]
func.func @main(%x: tensor<2x10xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %axes = onnx.initializer "axes" {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %none = onnx.absent : none
  %s = onnx.node "ReduceSum"(%x, %axes) with {keepdims = 0 : i64} : (tensor<2x10xf32>, tensor<1xi64>) -> tensor<*xf32>
  %t = onnx.node "ReduceSum"(%x, %none) with {noop_with_empty_axes = 1 : i64} : (tensor<2x10xf32>, none) -> tensor<*xf32>
  return %s, %t : tensor<*xf32>, tensor<*xf32>
}

// -----

// ArgMax is the index of the largest one, the last of equals through a reverse.
// CHECK-LABEL: func.func @forward
// CHECK: %{{.*}}, %[[I:.*]] = nn.top_k %{{.*}} k 1 : tensor<10x2xf32>
// CHECK: nn.reverse
// CHECK: nn.top_k %{{.*}} k 1 {smallest}
// CHECK: arith.subi
func.func @main(%x: tensor<2x10xf32>) -> (tensor<*xi64>, tensor<*xi64>) {
  %i = onnx.node "ArgMax"(%x) with {axis = 0 : i64} : (tensor<2x10xf32>) -> tensor<*xi64>
  %j = onnx.node "ArgMin"(%x) with {axis = 1 : i64, select_last_index = 1 : i64} : (tensor<2x10xf32>) -> tensor<*xi64>
  return %i, %j : tensor<*xi64>, tensor<*xi64>
}
