// One function of the two tasks that a schedule overlaps, each with its own arguments and results.
// RUN: moire-opt %S/../Stages/cut.mlir --cut-stages="stages=2 rates=flops=0.001,overhead=0" --pipe-schedule="kind=dualpipe microbatches=4" --sum-copies --overlap-pairs | FileCheck %s
// RUN: moire-opt %S/../Stages/cut.mlir --cut-stages="stages=2 rates=flops=0.001,overhead=0" --pipe-schedule="kind=1f1b microbatches=4" --sum-copies --overlap-pairs | FileCheck %s --check-prefix=NONE

// NONE-NOT: pipe.pair

// The forward of a stage: six arguments, a loss and what it keeps; then the backward of the other one, whose
// accumulations are told from the first one's.
// CHECK: func.func @stage1_forward_and_stage0_backward(
// CHECK-SAME: tensor<4x8xf32> {pipe.input = 0 : i64}
// CHECK-SAME: {pipe.second}
// CHECK-SAME: tensor<4x8xf32> {pipe.output_cotangent = 0 : i64, pipe.second}
// CHECK-SAME: attributes {pipe.pair = [@stage1_forward, @stage0_backward]}
// CHECK: nn.matmul
// CHECK: nn.reduce sum
// CHECK: pipe.accumulate @b, %{{.*}} {pipe.second}
// CHECK: pipe.accumulate @w, %{{.*}} {pipe.second}
// CHECK: return %{{.*}}, %{{.*}} : tensor<f32>, tensor<4x8xf32>
// CHECK-NOT: pipe.accumulate {{.*}}{pipe.second}
// CHECK: pipe.schedule
