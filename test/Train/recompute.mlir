// RUN: moire-opt %s --split-input-file --train-recompute | FileCheck %s

// SwiGLU: of a, sigmoid(a), silu and b, which the backward reads, only the two
// products are kept.
pipe.parameter @w : tensor<4x6xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<2x4xf32>, %dy: tensor<2x3xf32>) -> tensor<f32> {
  %w = pipe.read @w : tensor<4x6xf32>
  // CHECK: %[[H:.*]] = nn.matmul
  %h = nn.matmul %x, %w : tensor<2x4xf32>, tensor<4x6xf32> -> tensor<2x6xf32>
  %a = nn.slice %h starts [0, 0] limits [2, 3] strides [1, 1] : tensor<2x6xf32> -> tensor<2x3xf32>
  %b = nn.slice %h starts [0, 3] limits [2, 6] strides [1, 1] : tensor<2x6xf32> -> tensor<2x3xf32>
  %s = nn.sigmoid %a : tensor<2x3xf32>
  %silu = arith.mulf %a, %s : tensor<2x3xf32>
  %y = arith.mulf %silu, %b : tensor<2x3xf32>
  // CHECK: %[[LOSS:.*]] = nn.reduce
  %loss = nn.reduce sum %y [0, 1] : tensor<2x3xf32> -> tensor<f32>
  // CHECK-NEXT: %[[A:.*]] = nn.slice %[[H]] starts [0, 0]
  // CHECK-NEXT: %[[S:.*]] = nn.sigmoid %[[A]]
  // CHECK-NEXT: %[[SILU:.*]] = arith.mulf %[[A]], %[[S]]
  // CHECK-NEXT: arith.mulf %arg1, %[[SILU]]
  // CHECK-NEXT: %[[B:.*]] = nn.slice %[[H]] starts [0, 3]
  // CHECK-NEXT: arith.mulf %arg1, %[[B]]
  %db = arith.mulf %dy, %silu : tensor<2x3xf32>
  %ds = arith.mulf %dy, %b : tensor<2x3xf32>
  %da = arith.mulf %ds, %s : tensor<2x3xf32>
  %parts = nn.concat %da, %db dim 1 : tensor<2x3xf32>, tensor<2x3xf32> -> tensor<2x6xf32>
  %dw = nn.matmul %x, %parts {transpose_lhs} : tensor<2x4xf32>, tensor<2x6xf32> -> tensor<4x6xf32>
  pipe.accumulate @w, %dw : tensor<4x6xf32>
  return %loss : tensor<f32>
}

// -----

// What a product of the backward reads is kept anyway, and so is not repeated;
// a sum onto a product is that product's own result.
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>, %bias: tensor<2x4xf32>) -> tensor<f32> {
  %h = nn.matmul %x, %w : tensor<2x4xf32>, tensor<4x4xf32> -> tensor<2x4xf32>
  %a = arith.addf %h, %bias : tensor<2x4xf32>
  %e = math.exp %a : tensor<2x4xf32>
  %t = math.tanh %a : tensor<2x4xf32>
  // CHECK: %[[SUM:.*]] = arith.addf
  // CHECK: %[[E:.*]] = math.exp %[[SUM]]
  // CHECK: nn.reduce
  // CHECK-NEXT: nn.matmul %[[E]]
  // CHECK-NEXT: %[[T:.*]] = math.tanh %[[SUM]]
  // CHECK-NEXT: arith.mulf %[[T]], %[[E]]
  %loss = nn.reduce sum %a [0, 1] : tensor<2x4xf32> -> tensor<f32>
  %dw = nn.matmul %e, %x {transpose_lhs} : tensor<2x4xf32>, tensor<2x4xf32> -> tensor<4x4xf32>
  %de = arith.mulf %t, %e : tensor<2x4xf32>
  %dv = nn.matmul %de, %dw : tensor<2x4xf32>, tensor<4x4xf32> -> tensor<2x4xf32>
  return %loss : tensor<f32>
}

// -----

// One number a row costs less than the row.
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<2x4xf32>) -> (tensor<f32>, tensor<2x4xf32>) {
  // CHECK: %[[R:.*]] = nn.reduce sum
  %r = nn.reduce sum %x [1] : tensor<2x4xf32> -> tensor<2xf32>
  %q = math.rsqrt %r : tensor<2xf32>
  %b = nn.broadcast %q [0] : tensor<2xf32> -> tensor<2x4xf32>
  %y = arith.mulf %x, %b : tensor<2x4xf32>
  // CHECK: %[[LOSS:.*]] = nn.reduce sum
  %loss = nn.reduce sum %y [0, 1] : tensor<2x4xf32> -> tensor<f32>
  // CHECK-NEXT: %[[Q:.*]] = math.rsqrt %[[R]]
  // CHECK-NEXT: %[[B:.*]] = nn.broadcast %[[Q]]
  // CHECK-NEXT: arith.mulf %arg0, %[[B]]
  %d = arith.mulf %x, %b : tensor<2x4xf32>
  return %loss, %d : tensor<f32>, tensor<2x4xf32>
}

// -----

// A view that a product of the backward reads is not repeated: that would copy.
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>, %dy: tensor<4x4xf32>) -> tensor<f32> {
  // CHECK: %[[T:.*]] = nn.transpose
  // CHECK-NOT: nn.transpose
  // CHECK: %[[R:.*]] = nn.reshape %[[T]]
  // CHECK: nn.matmul %[[R]], %arg2
  %h = nn.matmul %x, %w : tensor<2x4xf32>, tensor<4x4xf32> -> tensor<2x4xf32>
  %t = nn.transpose %h [1, 0] : tensor<2x4xf32> -> tensor<4x2xf32>
  %y = nn.matmul %t, %x : tensor<4x2xf32>, tensor<2x4xf32> -> tensor<4x4xf32>
  %loss = nn.reduce sum %y [0, 1] : tensor<4x4xf32> -> tensor<f32>
  %r = nn.reshape %t : tensor<4x2xf32> -> tensor<2x4xf32>
  %dw = nn.matmul %r, %dy : tensor<2x4xf32>, tensor<4x4xf32> -> tensor<2x4xf32>
  return %loss : tensor<f32>
}
