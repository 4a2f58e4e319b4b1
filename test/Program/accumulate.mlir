// RUN: moire-opt %s --split-input-file --lower-to-exec | FileCheck %s

// A tied embedding: the head's product sets the gradient in the first
// micro-batch, the lookup's rows are added to it.
pipe.parameter @wte : tensor<16x8xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%ids: tensor<4xi64>, %d: tensor<4x16xf32>) -> tensor<f32> {
  %w = pipe.read @wte : tensor<16x8xf32>
  %x = nn.gather %w[%ids] : tensor<16x8xf32>, tensor<4xi64> -> tensor<4x8xf32>
  %loss = nn.reduce sum %x [0, 1] : tensor<4x8xf32> -> tensor<f32>
  // CHECK: %[[G:.*]] = exec.grad @wte : memref<16x8xf32>
  // CHECK: exec.gemm %{{.*}}, %[[X:.*]] to %[[G]] mode add_after_first
  %head = nn.matmul %d, %x {transpose_lhs} : tensor<4x16xf32>, tensor<4x8xf32> -> tensor<16x8xf32>
  // CHECK: exec.scatter_add %[[X]][%arg0] to %[[G]] mode add :
  %all = nn.scatter add %x into %head[%ids] : tensor<4x8xf32>, tensor<16x8xf32>, tensor<4xi64> -> tensor<16x8xf32>
  pipe.accumulate @wte, %all : tensor<16x8xf32>
  // CHECK-NOT: exec.copy
  return %loss : tensor<f32>
}

// -----

// A sum of shares: each is accumulated by what makes it, the first one that is
// computed sets.
pipe.parameter @w : tensor<8x8xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<4x8xf32>, %y: tensor<4x8xf32>) -> tensor<f32> {
  %loss = nn.reduce sum %x [0, 1] : tensor<4x8xf32> -> tensor<f32>
  // CHECK: exec.gemm %{{.*}}, %arg1 to %[[G:.*]] mode add_after_first
  %a = nn.matmul %x, %y {transpose_lhs} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
  // CHECK: exec.gemm %{{.*}}, %arg1 to %[[G]] mode add :
  %b = nn.matmul %y, %y {transpose_lhs} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
  // CHECK-NOT: exec.launch
  %sum = arith.addf %b, %a : tensor<8x8xf32>
  pipe.accumulate @w, %sum : tensor<8x8xf32>
  return %loss : tensor<f32>
}

// -----

// Stored transposed, cut in parts, in one buffer: windows of the gradient.
pipe.parameter @w : tensor<8x12xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<4x8xf32>, %y: tensor<4x6xf32>) -> tensor<f32> {
  %loss = nn.reduce sum %x [0, 1] : tensor<4x8xf32> -> tensor<f32>
  // CHECK: %[[G:.*]] = exec.grad @w
  // CHECK: %[[LEFT:.*]] = exec.view %[[G]] : memref<8x12xf32> to memref<8x6xf32, strided<[12, 1]>>
  // CHECK: exec.gemm %{{.*}}, %arg1 to %[[LEFT]] mode add_after_first
  %a = nn.matmul %x, %y {transpose_lhs} : tensor<4x8xf32>, tensor<4x6xf32> -> tensor<8x6xf32>
  // CHECK: %[[RIGHT:.*]] = exec.view %[[G]] at 6 : memref<8x12xf32> to memref<8x6xf32, strided<[12, 1]>>
  // CHECK: exec.gemm %{{.*}}, %arg1 to %[[RIGHT]] mode add_after_first
  %b = nn.matmul %y, %x {transpose_lhs} : tensor<4x6xf32>, tensor<4x8xf32> -> tensor<6x8xf32>
  %bt = nn.transpose %b [1, 0] : tensor<6x8xf32> -> tensor<8x6xf32>
  %g = nn.concat %a, %bt dim 1 : tensor<8x6xf32>, tensor<8x6xf32> -> tensor<8x12xf32>
  pipe.accumulate @w, %g : tensor<8x12xf32>
  // CHECK-NOT: exec.copy
  return %loss : tensor<f32>
}

// -----

// What no library kernel makes is added by a statement of its own.
pipe.parameter @w : tensor<4x8xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<4x8xf32>) -> tensor<f32> {
  %loss = nn.reduce sum %x [0, 1] : tensor<4x8xf32> -> tensor<f32>
  // CHECK: %[[G:.*]] = exec.grad @w
  // CHECK: exec.copy %arg0 to %[[G]] mode add_after_first
  pipe.accumulate @w, %x : tensor<4x8xf32>
  return %loss : tensor<f32>
}
