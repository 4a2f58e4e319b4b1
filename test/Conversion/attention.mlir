// RUN: moire-opt %s --split-input-file --onnx-to-nn | FileCheck %s

// CHECK-LABEL: func.func @forward
// CHECK: nn.attention %{{.*}}, %{{.*}}, %{{.*}} scale 0.35355339059327373 {causal} : tensor<2x4x10x8xf32>, tensor<2x2x10x8xf32>
func.func @main(%q: tensor<2x4x10x8xf32>, %k: tensor<2x2x10x8xf32>, %v: tensor<2x2x10x8xf32>) -> tensor<*xf32> {
  %y = onnx.node "Attention"(%q, %k, %v) with {is_causal = 1 : i64}
    : (tensor<2x4x10x8xf32>, tensor<2x2x10x8xf32>, tensor<2x2x10x8xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Rank 3: heads are split off and joined again; the mask gets rank 4.
// CHECK-LABEL: func.func @forward
// CHECK: nn.transpose %{{.*}} [0, 2, 1, 3] : tensor<2x10x4x8xf32> -> tensor<2x4x10x8xf32>
// CHECK: %[[M:.*]] = nn.reshape %{{.*}} : tensor<10x10xi1> -> tensor<1x1x10x10xi1>
// CHECK: %[[A:.*]], %{{.*}} = nn.attention %{{.*}} mask %[[M]] scale 5.000000e-01
// CHECK: nn.transpose %[[A]] [0, 2, 1, 3]
func.func @main(%q: tensor<2x10x32xf32>, %k: tensor<2x10x16xf32>, %v: tensor<2x10x16xf32>, %m: tensor<10x10xi1>) -> tensor<*xf32> {
  %y = onnx.node "Attention"(%q, %k, %v, %m) with {q_num_heads = 4 : i64, kv_num_heads = 2 : i64, scale = 0.5 : f32}
    : (tensor<2x10x32xf32>, tensor<2x10x16xf32>, tensor<2x10x16xf32>, tensor<10x10xi1>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Tables looked up by position; the rest of each head is not rotated.
// CHECK-LABEL: func.func @forward
// CHECK: %[[C:.*]] = nn.gather
// CHECK: %[[S:.*]] = nn.gather
// CHECK: %[[X:.*]] = nn.slice %[[IN:.*]] starts [0, 0, 0, 0] limits [2, 4, 10, 4]
// CHECK: %[[R:.*]] = nn.rope %[[X]], %[[C]], %[[S]] {interleaved}
// CHECK: %[[T:.*]] = nn.slice %[[IN]] starts [0, 0, 0, 4] limits [2, 4, 10, 8]
// CHECK: nn.concat %[[R]], %[[T]] dim 3
func.func @main(%x: tensor<2x4x10x8xf32>, %c: tensor<64x2xf32>, %s: tensor<64x2xf32>, %p: tensor<2x10xi64>) -> tensor<*xf32> {
  %y = onnx.node "RotaryEmbedding"(%x, %c, %s, %p) with {interleaved = 1 : i64, rotary_embedding_dim = 4 : i64}
    : (tensor<2x4x10x8xf32>, tensor<64x2xf32>, tensor<64x2xf32>, tensor<2x10xi64>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// A window of keys around each query is a mask.
// CHECK-LABEL: func.func @forward
// CHECK: %[[W:.*]] = arith.constant dense<{{.*}}[true, false, false], [true, true, false], [false, true, true]{{.*}}> : tensor<1x1x3x3xi1>
// CHECK: nn.attention %{{.*}} mask %[[W]] scale
func.func @main(%q: tensor<1x1x3x8xf32>, %k: tensor<1x1x3x8xf32>, %v: tensor<1x1x3x8xf32>) -> tensor<*xf32> {
  %y = onnx.node "Attention"(%q, %k, %v) with {left_window_size = 1 : i64, right_window_size = 0 : i64}
    : (tensor<1x1x3x8xf32>, tensor<1x1x3x8xf32>, tensor<1x1x3x8xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Capped scores are spelled out.
// CHECK-LABEL: func.func @forward
// CHECK: nn.matmul %{{.*}}, %{{.*}} {transpose_rhs} : tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>
// CHECK: math.tanh
// CHECK: nn.softmax
// CHECK: nn.matmul
func.func @main(%q: tensor<1x2x3x8xf32>, %k: tensor<1x1x3x8xf32>, %v: tensor<1x1x3x8xf32>) -> tensor<*xf32> {
  %y = onnx.node "Attention"(%q, %k, %v) with {softcap = 30.0 : f32, is_causal = 1 : i64}
    : (tensor<1x2x3x8xf32>, tensor<1x1x3x8xf32>, tensor<1x1x3x8xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}
