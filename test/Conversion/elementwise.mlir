// RUN: moire-opt %s --split-input-file --onnx-to-nn | FileCheck %s

// Numpy's broadcasting is spelled out: dims of size 1 go, nn.broadcast repeats.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: (%[[X:.*]]: tensor<2x10x32xf32> {onnx.name = "x"}, %[[B:.*]]: tensor<1x32xf32>
// CHECK: %[[V:.*]] = nn.reshape %[[B]] : tensor<1x32xf32> -> tensor<32xf32>
// CHECK: %[[W:.*]] = nn.broadcast %[[V]] [2] : tensor<32xf32> -> tensor<2x10x32xf32>
// CHECK: arith.addf %[[X]], %[[W]]
func.func @main(%x: tensor<2x10x32xf32> {onnx.name = "x"}, %b: tensor<1x32xf32>) -> tensor<*xf32> {
  %y = onnx.node "Add"(%x, %b) : (tensor<2x10x32xf32>, tensor<1x32xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// The derivative of ReLU at 0 is 0, that of Clip at its bounds 1.
// CHECK-LABEL: func.func @forward
// CHECK-DAG: %[[HIGH:.*]] = arith.constant dense<6.000000e+00>
// CHECK-DAG: %[[ZERO:.*]] = arith.constant dense<0.000000e+00>
// CHECK: %[[C:.*]] = arith.cmpf ole, %[[X:.*]], %[[ZERO]]
// CHECK: arith.select %[[C]], %[[ZERO]], %[[X]]
// CHECK: %[[L:.*]] = arith.cmpf olt, %[[X]], %[[ZERO]]
// CHECK: %[[M:.*]] = arith.select %[[L]], %[[ZERO]], %[[X]]
// CHECK: %[[H:.*]] = arith.cmpf ogt, %[[M]], %[[HIGH]]
// CHECK: arith.select %[[H]], %[[HIGH]], %[[M]]
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %low = onnx.initializer "low" {value = dense<0.0> : tensor<f32>} : tensor<f32>
  %high = onnx.initializer "high" {value = dense<6.0> : tensor<f32>} : tensor<f32>
  %a = onnx.node "Relu"(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %b = onnx.node "Clip"(%x, %low, %high) : (tensor<4xf32>, tensor<f32>, tensor<f32>) -> tensor<4xf32>
  return %a, %b : tensor<4xf32>, tensor<4xf32>
}

// -----

// A constant exponent is a product, a root or a quotient.
// CHECK-LABEL: func.func @forward
// CHECK: arith.mulf %[[X:.*]], %[[X]]
// CHECK: math.sqrt %[[X]]
// CHECK: %[[S:.*]] = arith.mulf %[[X]], %[[X]]
// CHECK: %[[Q:.*]] = arith.mulf %[[S]], %[[X]]
// CHECK: arith.divf %{{.*}}, %[[Q]]
// CHECK: math.powf %[[X]]
func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %two = onnx.initializer "two" {value = dense<2> : tensor<i64>} : tensor<i64>
  %half = onnx.initializer "half" {value = dense<0.5> : tensor<f32>} : tensor<f32>
  %cube = onnx.initializer "cube" {value = dense<-3.0> : tensor<f32>} : tensor<f32>
  %a = onnx.node "Pow"(%x, %two) : (tensor<4xf32>, tensor<i64>) -> tensor<4xf32>
  %b = onnx.node "Pow"(%x, %half) : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %c = onnx.node "Pow"(%x, %cube) : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  %d = onnx.node "Pow"(%x, %y) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %a, %b, %c, %d : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

// -----

// All integers are i64, half precision is f32; a cast between them is nothing.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: (%[[I:.*]]: tensor<4xi64>, %[[H:.*]]: tensor<4xf32>)
// CHECK: %[[B:.*]] = arith.cmpi ne, %[[I]]
// CHECK: %[[F:.*]] = arith.uitofp %[[B]] : tensor<4xi1> to tensor<4xf32>
// CHECK: %[[S:.*]] = arith.addf %[[H]], %[[F]]
// CHECK: %[[T:.*]] = arith.fptosi %[[S]] : tensor<4xf32> to tensor<4xi64>
// CHECK: return %[[T]]
func.func @main(%i: tensor<4xi32>, %h: tensor<4xf16>) -> tensor<4xi32> {
  %b = onnx.node "Cast"(%i) with {to = 9 : i64} : (tensor<4xi32>) -> tensor<4xi1>
  %f = onnx.node "CastLike"(%b, %h) : (tensor<4xi1>, tensor<4xf16>) -> tensor<4xf16>
  %s = onnx.node "Add"(%h, %f) : (tensor<4xf16>, tensor<4xf16>) -> tensor<4xf16>
  %t = onnx.node "Cast"(%s) with {to = 6 : i64} : (tensor<4xf16>) -> tensor<4xi32>
  return %t : tensor<4xi32>
}

// -----

// The safe softmax of exporters stays as it is, for the raising.
// CHECK-LABEL: func.func @forward
// CHECK: %[[P:.*]] = nn.softmax
// CHECK: %[[N:.*]] = arith.cmpf uno, %[[P]], %[[P]]
// CHECK: arith.select %[[N]], %{{.*}}, %[[P]]
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %zero = onnx.initializer "zero" {value = dense<0.0> : tensor<f32>} : tensor<f32>
  %p = onnx.node "Softmax"(%x) with {axis = -1 : i64} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %n = onnx.node "IsNaN"(%p) : (tensor<2x4xf32>) -> tensor<2x4xi1>
  %y = onnx.node "Where"(%n, %zero, %p) : (tensor<2x4xi1>, tensor<f32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

// Below opset 13 Softmax flattens; from 13 on it takes one axis.
// CHECK-LABEL: func.func @forward
// CHECK: %[[M:.*]] = nn.reshape %{{.*}} : tensor<2x3x4xf32> -> tensor<2x12xf32>
// CHECK: %[[P:.*]] = nn.softmax %[[M]] : tensor<2x12xf32>
// CHECK: nn.reshape %[[P]] : tensor<2x12xf32> -> tensor<2x3x4xf32>
module attributes {onnx.opsets = {"ai.onnx" = 11 : i64}} {
  func.func @main(%x: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
    %p = onnx.node "Softmax"(%x) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
    return %p : tensor<2x3x4xf32>
  }
}

// -----

// GELU in both forms; the sigmoid is an op of its own.
// CHECK-LABEL: func.func @forward
// CHECK: math.erf
// CHECK: math.tanh
// CHECK: %[[S:.*]] = nn.sigmoid %[[X:.*]] :
// CHECK: arith.mulf %[[X]], %[[S]]
func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %a = onnx.node "Gelu"(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %b = onnx.node "Gelu"(%x) with {approximate = "tanh"} : (tensor<4xf32>) -> tensor<4xf32>
  %c = onnx.node "Swish"(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %a, %b, %c : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

// -----

// Dropout in inference form is its input.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: (%[[X:.*]]: tensor<4xf32>)
// CHECK-NEXT: return %[[X]]
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y, %mask = onnx.node "Dropout"(%x) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xi1>)
  return %y : tensor<4xf32>
}
