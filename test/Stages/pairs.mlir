// Two tasks at once, as statements: each has its slot, and the inputs and gradients of its micro-batch.
// RUN: moire-opt %S/cut.mlir --cut-stages="stages=2 rates=flops=0.001,overhead=0" --pipe-schedule="kind=dualpipe microbatches=4" --sum-copies --overlap-pairs --lower-to-exec --pack-arena --pack-slots --verify-arena | FileCheck %s

// CHECK-LABEL: func.func @stage0_backward(
// CHECK: exec.kept "pipe.output_cotangent" 0 at [[DY:[0-9]+]] :
// CHECK: exec.kept "pipe.residual" 0 at [[H:[0-9]+]] :

// The same bytes as where the stages' own functions keep them.
// CHECK-LABEL: func.func @stage1_forward_and_stage0_backward(
// CHECK-SAME: %arg0: memref<4x8xf32>, %arg1: memref<4x8xf32>, %arg2: memref<f32>, %arg3: memref<4x8xf32> {pipe.second}
// CHECK: exec.kept "pipe.input" 0 at [[X:[0-9]+]] : memref<4x8xf32>
// CHECK: exec.kept "pipe.output_cotangent" 0 at [[DY]] {pipe.second} :
// CHECK: exec.kept "pipe.residual" 0 at [[H]] {pipe.second} :
// CHECK: exec.grad @b {pipe.second}
// CHECK: exec.view %arg3
// CHECK: exec.grad @w {pipe.second}
// CHECK: exec.loss %{{[0-9]+}} : memref<f32>
// CHECK: return
// CHECK-LABEL: func.func @stage1_forward(
// CHECK: exec.kept "pipe.input" 0 at [[X]] :
