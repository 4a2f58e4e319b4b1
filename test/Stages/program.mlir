// Stages as statements: what functions pass on lies in the stage's slot.
// RUN: moire-opt %S/cut.mlir --cut-stages="stages=2 rates=flops=0.001,overhead=0" --pipe-schedule="kind=zb-h1 microbatches=2" --sum-copies --lower-to-exec --pack-arena --pack-slots --verify-arena | FileCheck %s

// CHECK-LABEL: func.func @stage0_forward(%arg0: memref<4x8xf32>, %arg1: memref<4x8xf32>, %arg2: memref<f32>) {
// CHECK: %[[H:.*]] = exec.kept "pipe.residual" 0 at [[AT:[0-9]+]] : memref<4x8xf32>
// CHECK: exec.gemm {{.*}}%[[H]]
// CHECK: exec.kept "pipe.output" 0 at {{[0-9]+}} : memref<4x8xf32>
// CHECK: return
// CHECK-LABEL: func.func @stage0_backward_weight(
// CHECK: exec.kept "pipe.residual" 0 at [[AT]] : memref<4x8xf32>
// CHECK: exec.grad @b

// Three tensors of 128 bytes; the cotangent that comes may not lie on what is still to be sent.
// CHECK: pipe.stage @stage0 {{.*}}exec.slot_bytes = 384 : i64

// The loss is the last stage's.
// CHECK-LABEL: func.func @stage1_forward(
// CHECK: exec.loss
