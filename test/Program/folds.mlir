// RUN: moire-opt %s --split-input-file --lower-to-exec | FileCheck %s

// The residual sum is made by the normalization that reads it first; on the way
// back, the normalization's gradient adds the residual path's.
pipe.parameter @s : tensor<8xf32> from [#pipe.source<"s", "", 0, 0, f32, same, 0>]
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<4x8xf32>, %y: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> tensor<f32> {
  %s = pipe.read @s : tensor<8xf32>
  %sum = arith.addf %x, %y : tensor<4x8xf32>
  // CHECK: exec.rms_norm %arg0 scale %{{.*}} residual %arg1 eps 1.000000e-05 to %[[N:.*]] sum %[[SUM:.*]] :
  %n = nn.rms_norm %sum scale %s eps 1.0e-05 : tensor<4x8xf32>, tensor<8xf32>
  // CHECK: exec.gemm %[[N]], %arg2
  %m = nn.matmul %n, %w : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
  // CHECK: exec.gemm %[[SUM]], %arg2 to %[[DY:[0-9a-z]*]] :
  %dy = nn.matmul %sum, %w : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
  // CHECK: exec.rms_norm_grad %[[SUM]] scale %{{.*}} cotangent %{{.*}} add %[[DY]] eps 1.000000e-05 to input %[[DY]] scale %{{.*}} mode add_after_first :
  %dx, %ds = nn.rms_norm_grad %sum scale %s cotangent %m eps 1.0e-05 : tensor<4x8xf32>, tensor<8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>, tensor<8xf32>
  pipe.accumulate @s, %ds : tensor<8xf32>
  %d = arith.addf %dy, %dx : tensor<4x8xf32>
  // CHECK-NOT: exec.launch
  %loss = nn.reduce sum %d [0, 1] : tensor<4x8xf32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// The sum of three products is made by the second and the third.
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<4x8xf32>, %w: tensor<8x8xf32>) -> tensor<f32> {
  // CHECK: exec.gemm %arg0, %arg1 to %[[Y:.*]] :
  // CHECK: exec.gemm %arg0, %{{.*}} to %[[Y]] mode add :
  // CHECK: exec.gemm %arg0, %arg1 to %[[Y]] mode add :
  %a = nn.matmul %x, %w : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
  %b = nn.matmul %x, %w {transpose_rhs} : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
  %ab = arith.addf %a, %b : tensor<4x8xf32>
  %c = nn.matmul %x, %w : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
  %y = arith.addf %ab, %c : tensor<4x8xf32>
  // CHECK-NOT: exec.launch
  %loss = nn.reduce sum %y [0, 1] : tensor<4x8xf32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// An expert's bias is the product's where nothing else reads the rows without it; to the rows of
// anything else it is added, in place.
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<4x8xf32>, %ids: tensor<4x2xi64>, %w: tensor<3x8x8xf32>, %b: tensor<3x8xf32>) -> tensor<f32> {
  %r = nn.route %ids : tensor<4x2xi64> -> !nn.routing<tokens = 4, k = 2, experts = 3>
  %0 = nn.dispatch %x, %r : tensor<4x8xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x8xf32>
  // CHECK: exec.grouped_gemm {{.*}} bias %arg3 to %[[Y:.*]] :
  %1 = nn.grouped_matmul %0, %w, %r : tensor<8x8xf32>, tensor<3x8x8xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x8xf32>
  // CHECK: exec.grouped_gemm %[[Y]], %{{[^ ]*}}, %{{[^ ]*}} to %[[Z:.*]] {transpose_weight} :
  // CHECK: exec.per_expert %arg3 add %[[Z]], %{{.*}} to %{{.*}} :
  // CHECK: exec.dispatch {{.*}} to %[[ROWS:.*]] :
  // CHECK: exec.per_expert %arg3 add %[[ROWS]], %{{.*}} to %[[ROWS]] :
  %2 = nn.per_expert %b, %r : tensor<3x8xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x8xf32>
  %3 = arith.addf %1, %2 : tensor<8x8xf32>
  %4 = nn.grouped_matmul %3, %w, %r {transpose_weight} : tensor<8x8xf32>, tensor<3x8x8xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x8xf32>
  %5 = nn.per_expert %b, %r : tensor<3x8xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x8xf32>
  %6 = arith.addf %5, %4 : tensor<8x8xf32>
  %7 = arith.mulf %6, %4 : tensor<8x8xf32>
  %8 = nn.dispatch %x, %r : tensor<4x8xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x8xf32>
  %9 = nn.per_expert %b, %r : tensor<3x8xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x8xf32>
  %10 = arith.addf %8, %9 : tensor<8x8xf32>
  %11 = arith.mulf %7, %10 : tensor<8x8xf32>
  %loss = nn.reduce sum %11 [0, 1] : tensor<8x8xf32> -> tensor<f32>
  return %loss : tensor<f32>
}
