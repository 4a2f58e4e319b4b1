// RUN: moire-opt %s | moire-opt | FileCheck %s
// RUN: moire-opt %s --mlir-print-op-generic | moire-opt | FileCheck %s

// CHECK: pipe.parameter @embed : tensor<96x32xf32> torch "model.embed.weight" from [#pipe.source<"embed", "model.onnx", 128, 12288, f32, same, 0>] init "normal" std 2.000000e-02
pipe.parameter @embed : tensor<96x32xf32> torch "model.embed.weight"
  from [#pipe.source<"embed", "model.onnx", 128, 12288, f32, same, 0>] init "normal" std 0.02

// CHECK: pipe.parameter @inv_freq : tensor<4xf32> frozen from [#pipe.source<"inv_freq", "", 0, 16, f32, reshape, 0>]
pipe.parameter @inv_freq : tensor<4xf32> frozen
  from [#pipe.source<"inv_freq", "", 0, 16, f32, reshape, 0>]

// CHECK: pipe.parameter @head : tensor<4xf32> torch "m.head" group "head" from [#pipe.source<"head", "", 0, 16, f32, same, 0>] init "zeros"
pipe.parameter @head : tensor<4xf32> torch "m.head" group "head"
  from [#pipe.source<"head", "", 0, 16, f32, same, 0>] init "zeros"

// CHECK: pipe.parameter @experts : tensor<2x8x4xf32> from
// CHECK-SAME: slice_transpose, 0>
// CHECK-SAME: slice_transpose, 1>
pipe.parameter @experts : tensor<2x8x4xf32>
  from [#pipe.source<"select_0", "model.onnx.data", 0, 128, f32, slice_transpose, 0>,
        #pipe.source<"select_1", "model.onnx.data", 128, 128, f32, slice_transpose, 1>]
  init "ones"

// CHECK-LABEL: func.func @micro_step
func.func @micro_step() {
  // CHECK: %[[W:.*]] = pipe.read @embed : tensor<96x32xf32>
  %w = pipe.read @embed : tensor<96x32xf32>
  // CHECK: pipe.accumulate @embed, %[[W]] : tensor<96x32xf32>
  pipe.accumulate @embed, %w : tensor<96x32xf32>
  return
}

// CHECK-LABEL: func.func @optimizer_step
func.func @optimizer_step() {
  // CHECK: pipe.update @embed with adamw matrix
  pipe.update @embed with adamw matrix
  // CHECK: pipe.update @experts with sgd
  pipe.update @experts with sgd
  // CHECK: pipe.balance @embed rate 1.000000e-03
  pipe.balance @embed rate 0.001
  return
}

// CHECK-LABEL: func.func @reduce_gradients
func.func @reduce_gradients() {
  // CHECK: pipe.sum_copies [@embed, @experts]
  pipe.sum_copies [@embed, @experts]
  return
}

// CHECK-LABEL: func.func @publish
func.func @publish(%x: tensor<4xf32>) -> (tensor<4xf32> {pipe.output = 0 : i64}) {
  // CHECK: pipe.publish
  pipe.publish
  return %x : tensor<4xf32>
}
