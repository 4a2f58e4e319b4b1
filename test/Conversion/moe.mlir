// RUN: moire-opt %s --split-input-file --onnx-to-nn | FileCheck %s

// SwiGLU with interleaved rows of gate and up, as ONNX Runtime's CPU kernel.
// CHECK-LABEL: func.func @forward
// CHECK: %[[X:.*]] = nn.reshape %{{.*}} : tensor<2x10x32xf32> -> tensor<20x32xf32>
// CHECK: %[[W:.*]], %[[I:.*]] = nn.router {{ *}}softmax %{{.*}} k 2 {normalize}
// CHECK: %[[R:.*]] = nn.route %[[I]] : tensor<20x2xi64> -> <tokens = 20, k = 2, experts = 8>
// CHECK: %[[D:.*]] = nn.dispatch %[[X]], %[[R]]
// CHECK: %[[H:.*]] = nn.grouped_matmul %[[D]], %{{.*}}, %[[R]] {transpose_weight}
// CHECK: %[[G:.*]] = nn.slice %[[H]] starts [0, 0] limits [40, 96] strides [1, 2]
// CHECK: %[[U:.*]] = nn.slice %[[H]] starts [0, 1] limits [40, 96] strides [1, 2]
// CHECK: %[[S:.*]] = nn.sigmoid %[[G]]
// CHECK: %[[T:.*]] = arith.mulf %[[G]], %[[S]]
// CHECK: %[[A:.*]] = arith.mulf %[[T]], %[[U]]
// CHECK: %[[Y:.*]] = nn.grouped_matmul %[[A]], %{{.*}}, %[[R]] {transpose_weight}
// CHECK: nn.combine %[[Y]] weights %[[W]], %[[R]]
func.func @main(%x: tensor<2x10x32xf32>, %l: tensor<20x8xf32>, %w1: tensor<8x96x32xf32>, %w2: tensor<8x32x48xf32>) -> tensor<*xf32> {
  %none = onnx.absent : none
  %y = onnx.node "MoE"(%x, %l, %w1, %none, %w2) domain "com.microsoft"
    with {k = 2 : i64, activation_type = "swiglu", swiglu_fusion = 1 : i64, normalize_routing_weights = 1 : i64}
    : (tensor<2x10x32xf32>, tensor<20x8xf32>, tensor<8x96x32xf32>, none, tensor<8x32x48xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Biases go to each expert's rows; weights stored [E, in, out] are not transposed.
// CHECK-LABEL: func.func @forward
// CHECK: nn.router {{ *}}softmax %{{.*}} k 1 :
// CHECK: %[[H:.*]] = nn.grouped_matmul %{{.*}}, %{{.*}}, %[[R:.*]] : tensor<20x32xf32>, tensor<8x32x48xf32>
// CHECK: %[[B:.*]] = nn.per_expert %{{.*}}, %[[R]]
// CHECK: arith.addf %[[H]], %[[B]]
func.func @main(%x: tensor<20x32xf32>, %l: tensor<20x8xf32>, %w1: tensor<8x32x48xf32>, %b1: tensor<8x48xf32>, %w2: tensor<8x48x32xf32>, %b2: tensor<8x32xf32>) -> tensor<*xf32> {
  %y = onnx.node "MoE"(%x, %l, %w1, %b1, %w2, %b2) domain "com.microsoft"
    : (tensor<20x32xf32>, tensor<20x8xf32>, tensor<8x32x48xf32>, tensor<8x48xf32>, tensor<8x48x32xf32>, tensor<8x32xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}
