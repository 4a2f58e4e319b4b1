// What a stage keeps may share bytes only where it is never in use at one time.
// RUN: moire-opt %s --pack-slots | FileCheck %s

func.func @stage0_forward() {
  // Read by the first part of the backward alone.
  // CHECK-LABEL: @stage0_forward
  // CHECK: exec.kept "pipe.residual" 0 at [[FIRST:[0-9]+]]
  %0 = exec.kept "pipe.residual" 0 : memref<16xf32>
  return
}
func.func @stage0_backward_input() {
  // CHECK-LABEL: @stage0_backward_input
  // CHECK: exec.kept "pipe.residual" 0 at [[FIRST]]
  // CHECK: exec.kept "pipe.residual" 1 at [[SECOND:[0-9]+]]
  %0 = exec.kept "pipe.residual" 0 : memref<16xf32>
  %1 = exec.kept "pipe.residual" 1 : memref<16xf32>
  return
}
func.func @stage0_backward_weight() {
  // Only the second part reads the cotangent, but it came before the first: neither of the others'
  // bytes are its.
  // CHECK-LABEL: @stage0_backward_weight
  // CHECK: exec.kept "pipe.residual" 1 at [[SECOND]]
  // CHECK-NOT: exec.kept "pipe.output_cotangent" 0 at [[FIRST]] :
  // CHECK-NOT: exec.kept "pipe.output_cotangent" 0 at [[SECOND]] :
  // CHECK: exec.kept "pipe.output_cotangent" 0 at
  %1 = exec.kept "pipe.residual" 1 : memref<16xf32>
  %2 = exec.kept "pipe.output_cotangent" 0 : memref<16xf32>
  return
}
// Three tensors at one time.
// CHECK: exec.slot_bytes = 192 : i64
pipe.stage @stage0 index 0 forward @stage0_forward backward_input @stage0_backward_input backward_weight @stage0_backward_weight
pipe.schedule @schedule kind "zb-h1" stages [@stage0] path micro_batches 1 ranks [0] {
  rank 0 {
    forward stage 0 micro_batch 0
    backward_input stage 0 micro_batch 0
    backward_weight stage 0 micro_batch 0
  }
}
