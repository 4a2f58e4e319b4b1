// Tasks that follow each other on a rank become a pair where one hides the collectives of the other, without a longer
// step.
// RUN: moire-opt %s --pipe-schedule="kind=zb-h2 microbatches=8 join" | FileCheck %s
// RUN: moire-opt %s --pipe-schedule="kind=zb-h2 microbatches=8" | FileCheck %s --check-prefix=APART
// APART-NOT: overlap

pipe.stage @s0 index 0 cost <F = 3, B = 6, b = 4, W = 2, F_collective = 1, B_collective = 1, activation = 1>
pipe.stage @s1 index 1 cost <F = 3, B = 6, b = 4, W = 2, F_collective = 1, B_collective = 1, activation = 1>

// What starts the step stays alone, since the next rank waits for it.
// CHECK: rank 0 {
// CHECK-NEXT: forward stage 0 micro_batch 0
// CHECK-NEXT: overlap { forward stage 0 micro_batch 1  forward stage 0 micro_batch 2 }
// Nobody waits for the cotangent of the first stage's input: b and its W are one.
// CHECK-NEXT: backward stage 0 micro_batch 0
// CHECK-NEXT: overlap { forward stage 0 micro_batch 3  backward_input stage 0 micro_batch 1 }
