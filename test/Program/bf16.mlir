// RUN: moire-opt %s --fuse --lower-to-exec | FileCheck %s

// Casts become part of statements: a parameter's is done once a step by @prepare,
// a bias's product rounds what it stores, kernels read and write bf16.

pipe.parameter @w : tensor<4x6xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
pipe.parameter @b : tensor<6xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]

// CHECK: exec.kernel @kernel1(%[[A:.*]]: bf16) {
// CHECK-NEXT: %[[F:.*]] = arith.extf %[[A]] : bf16 to f32
// CHECK-NEXT: %[[T:.*]] = math.tanh %[[F]] : f32
// CHECK-NEXT: %[[R:.*]] = arith.truncf %[[T]] : f32 to bf16
// CHECK-NEXT: exec.yield %[[R]] : bf16

// CHECK-LABEL: func.func @prepare
// CHECK-NEXT: %[[P:.*]] = exec.param @w : memref<4x6xf32>
// CHECK-NEXT: %[[S:.*]] = exec.shadow @w : memref<4x6xbf16>
// CHECK-NEXT: exec.round %[[P]] to %[[S]]
// CHECK-NEXT: return

// CHECK-LABEL: func.func @micro_step
// CHECK: exec.launch @kernel0 ins({{.*}} : memref<12xf32>) outs({{.*}} : memref<12xbf16>)
// CHECK: %[[W:.*]] = exec.shadow @w
// CHECK: exec.gemm %{{.*}}, %[[W]] bias %{{.*}} to %[[H:.*]] : memref<3x4xbf16>, memref<4x6xbf16>, memref<6xf32> to memref<3x6xbf16>
// CHECK: exec.launch @kernel1 ins(%[[V:.*]] : memref<18xbf16>) outs(%[[V]] : memref<18xbf16>)
// CHECK: exec.gemm {{.*}} : memref<3x6xbf16>, memref<6x4xbf16, strided<[1, 6]>> to memref<3x4xf32>
// CHECK-NOT: exec.copy
// CHECK: exec.reduce sum
func.func @micro_step(%x: tensor<3x4xf32>) -> tensor<f32> {
  %w = pipe.read @w : tensor<4x6xf32>
  %wb = arith.truncf %w : tensor<4x6xf32> to tensor<4x6xbf16>
  %b = pipe.read @b : tensor<6xf32>
  %xb = arith.truncf %x : tensor<3x4xf32> to tensor<3x4xbf16>
  %h = nn.matmul %xb, %wb : tensor<3x4xbf16>, tensor<4x6xbf16> -> tensor<3x6xf32>
  %bias = nn.broadcast %b [1] : tensor<6xf32> -> tensor<3x6xf32>
  %hb = arith.addf %h, %bias : tensor<3x6xf32>
  %stored = arith.truncf %hb : tensor<3x6xf32> to tensor<3x6xbf16>
  %read = arith.extf %stored : tensor<3x6xbf16> to tensor<3x6xf32>
  %t = math.tanh %read : tensor<3x6xf32>
  %tb = arith.truncf %t : tensor<3x6xf32> to tensor<3x6xbf16>
  %y = nn.matmul %tb, %wb {transpose_rhs} : tensor<3x6xbf16>, tensor<4x6xbf16> -> tensor<3x4xf32>
  %s = nn.reduce sum %y [0, 1] : tensor<3x4xf32> -> tensor<f32>
  return %s : tensor<f32>
}
