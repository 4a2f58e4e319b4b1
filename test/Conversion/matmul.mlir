// RUN: moire-opt %s --split-input-file --onnx-to-nn | FileCheck %s

// One matrix for all batches stays a matrix.
// CHECK-LABEL: func.func @forward
// CHECK: nn.matmul %{{.*}}, %{{.*}} : tensor<2x10x32xf32>, tensor<32x48xf32> -> tensor<2x10x48xf32>
func.func @main(%x: tensor<2x10x32xf32>, %w: tensor<32x48xf32>) -> tensor<*xf32> {
  %y = onnx.node "MatMul"(%x, %w) : (tensor<2x10x32xf32>, tensor<32x48xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Batch dims are broadcast; vectors lose the dim that they were given.
// CHECK-LABEL: func.func @forward
// CHECK: %[[A:.*]] = nn.broadcast %{{.*}} [2, 3] : tensor<4x8xf32> -> tensor<2x3x4x8xf32>
// CHECK: nn.matmul %[[A]], %{{.*}} : tensor<2x3x4x8xf32>, tensor<2x3x8x5xf32>
// CHECK: %[[V:.*]] = nn.matmul %{{.*}}, %{{.*}} : tensor<4x8xf32>, tensor<8x1xf32> -> tensor<4x1xf32>
// CHECK: nn.reshape %[[V]] : tensor<4x1xf32> -> tensor<4xf32>
func.func @main(%a: tensor<4x8xf32>, %b: tensor<2x3x8x5xf32>, %v: tensor<8xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %y = onnx.node "MatMul"(%a, %b) : (tensor<4x8xf32>, tensor<2x3x8x5xf32>) -> tensor<*xf32>
  %z = onnx.node "MatMul"(%a, %v) : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<*xf32>
  return %y, %z : tensor<*xf32>, tensor<*xf32>
}

// -----

// CHECK-LABEL: func.func @forward
// CHECK: %[[P:.*]] = nn.matmul %{{.*}}, %{{.*}} {transpose_lhs, transpose_rhs} : tensor<8x4xf32>, tensor<5x8xf32> -> tensor<4x5xf32>
// CHECK: %[[S:.*]] = arith.mulf %[[P]]
// CHECK: %[[C:.*]] = nn.broadcast %{{.*}} [1] : tensor<5xf32> -> tensor<4x5xf32>
// CHECK: arith.addf %[[S]], %[[C]]
func.func @main(%a: tensor<8x4xf32>, %b: tensor<5x8xf32>, %c: tensor<5xf32>) -> tensor<*xf32> {
  %y = onnx.node "Gemm"(%a, %b, %c) with {transA = 1 : i64, transB = 1 : i64, alpha = 0.5 : f32}
    : (tensor<8x4xf32>, tensor<5x8xf32>, tensor<5xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Patches of an image times a matrix.
// CHECK-LABEL: func.func @forward
// CHECK: %[[P:.*]] = nn.transpose %{{.*}} [0, 2, 4, 1, 3, 5] : tensor<2x3x4x4x4x4xf32>
// CHECK: %[[R:.*]] = nn.reshape %[[P]] : tensor<2x4x4x3x4x4xf32> -> tensor<2x4x4x48xf32>
// CHECK: nn.matmul %[[R]], %{{.*}} {transpose_rhs} : tensor<2x4x4x48xf32>, tensor<8x48xf32>
// CHECK: nn.transpose %{{.*}} [0, 3, 1, 2] : tensor<2x4x4x8xf32> -> tensor<2x8x4x4xf32>
func.func @main(%x: tensor<2x3x16x16xf32>, %w: tensor<8x3x4x4xf32>) -> tensor<*xf32> {
  %y = onnx.node "Conv"(%x, %w) with {strides = array<i64: 4, 4>} : (tensor<2x3x16x16xf32>, tensor<8x3x4x4xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Einsum: k is contracted, e is a batch dim, t and i are rows and columns.
// CHECK-LABEL: func.func @forward
// CHECK: %[[A:.*]] = nn.transpose %{{.*}} [1, 0, 2] : tensor<20x8x32xf32> -> tensor<8x20x32xf32>
// CHECK: %[[Y:.*]] = nn.matmul %[[A]], %{{.*}} : tensor<8x20x32xf32>, tensor<8x32x48xf32> -> tensor<8x20x48xf32>
// CHECK: nn.transpose %[[Y]] [1, 0, 2] : tensor<8x20x48xf32> -> tensor<20x8x48xf32>
func.func @main(%x: tensor<20x8x32xf32>, %w: tensor<8x32x48xf32>) -> tensor<*xf32> {
  %y = onnx.node "Einsum"(%x, %w) with {equation = "tek, eki -> tei"} : (tensor<20x8x32xf32>, tensor<8x32x48xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Three operands: "tkec,tk,ech->th". The product of the first two keeps t, e, c.
// CHECK-LABEL: func.func @forward
// CHECK: nn.matmul
// CHECK: nn.matmul %{{.*}} -> tensor<20x32xf32>
func.func @main(%d: tensor<20x2x8x5xf32>, %w: tensor<20x2xf32>, %x: tensor<8x5x32xf32>) -> tensor<*xf32> {
  %y = onnx.node "Einsum"(%d, %w, %x) with {equation = "tkec,tk,ech->th"} : (tensor<20x2x8x5xf32>, tensor<20x2xf32>, tensor<8x5x32xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Nothing contracted: a product with broadcasting. A lone label is summed.
// CHECK-LABEL: func.func @forward
// CHECK: arith.mulf %{{.*}}, %{{.*}} : tensor<20x2x8x5xf32>
// CHECK: nn.slice %{{.*}} starts [0, 0] limits [3, 16] strides [1, 5]
// CHECK: nn.reduce sum
func.func @main(%a: tensor<20x2x8xf32>, %b: tensor<20x2x5xf32>, %c: tensor<3x4x4xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
  %y = onnx.node "Einsum"(%a, %b) with {equation = "tke,tkc->tkec"} : (tensor<20x2x8xf32>, tensor<20x2x5xf32>) -> tensor<*xf32>
  %t = onnx.node "Einsum"(%c) with {equation = "...ii->..."} : (tensor<3x4x4xf32>) -> tensor<*xf32>
  return %y, %t : tensor<*xf32>, tensor<*xf32>
}
