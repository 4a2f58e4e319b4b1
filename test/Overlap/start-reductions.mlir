// RUN: moire-opt %s --start-reductions | FileCheck %s
// RUN: moire-opt %s --start-reductions --lower-to-exec --pack-arena --verify-arena | FileCheck %s --check-prefix=EXEC

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  pipe.parameter @a : tensor<4xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @b : tensor<4xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  pipe.parameter @c : tensor<4xf32> from [#pipe.source<"c", "", 0, 0, f32, same, 0>]
  // Behind what completes each bucket; a bucket with a gradient that nothing completes is left.
  // CHECK-LABEL: @micro_step
  // EXEC-LABEL: @micro_step
  func.func @micro_step(%x: tensor<4xf32>) -> tensor<f32> {
    // CHECK: pipe.accumulate @b
    // CHECK-NEXT: pipe.accumulate @a
    // CHECK-NEXT: pipe.start_reduce [@a, @b]
    // CHECK-NEXT: nn.reduce
    // EXEC: exec.start_reduce 1 [@a, @b]
    // EXEC: exec.loss
    pipe.accumulate @b, %x : tensor<4xf32>
    pipe.accumulate @a, %x : tensor<4xf32>
    %loss = nn.reduce sum %x [0] : tensor<4xf32> -> tensor<f32>
    // CHECK-NEXT: return
    return %loss : tensor<f32>
  }
  func.func @reduce_gradients() {
    pipe.reduce_grads [@c] over ["dp"]
    pipe.reduce_grads [@a, @b] over ["dp"]
    return
  }
}
