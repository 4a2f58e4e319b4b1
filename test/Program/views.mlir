// RUN: moire-opt %s --split-input-file --lower-to-exec | FileCheck %s

// The heads of one projection are read where they lie, the attention writes its
// heads between each other: no copy on the way from product to product.
// CHECK-LABEL: func.func @micro_step
// CHECK-NOT: exec.copy
func.func @micro_step(%x: tensor<20x32xf32>, %w: tensor<32x96xf32>, %o: tensor<32x32xf32>) -> tensor<f32> {
  // CHECK: exec.gemm %arg0, %arg1 to %[[QKV:.*]] :
  %qkv = nn.matmul %x, %w : tensor<20x32xf32>, tensor<32x96xf32> -> tensor<20x96xf32>
  %0 = nn.slice %qkv starts [0, 0] limits [20, 32] strides [1, 1] : tensor<20x96xf32> -> tensor<20x32xf32>
  %1 = nn.reshape %0 : tensor<20x32xf32> -> tensor<2x10x4x8xf32>
  %q = nn.transpose %1 [0, 2, 1, 3] : tensor<2x10x4x8xf32> -> tensor<2x4x10x8xf32>
  %2 = nn.slice %qkv starts [0, 32] limits [20, 64] strides [1, 1] : tensor<20x96xf32> -> tensor<20x32xf32>
  %3 = nn.reshape %2 : tensor<20x32xf32> -> tensor<2x10x4x8xf32>
  %k = nn.transpose %3 [0, 2, 1, 3] : tensor<2x10x4x8xf32> -> tensor<2x4x10x8xf32>
  %4 = nn.slice %qkv starts [0, 64] limits [20, 96] strides [1, 1] : tensor<20x96xf32> -> tensor<20x32xf32>
  %5 = nn.reshape %4 : tensor<20x32xf32> -> tensor<2x10x4x8xf32>
  %v = nn.transpose %5 [0, 2, 1, 3] : tensor<2x10x4x8xf32> -> tensor<2x4x10x8xf32>
  // CHECK-DAG: %[[Q:.*]] = exec.view %[[QKV]] : memref<20x96xf32> to memref<2x4x10x8xf32, strided<[960, 8, 96, 1]>>
  // CHECK-DAG: %[[K:.*]] = exec.view %[[QKV]] at 32 :
  // CHECK-DAG: %[[V:.*]] = exec.view %[[QKV]] at 64 :
  // CHECK-DAG: %[[Y:.*]] = exec.view %[[OUT:.*]] : memref<20x32xf32> to memref<2x4x10x8xf32, strided<[320, 8, 32, 1]>>
  // CHECK: exec.attention %[[Q]], %[[K]], %[[V]] scale 2.500000e-01 to %[[Y]],
  %y, %lse = nn.attention %q, %k, %v scale 0.25 : tensor<2x4x10x8xf32>, tensor<2x4x10x8xf32>, tensor<2x4x10x8xf32> -> tensor<2x4x10x8xf32>, tensor<2x4x10xf32>
  %6 = nn.transpose %y [0, 2, 1, 3] : tensor<2x4x10x8xf32> -> tensor<2x10x4x8xf32>
  %7 = nn.reshape %6 : tensor<2x10x4x8xf32> -> tensor<20x32xf32>
  // CHECK: exec.gemm %[[OUT]], %arg2
  %8 = nn.matmul %7, %o : tensor<20x32xf32>, tensor<32x32xf32> -> tensor<20x32xf32>
  %loss = nn.reduce sum %8 [0, 1] : tensor<20x32xf32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// Parts of a concat are written where they belong; a part that is an input has
// to be copied.
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<4x8xf32>, %w: tensor<8x6xf32>) -> tensor<f32> {
  // CHECK: %[[ALL:.*]] = exec.buffer : memref<4x14xf32>
  // CHECK: %[[PART:.*]] = exec.view %[[ALL]] : memref<4x14xf32> to memref<4x6xf32, strided<[14, 1]>>
  // CHECK: exec.gemm %arg0, %arg1 to %[[PART]]
  %a = nn.matmul %x, %w : tensor<4x8xf32>, tensor<8x6xf32> -> tensor<4x6xf32>
  // CHECK: %[[REST:.*]] = exec.view %[[ALL]] at 6 :
  // CHECK: exec.copy %arg0 to %[[REST]]
  // CHECK-NOT: exec.copy
  %c = nn.concat %a, %x dim 1 : tensor<4x6xf32>, tensor<4x8xf32> -> tensor<4x14xf32>
  // CHECK: exec.reduce sum %[[ALL]]
  %loss = nn.reduce sum %c [0, 1] : tensor<4x14xf32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// A transposed product is the product of the other sides; a transposed operand
// has other strides.
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<4x8xf32>, %w: tensor<6x8xf32>) -> tensor<f32> {
  // CHECK-DAG: %[[W:.*]] = exec.view %arg1 : memref<6x8xf32> to memref<8x6xf32, strided<[1, 8]>>
  // CHECK: exec.gemm %arg0, %[[W]] to %[[Y:.*]] : memref<4x8xf32>, memref<8x6xf32, strided<[1, 8]>> to memref<4x6xf32>
  %y = nn.matmul %x, %w {transpose_rhs} : tensor<4x8xf32>, tensor<6x8xf32> -> tensor<4x6xf32>
  // CHECK-DAG: %[[YT:.*]] = exec.view %[[Y]] : memref<4x6xf32> to memref<6x4xf32, strided<[1, 6]>>
  // CHECK: exec.copy %[[YT]] to %[[DENSE:.*]] :
  // CHECK: exec.reduce sum %[[DENSE]] [1]
  %t = nn.transpose %y [1, 0] : tensor<4x6xf32> -> tensor<6x4xf32>
  %r = nn.reduce sum %t [1] : tensor<6x4xf32> -> tensor<6xf32>
  %s = nn.reduce sum %y [0] : tensor<4x6xf32> -> tensor<6xf32>
  %m = arith.mulf %r, %s : tensor<6xf32>
  %loss = nn.reduce sum %m [0] : tensor<6xf32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// An elementwise result takes over an operand that dies, dims are joined where
// all operands step evenly, a repeated row is read with stride 0.
// CHECK: #[[LAST:.*]] = affine_map<(d0, d1) -> (d1)>
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<2x10x32xf32>, %w: tensor<32x32xf32>, %b: tensor<32xf32>) -> tensor<f32> {
  // CHECK: exec.gemm %{{.*}}, %arg1 to %[[ROWS:[0-9a-z]*]] : {{.*}} to memref<20x32xf32>
  %h = nn.matmul %x, %w : tensor<2x10x32xf32>, tensor<32x32xf32> -> tensor<2x10x32xf32>
  %r = nn.broadcast %b [2] : tensor<32xf32> -> tensor<2x10x32xf32>
  // CHECK: %[[B:.*]] = exec.view %arg2 : memref<32xf32> to memref<20x32xf32, #[[LAST]]>
  // CHECK: exec.launch @kernel0 ins(%[[ROWS]], %[[B]] : {{.*}}) outs(%[[ROWS]] :
  %y = arith.mulf %h, %r : tensor<2x10x32xf32>
  %loss = nn.reduce sum %y [0, 1, 2] : tensor<2x10x32xf32> -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// The loss and its gradient need the logits once, in place.
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<4x8xf32>, %labels: tensor<4xi64>, %scale: tensor<f32>) -> tensor<f32> {
  // CHECK: exec.gemm %{{.*}} to %[[Z:.*]] :
  %z = nn.matmul %x, %x {transpose_rhs} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x4xf32>
  // CHECK: exec.cross_entropy %[[Z]], %arg1 cotangent %arg2 ignore -100 to %{{.*}}, %{{.*}} logits %[[Z]] :
  %l, %lse = nn.cross_entropy %z, %labels : tensor<4x4xf32>, tensor<4xi64> -> tensor<4xf32>, tensor<4xf32>
  %d = nn.broadcast %scale [] : tensor<f32> -> tensor<4xf32>
  %dz = nn.cross_entropy_grad %z, %labels, %lse, %d : tensor<4x4xf32>, tensor<4xi64>, tensor<4xf32>, tensor<4xf32>
  // CHECK-NOT: exec.cross_entropy_grad
  %s = nn.reduce sum %dz [0, 1] : tensor<4x4xf32> -> tensor<f32>
  %loss = arith.addf %s, %scale : tensor<f32>
  %0 = nn.reduce sum %l [0] : tensor<4xf32> -> tensor<f32>
  %1 = arith.addf %loss, %0 : tensor<f32>
  return %1 : tensor<f32>
}
