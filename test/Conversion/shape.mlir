// RUN: moire-opt %s --split-input-file --onnx-to-nn | FileCheck %s

// Shape arithmetic is gone: [B, S, H] -> [B, S, heads, H / heads].
// CHECK-LABEL: func.func @forward
// CHECK-SAME: (%[[X:.*]]: tensor<2x10x32xf32>)
// CHECK-NEXT: %[[Y:.*]] = nn.reshape %[[X]] : tensor<2x10x32xf32> -> tensor<2x10x4x8xf32>
// CHECK-NEXT: %[[Z:.*]] = nn.transpose %[[Y]] [0, 2, 1, 3]
// CHECK-NEXT: return %[[Z]]
func.func @main(%x: tensor<2x10x32xf32>) -> tensor<*xf32> {
  %zero = onnx.initializer "zero" {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %two = onnx.initializer "two" {value = dense<2> : tensor<1xi64>} : tensor<1xi64>
  %last = onnx.initializer "last" {value = dense<-1> : tensor<i64>} : tensor<i64>
  %four = onnx.initializer "four" {value = dense<4> : tensor<i64>} : tensor<i64>
  %axes = onnx.initializer "axes" {value = dense<0> : tensor<1xi64>} : tensor<1xi64>
  %s = onnx.node "Shape"(%x) : (tensor<2x10x32xf32>) -> tensor<*xi64>
  %lead = onnx.node "Slice"(%s, %zero, %two) : (tensor<*xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xi64>
  %h = onnx.node "Gather"(%s, %last) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %d = onnx.node "Div"(%h, %four) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %n1 = onnx.node "Unsqueeze"(%four, %axes) : (tensor<i64>, tensor<1xi64>) -> tensor<*xi64>
  %d1 = onnx.node "Unsqueeze"(%d, %axes) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %shape = onnx.node "Concat"(%lead, %n1, %d1) with {axis = 0 : i64} : (tensor<*xi64>, tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %y = onnx.node "Reshape"(%x, %shape) : (tensor<2x10x32xf32>, tensor<*xi64>) -> tensor<*xf32>
  %z = onnx.node "Transpose"(%y) with {perm = array<i64: 0, 2, 1, 3>} : (tensor<*xf32>) -> tensor<*xf32>
  return %z : tensor<*xf32>
}

// -----

// Axes as attributes (below opset 13) and as inputs are one thing.
// CHECK-LABEL: func.func @forward
// CHECK: nn.reshape %{{.*}} : tensor<1x4x1xf32> -> tensor<4xf32>
// CHECK: nn.reshape %{{.*}} : tensor<1x4x1xf32> -> tensor<4x1xf32>
// CHECK: nn.reshape %{{.*}} : tensor<1x4x1xf32> -> tensor<1x1x4x1xf32>
module attributes {onnx.opsets = {"ai.onnx" = 11 : i64}} {
  func.func @main(%x: tensor<1x4x1xf32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) {
    %a = onnx.node "Squeeze"(%x) : (tensor<1x4x1xf32>) -> tensor<*xf32>
    %b = onnx.node "Squeeze"(%x) with {axes = array<i64: 0>} : (tensor<1x4x1xf32>) -> tensor<*xf32>
    %c = onnx.node "Unsqueeze"(%x) with {axes = array<i64: 1>} : (tensor<1x4x1xf32>) -> tensor<*xf32>
    return %a, %b, %c : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
  }
}

// -----

// Range, ConstantOfShape, Expand and comparisons of them are a constant mask.
// CHECK-LABEL: func.func @forward
// CHECK: arith.constant dense<{{\[\[}}true, false, false], [true, true, false], [true, true, true]]>
// CHECK-NEXT: return
func.func @main(%x: tensor<3xf32>) -> tensor<*xi1> {
  %zero = onnx.initializer "zero" {value = dense<0> : tensor<i64>} : tensor<i64>
  %one = onnx.initializer "one" {value = dense<1> : tensor<i64>} : tensor<i64>
  %axes = onnx.initializer "axes" {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %s = onnx.node "Shape"(%x) : (tensor<3xf32>) -> tensor<1xi64>
  %n = onnx.node "Squeeze"(%s) : (tensor<1xi64>) -> tensor<i64>
  %r = onnx.node "Range"(%zero, %n, %one) : (tensor<i64>, tensor<i64>, tensor<i64>) -> tensor<*xi64>
  %c = onnx.node "Unsqueeze"(%r, %axes) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %m = onnx.node "LessOrEqual"(%r, %c) : (tensor<*xi64>, tensor<*xi64>) -> tensor<*xi1>
  return %m : tensor<*xi1>
}

// -----

// Slices: negative positions, steps, backwards; equal and given split sizes.
// CHECK-LABEL: func.func @forward
// CHECK: nn.slice %[[X:.*]] starts [0, 7] limits [4, 9] strides [1, 1]
// CHECK: nn.reverse %[[X]] [1]
// CHECK: nn.slice %{{.*}} starts [0, 1] limits [4, 10] strides [1, 2]
// CHECK: nn.slice %[[X]] starts [0, 0] limits [2, 10]
// CHECK: nn.slice %[[X]] starts [2, 0] limits [4, 10]
// CHECK: nn.slice %[[X]] starts [0, 0] limits [4, 3]
// CHECK: nn.slice %[[X]] starts [0, 3] limits [4, 10]
func.func @main(%x: tensor<4x10xf32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) {
  %m3 = onnx.initializer "m3" {value = dense<-3> : tensor<1xi64>} : tensor<1xi64>
  %m1 = onnx.initializer "m1" {value = dense<-1> : tensor<1xi64>} : tensor<1xi64>
  %m2 = onnx.initializer "m2" {value = dense<-2> : tensor<1xi64>} : tensor<1xi64>
  %min = onnx.initializer "min" {value = dense<-9223372036854775807> : tensor<1xi64>} : tensor<1xi64>
  %one = onnx.initializer "one" {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %sizes = onnx.initializer "sizes" {value = dense<[3, 7]> : tensor<2xi64>} : tensor<2xi64>
  %a = onnx.node "Slice"(%x, %m3, %m1, %one) : (tensor<4x10xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %b = onnx.node "Slice"(%x, %m2, %min, %one, %m2) : (tensor<4x10xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %c, %d = onnx.node "Split"(%x) : (tensor<4x10xf32>) -> (tensor<*xf32>, tensor<*xf32>)
  %e, %f = onnx.node "Split"(%x, %sizes) with {axis = 1 : i64} : (tensor<4x10xf32>, tensor<2xi64>) -> (tensor<*xf32>, tensor<*xf32>)
  return %a, %b, %c, %d, %e, %f : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// -----

// Tile repeats by a broadcast; constant padding is nn.pad, other modes gather.
// CHECK-LABEL: func.func @forward
// CHECK: %[[R:.*]] = nn.broadcast %{{.*}} [1, 3] : tensor<2x3xf32> -> tensor<2x2x2x3xf32>
// CHECK: nn.reshape %[[R]] : tensor<2x2x2x3xf32> -> tensor<4x6xf32>
// CHECK: nn.pad %{{.*}} low [0, 1] high [0, 2] interior [0, 0] {value = 5.000000e+00 : f64}
// CHECK: nn.gather %{{.*}} : tensor<3x2xf32>, tensor<5xi64>
func.func @main(%x: tensor<2x3xf32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) {
  %reps = onnx.initializer "reps" {value = dense<2> : tensor<2xi64>} : tensor<2xi64>
  %pads = onnx.initializer "pads" {value = dense<[0, 1, 0, 2]> : tensor<4xi64>} : tensor<4xi64>
  %ring = onnx.initializer "ring" {value = dense<[0, 1, 0, 1]> : tensor<4xi64>} : tensor<4xi64>
  %five = onnx.initializer "five" {value = dense<5.0> : tensor<f32>} : tensor<f32>
  %a = onnx.node "Tile"(%x, %reps) : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<*xf32>
  %b = onnx.node "Pad"(%x, %pads, %five) : (tensor<2x3xf32>, tensor<4xi64>, tensor<f32>) -> tensor<*xf32>
  %c = onnx.node "Pad"(%x, %ring) with {mode = "reflect"} : (tensor<2x3xf32>, tensor<4xi64>) -> tensor<*xf32>
  return %a, %b, %c : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// -----

// An If whose condition follows from the shapes is one of its graphs.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: (%[[X:.*]]: tensor<2x1xf32>)
// CHECK-NEXT: %[[Y:.*]] = nn.reshape %[[X]] : tensor<2x1xf32> -> tensor<2xf32>
// CHECK-NEXT: return %[[Y]]
func.func @main(%x: tensor<2x1xf32>) -> tensor<*xf32> {
  %one = onnx.initializer "one" {value = dense<1> : tensor<i64>} : tensor<i64>
  %axes = onnx.initializer "axes" {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %s = onnx.node "Shape"(%x) : (tensor<2x1xf32>) -> tensor<2xi64>
  %d = onnx.node "Gather"(%s, %one) : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  %c = onnx.node "Equal"(%d, %one) : (tensor<i64>, tensor<i64>) -> tensor<i1>
  %y = onnx.node "If"(%c) graphs ["then_branch", "else_branch"] {
    %t = onnx.node "Squeeze"(%x, %axes) : (tensor<2x1xf32>, tensor<1xi64>) -> tensor<*xf32>
    onnx.yield %t : tensor<*xf32>
  }, {
    onnx.yield %x : tensor<2x1xf32>
  } : (tensor<i1>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Negative numbers in shape arithmetic.
// CHECK-LABEL: func.func @forward
// CHECK-DAG: arith.constant dense<-2> : tensor<3xi64>
// CHECK-DAG: arith.constant dense<[10, 7]> : tensor<2xi64>
// CHECK: return
func.func @main() -> (tensor<*xi32>, tensor<*xi64>) {
  %s = onnx.initializer "s" {value = dense<10> : tensor<i32>} : tensor<i32>
  %l = onnx.initializer "l" {value = dense<6> : tensor<i32>} : tensor<i32>
  %d = onnx.initializer "d" {value = dense<-3> : tensor<i32>} : tensor<i32>
  %n = onnx.initializer "n" {value = dense<3> : tensor<1xi64>} : tensor<1xi64>
  %r = onnx.node "Range"(%s, %l, %d) : (tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<*xi32>
  %c = onnx.node "ConstantOfShape"(%n) with {value = dense<-2> : tensor<1xi64>} : (tensor<1xi64>) -> tensor<*xi64>
  return %r, %c : tensor<*xi32>, tensor<*xi64>
}
