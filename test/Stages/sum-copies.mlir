// What is accumulated twice is added up; what another rank only reads is told to it; what one rank has alone
// stays.
// RUN: moire-opt %s --sum-copies | FileCheck %s

module attributes {dist.mesh = #dist.mesh<pp = 2, dp = 2>} {
pipe.parameter @twice : tensor<4xf32> from [#pipe.source<"a", "m", 0, 16, f32, same, 0>]
pipe.parameter @read : tensor<4xf32> from [#pipe.source<"b", "m", 16, 16, f32, same, 0>]
pipe.parameter @alone : tensor<4xf32> from [#pipe.source<"c", "m", 32, 16, f32, same, 0>]

func.func @stage0_forward(%x: tensor<4xf32>) -> (tensor<4xf32> {pipe.output = 0}) {
  %r = pipe.read @read : tensor<4xf32>
  return %r : tensor<4xf32>
}
func.func @stage0_backward(%x: tensor<4xf32>, %d: tensor<4xf32> {pipe.output_cotangent = 0}) {
  pipe.accumulate @twice, %d : tensor<4xf32>
  return
}
pipe.stage @stage0 index 0 forward @stage0_forward backward @stage0_backward
func.func @stage1_forward(%x: tensor<4xf32>, %i: tensor<4xf32> {pipe.input = 0}) {
  return
}
func.func @stage1_backward(%x: tensor<4xf32>, %i: tensor<4xf32> {pipe.input = 0}) -> (tensor<4xf32> {pipe.input_cotangent = 0}) {
  pipe.accumulate @twice, %i : tensor<4xf32>
  pipe.accumulate @read, %i : tensor<4xf32>
  pipe.accumulate @alone, %i : tensor<4xf32>
  return %i : tensor<4xf32>
}
pipe.stage @stage1 index 1 forward @stage1_forward backward @stage1_backward
pipe.schedule @schedule kind "1f1b" stages [@stage0, @stage1] path micro_batches 1 ranks [0, 1] {
  rank 0 {
    forward stage 0 micro_batch 0
    backward stage 0 micro_batch 0
  }
  rank 1 {
    forward stage 1 micro_batch 0
    backward stage 1 micro_batch 0
  }
}
// CHECK: func.func @reduce_gradients
// CHECK-NEXT: pipe.sum_copies [@twice, @read]
// CHECK-NEXT: pipe.reduce_grads [@twice] over ["dp"]
func.func @reduce_gradients() {
  pipe.reduce_grads [@twice] over ["dp"]
  return
}
}
