// RUN: moire-opt %s --chunk-logits=limit=300000 | FileCheck %s
// RUN: moire-opt %s --chunk-logits=limit=600000 | FileCheck %s --check-prefix=WHOLE

// 130 rows of 1000 logits are 520000 bytes: two chunks of whole tiles, 128 rows and 2.
// WHOLE: exec.gemm {{.*}} to memref<130x1000xf32>
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%h: memref<130x32xf32>, %w: memref<32x1000xf32>, %labels: memref<130xi64>, %scale: memref<f32>) {
  // CHECK-NOT: memref<130x1000xf32>
  // CHECK: %[[Z:.*]] = exec.buffer : memref<128x1000xf32>
  // CHECK: %[[DH:.*]] = exec.buffer : memref<130x32xf32>
  // CHECK: exec.gemm %{{.*}}, %arg1 to %[[Z]] : memref<128x32xf32>, memref<32x1000xf32> to memref<128x1000xf32>
  // CHECK: exec.cross_entropy %[[Z]], %{{.*}} cotangent %arg3 ignore -100 to {{.*}} logits %[[Z]]
  // CHECK: exec.gemm %[[Z]], %{{.*}} to %{{.*}} : memref<128x1000xf32>, memref<1000x32xf32, strided<[1, 1000]>> to memref<128x32xf32>
  // CHECK: exec.gemm %{{.*}}, %[[Z]] to %{{[0-9]*}} mode  add_after_first : memref<32x128xf32, strided<[1, 32]>>, memref<128x1000xf32> to memref<32x1000xf32>
  // CHECK: exec.view %[[Z]] : memref<128x1000xf32> to memref<2x1000xf32>
  // CHECK: exec.view %arg0 at 4096 : memref<130x32xf32> to memref<2x32xf32>
  // CHECK: exec.cross_entropy
  // CHECK: exec.view %[[DH]] at 4096
  // CHECK: mode add : {{.*}}memref<2x1000xf32> to memref<32x1000xf32>
  // CHECK: exec.reduce
  // CHECK-NOT: exec.gemm
  %z = exec.buffer : memref<130x1000xf32>
  exec.gemm %h, %w to %z : memref<130x32xf32>, memref<32x1000xf32> to memref<130x1000xf32>
  %losses = exec.buffer : memref<130xf32>
  %lse = exec.buffer : memref<130xf32>
  exec.cross_entropy %z, %labels cotangent %scale ignore -100 to %losses, %lse logits %z : memref<130x1000xf32>, memref<130xi64> cotangent memref<f32> to memref<130xf32>, memref<130xf32> logits memref<130x1000xf32>
  %sum = exec.buffer : memref<f32>
  exec.reduce sum %losses [0] to %sum : memref<130xf32> to memref<f32>
  exec.loss %sum : memref<f32>
  %wt = exec.view %w : memref<32x1000xf32> to memref<1000x32xf32, strided<[1, 1000]>>
  %dh = exec.buffer : memref<130x32xf32>
  exec.gemm %z, %wt to %dh : memref<130x1000xf32>, memref<1000x32xf32, strided<[1, 1000]>> to memref<130x32xf32>
  %ht = exec.view %h : memref<130x32xf32> to memref<32x130xf32, strided<[1, 32]>>
  %dw = exec.grad @w : memref<32x1000xf32>
  exec.gemm %ht, %z to %dw mode add_after_first : memref<32x130xf32, strided<[1, 32]>>, memref<130x1000xf32> to memref<32x1000xf32>
  exec.copy %dh to %h : memref<130x32xf32> to memref<130x32xf32>
  return
}
pipe.parameter @w : tensor<32x1000xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
