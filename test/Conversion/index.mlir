// RUN: moire-opt %s --split-input-file --onnx-to-nn | FileCheck %s

// Known equidistant indices are a slice, on any axis.
// CHECK-LABEL: func.func @forward
// CHECK: %[[S:.*]] = nn.slice %{{.*}} starts [0, 9, 0] limits [2, 10, 32]
// CHECK: nn.reshape %[[S]] : tensor<2x1x32xf32> -> tensor<2x32xf32>
// CHECK: nn.slice %{{.*}} starts [0, 1, 0] limits [2, 8, 32] strides [1, 3, 1]
func.func @main(%x: tensor<2x10x32xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %last = onnx.initializer "last" {value = dense<-1> : tensor<i64>} : tensor<i64>
  %some = onnx.initializer "some" {value = dense<[1, 4, 7]> : tensor<3xi64>} : tensor<3xi64>
  %y = onnx.node "Gather"(%x, %last) with {axis = 1 : i64} : (tensor<2x10x32xf32>, tensor<i64>) -> tensor<*xf32>
  %z = onnx.node "Gather"(%x, %some) with {axis = 1 : i64} : (tensor<2x10x32xf32>, tensor<3xi64>) -> tensor<*xf32>
  return %y, %z : tensor<*xf32>, tensor<*xf32>
}

// -----

// Computed indices may be negative; what top_k gives is not.
// CHECK-LABEL: func.func @forward
// CHECK: %[[N:.*]] = arith.cmpi slt, %[[I:.*]], %
// CHECK: %[[P:.*]] = arith.addi %[[I]], %
// CHECK: %[[W:.*]] = arith.select %[[N]], %[[P]], %[[I]]
// CHECK: nn.gather %{{.*}}[%[[W]]]
// CHECK: %[[V:.*]], %[[K:.*]] = nn.top_k
// CHECK: nn.gather %{{.*}}[%[[K]]]
func.func @main(%x: tensor<8x4xf32>, %i: tensor<3xi64>, %s: tensor<8xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %k = onnx.initializer "k" {value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %y = onnx.node "Gather"(%x, %i) : (tensor<8x4xf32>, tensor<3xi64>) -> tensor<*xf32>
  %v, %t = onnx.node "TopK"(%s, %k) : (tensor<8xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  %z = onnx.node "Gather"(%x, %t) : (tensor<8x4xf32>, tensor<*xi64>) -> tensor<*xf32>
  return %y, %z : tensor<*xf32>, tensor<*xf32>
}

// -----

// Token ids look up a weight as they are: there a negative one is a mistake.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: (%[[I:.*]]: tensor<2x10xi64>)
// CHECK: %[[W:.*]] = pipe.read @embed
// CHECK-NEXT: nn.gather %[[W]][%[[I]]]
func.func @main(%i: tensor<2x10xi64>) -> tensor<*xf32> {
  %w = onnx.initializer "embed" at <"m.onnx", 0, 12288> {kind = "PARAMETER"} : tensor<96x32xf32>
  %y = onnx.node "Gather"(%w, %i) : (tensor<96x32xf32>, tensor<2x10xi64>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// GatherND with one index a row is a gather of rows; with two, of the
// flattened dims; with a batch dim, too.
// CHECK-LABEL: func.func @forward
// CHECK: nn.gather %{{.*}} : tensor<8x6x4xf32>, tensor<5xi64> -> tensor<5x6x4xf32>
// CHECK: nn.gather %{{.*}} : tensor<48x4xf32>, tensor<5xi64> -> tensor<5x4xf32>
// CHECK: nn.gather %{{.*}} : tensor<48x4xf32>, tensor<8x3xi64> -> tensor<8x3x4xf32>
func.func @main(%x: tensor<8x6x4xf32>, %i: tensor<5x1xi64>, %j: tensor<5x2xi64>, %b: tensor<8x3x1xi64>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) {
  %y = onnx.node "GatherND"(%x, %i) : (tensor<8x6x4xf32>, tensor<5x1xi64>) -> tensor<*xf32>
  %z = onnx.node "GatherND"(%x, %j) : (tensor<8x6x4xf32>, tensor<5x2xi64>) -> tensor<*xf32>
  %w = onnx.node "GatherND"(%x, %b) with {batch_dims = 1 : i64} : (tensor<8x6x4xf32>, tensor<8x3x1xi64>) -> tensor<*xf32>
  return %y, %z, %w : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// -----

// The attention mask's look-up by (batch, position) is the mask itself.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: (%[[M:.*]]: tensor<2x3xi1>)
// CHECK-NEXT: %[[Y:.*]] = nn.reshape %[[M]] : tensor<2x3xi1> -> tensor<2x1x1x3xi1>
// CHECK-NEXT: return %[[Y]]
func.func @main(%m: tensor<2x3xi1>) -> tensor<*xi1> {
  %i = onnx.initializer "i" {value = dense<[[[[[0, 0], [0, 1], [0, 2]]]], [[[[1, 0], [1, 1], [1, 2]]]]]> : tensor<2x1x1x3x2xi64>} : tensor<2x1x1x3x2xi64>
  %y = onnx.node "GatherND"(%m, %i) : (tensor<2x3xi1>, tensor<2x1x1x3x2xi64>) -> tensor<*xi1>
  return %y : tensor<*xi1>
}

// -----

// CHECK-LABEL: func.func @forward
// CHECK: nn.scatter add %{{.*}} into %{{.*}} : tensor<5x4xf32>, tensor<8x4xf32>, tensor<5xi64>
// CHECK: nn.scatter_elements set %{{.*}} into %{{.*}} axis 1 : tensor<8x2xf32>, tensor<8x4xf32>, tensor<8x2xi64>
func.func @main(%x: tensor<8x4xf32>, %i: tensor<5x1xi64>, %u: tensor<5x4xf32>, %j: tensor<8x2xi64>, %v: tensor<8x2xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %y = onnx.node "ScatterND"(%x, %i, %u) with {reduction = "add"} : (tensor<8x4xf32>, tensor<5x1xi64>, tensor<5x4xf32>) -> tensor<*xf32>
  %z = onnx.node "ScatterElements"(%x, %j, %v) with {axis = -1 : i64} : (tensor<8x4xf32>, tensor<8x2xi64>, tensor<8x2xf32>) -> tensor<*xf32>
  return %y, %z : tensor<*xf32>, tensor<*xf32>
}

// -----

// One-hot compares with positions; Trilu is a constant mask.
// CHECK-LABEL: func.func @forward
// CHECK: arith.constant dense<{{\[\[}}true, false, false], [true, true, false]]> : tensor<2x3xi1>
// CHECK: arith.cmpi eq, %{{.*}}, %{{.*}} : tensor<5x4xi64>
// CHECK: arith.select %{{.*}} : tensor<5x4xi1>, tensor<5x4xf32>
// CHECK: arith.select %{{.*}} : tensor<2x3xi1>, tensor<2x3xf32>
func.func @main(%i: tensor<5xi64>, %x: tensor<2x3xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %depth = onnx.initializer "depth" {value = dense<4> : tensor<i64>} : tensor<i64>
  %values = onnx.initializer "values" {value = dense<[0.0, 1.0]> : tensor<2xf32>} : tensor<2xf32>
  %y = onnx.node "OneHot"(%i, %depth, %values) : (tensor<5xi64>, tensor<i64>, tensor<2xf32>) -> tensor<*xf32>
  %z = onnx.node "Trilu"(%x) with {upper = 0 : i64} : (tensor<2x3xf32>) -> tensor<*xf32>
  return %y, %z : tensor<*xf32>, tensor<*xf32>
}
