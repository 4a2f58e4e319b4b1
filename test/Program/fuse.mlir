// RUN: moire-opt %s --fuse | FileCheck %s

// CHECK-DAG: #[[ROW:.*]] = affine_map<(d0, d1) -> (d1)>
// CHECK-DAG: #[[ALL:.*]] = affine_map<(d0, d1) -> (d0, d1)>

// SwiGLU: one kernel for the forward, one with two results for the backward,
// each half of the gate read where it lies.
// CHECK-LABEL: func.func @swiglu
func.func @swiglu(%h: tensor<20x64xf32>, %w: tensor<32x8xf32>, %dy: tensor<20x32xf32>) -> (tensor<20x8xf32>, tensor<20x64xf32>) {
  // CHECK-DAG: %[[G:.*]] = nn.slice %arg0 starts [0, 0]
  // CHECK-DAG: %[[U:.*]] = nn.slice %arg0 starts [0, 32]
  %g = nn.slice %h starts [0, 0] limits [20, 32] strides [1, 1] : tensor<20x64xf32> -> tensor<20x32xf32>
  %u = nn.slice %h starts [0, 32] limits [20, 64] strides [1, 1] : tensor<20x64xf32> -> tensor<20x32xf32>
  // CHECK: %[[Y:.*]] = linalg.generic
  // CHECK-SAME: ins(%[[G]], %[[U]] : tensor<20x32xf32>, tensor<20x32xf32>)
  %s = nn.sigmoid %g : tensor<20x32xf32>
  %a = arith.mulf %g, %s : tensor<20x32xf32>
  %y = arith.mulf %a, %u : tensor<20x32xf32>
  // CHECK: nn.matmul %[[Y]], %arg1
  %z = nn.matmul %y, %w : tensor<20x32xf32>, tensor<32x8xf32> -> tensor<20x8xf32>
  // CHECK: %[[D:.*]]:2 = linalg.generic
  // CHECK-SAME: ins(%[[G]], %arg2, %[[U]] :
  // CHECK: linalg.yield %{{.*}}, %{{.*}} : f32, f32
  %da = arith.mulf %dy, %u : tensor<20x32xf32>
  %du = arith.mulf %dy, %a : tensor<20x32xf32>
  %d1 = arith.mulf %da, %s : tensor<20x32xf32>
  %ds = arith.mulf %da, %g : tensor<20x32xf32>
  %one = arith.constant dense<1.0> : tensor<20x32xf32>
  %t = arith.subf %one, %s : tensor<20x32xf32>
  %st = arith.mulf %s, %t : tensor<20x32xf32>
  %d2 = arith.mulf %ds, %st : tensor<20x32xf32>
  %dg = arith.addf %d1, %d2 : tensor<20x32xf32>
  // CHECK: nn.concat %[[D]]#1, %[[D]]#0
  %dh = nn.concat %dg, %du dim 1 : tensor<20x32xf32>, tensor<20x32xf32> -> tensor<20x64xf32>
  return %z, %dh : tensor<20x8xf32>, tensor<20x64xf32>
}

// Repeated rows become indexing maps, coordinates linalg.index.
// CHECK-LABEL: func.func @free_operands
func.func @free_operands(%x: tensor<4x6xf32>, %b: tensor<6xf32>) -> tensor<4x6xf32> {
  %r = nn.broadcast %b [1] : tensor<6xf32> -> tensor<4x6xf32>
  %i = nn.iota 1 : tensor<4x6xi64>
  %f = arith.sitofp %i : tensor<4x6xi64> to tensor<4x6xf32>
  %two = arith.constant dense<2.0> : tensor<4x6xf32>
  %0 = arith.mulf %x, %two : tensor<4x6xf32>
  %1 = arith.mulf %0, %r : tensor<4x6xf32>
  // CHECK: linalg.generic {indexing_maps = [#[[ALL]], #[[ROW]], #[[ALL]]]
  // CHECK-SAME: ins(%arg0, %arg1 : tensor<4x6xf32>, tensor<6xf32>)
  // CHECK-DAG: %[[TWO:.*]] = arith.constant 2.0
  // CHECK-DAG: linalg.index 1
  %2 = arith.addf %1, %f : tensor<4x6xf32>
  return %2 : tensor<4x6xf32>
}

// An op outside that needs a result ends the cluster; the exponential is not
// computed twice, because the product needs it in memory.
// CHECK-LABEL: func.func @outside
func.func @outside(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  // CHECK: %[[E:.*]] = linalg.generic
  // CHECK: math.exp
  %e = math.exp %x : tensor<4x4xf32>
  // CHECK: %[[M:.*]] = nn.matmul %[[E]], %[[E]]
  %m = nn.matmul %e, %e : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  // CHECK: linalg.generic
  // CHECK-SAME: ins(%[[M]], %[[E]]
  %y = arith.mulf %m, %e : tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}

// What reads nothing more is computed again: one number a row is cheaper to
// keep than the whole, but here the whole is read anyway.
// CHECK-LABEL: func.func @again
func.func @again(%x: tensor<4x4xf32>) -> (tensor<4xf32>, tensor<4x4xf32>) {
  %t = math.tanh %x : tensor<4x4xf32>
  %y = arith.mulf %x, %t : tensor<4x4xf32>
  // CHECK: linalg.generic
  // CHECK: linalg.yield %{{[^,]*}} : f32
  %s = nn.reduce sum %y [1] : tensor<4x4xf32> -> tensor<4xf32>
  %m = nn.matmul %x, %x : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  %n = nn.matmul %m, %x : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  // CHECK: %[[N:.*]] = nn.matmul
  // CHECK-NEXT: nn.matmul
  // CHECK: linalg.generic
  // CHECK-SAME: ins(%arg0, %
  // CHECK: math.tanh
  %0 = arith.mulf %t, %x : tensor<4x4xf32>
  %z = arith.mulf %0, %n : tensor<4x4xf32>
  return %s, %z : tensor<4xf32>, tensor<4x4xf32>
}

// Additions that library kernels take along stay.
// CHECK-LABEL: func.func @kept
func.func @kept(%x: tensor<4x6xf32>, %w: tensor<6x6xf32>, %b: tensor<6xf32>) -> (tensor<4x6xf32>, tensor<4x6xf32>) {
  // CHECK-NOT: linalg.generic
  %m = nn.matmul %x, %w : tensor<4x6xf32>, tensor<6x6xf32> -> tensor<4x6xf32>
  %r = nn.broadcast %b [1] : tensor<6xf32> -> tensor<4x6xf32>
  // CHECK: arith.addf
  %y = arith.addf %m, %r : tensor<4x6xf32>
  // CHECK: arith.addf
  %sum = arith.addf %x, %y : tensor<4x6xf32>
  %n = nn.rms_norm %sum eps 1.0e-05 : tensor<4x6xf32>
  return %sum, %n : tensor<4x6xf32>, tensor<4x6xf32>
}
