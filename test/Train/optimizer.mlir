// RUN: moire-opt %s --train-optimizer=kind=sgd | FileCheck %s
// RUN: not moire-opt %s --train-optimizer=kind=adam 2>&1 | FileCheck %s --check-prefix=ERR

// ERR: error: unknown optimizer 'adam'; --optimizer takes sgd or adamw

// What gets no gradient is neither moved nor decayed.
// CHECK: pipe.parameter @bias : tensor<4xf32> frozen
pipe.parameter @matrix : tensor<4x4xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
pipe.parameter @vector : tensor<4xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
pipe.parameter @bias : tensor<4xf32> from [#pipe.source<"c", "", 0, 0, f32, same, 0>]

func.func @micro_step(%g: tensor<4x4xf32>, %h: tensor<4xf32>) {
  pipe.accumulate @vector, %h : tensor<4xf32>
  pipe.accumulate @matrix, %g : tensor<4x4xf32>
  return
}

// CHECK: func.func @optimizer_step() {
// CHECK-NEXT: pipe.update @matrix with sgd matrix
// CHECK-NEXT: pipe.update @vector with sgd{{$}}
// CHECK-NEXT: return
