// What ranks with other tokens hold alike is divided. 40 elements over 4 ranks: pieces of 16, the
// last rank has none; 20 over the 2 of dp.
// RUN: moire-opt %s --distribute-data --distribute-zero=level=1 | FileCheck %s --check-prefixes=CHECK,ONE
// RUN: moire-opt %s --distribute-data --distribute-zero=level=2 | FileCheck %s --check-prefixes=CHECK,TWO
// RUN: not moire-opt %s --distribute-data --distribute-zero=level=4 2>&1 | FileCheck %s --check-prefix=BAD

module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 2, tp = 2>} {
  // ONE: pipe.parameter @dense {{.*}} zero 1 over ["dp", "ep"]
  // TWO: pipe.parameter @dense {{.*}} zero 2 over ["dp", "ep"]
  pipe.parameter @dense : tensor<10x4xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  // ONE: pipe.parameter @experts {{.*}} zero 1 over ["dp"]
  // TWO: pipe.parameter @experts {{.*}} zero 2 over ["dp"]
  pipe.parameter @experts : tensor<8x5xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>] sharding #dist.sharding<[["ep"], []]>
  // CHECK: pipe.parameter @buffer
  // CHECK-NOT: zero
  pipe.parameter @buffer : tensor<8xf32> frozen from [#pipe.source<"e", "", 0, 0, f32, same, 0>]

  // What the optimizer does not move stays whole.
  pipe.parameter @bias : tensor<8xf32> from [#pipe.source<"f", "", 0, 0, f32, same, 0>]

  // CHECK-LABEL: @micro_step
  // CHECK-SAME: %[[G:.*]]: tensor<10x4xf32>, %[[E:.*]]: tensor<4x5xf32>, %[[B:.*]]: tensor<8xf32>
  func.func @micro_step(%g: tensor<10x4xf32>, %e: tensor<4x5xf32>, %b: tensor<8xf32>) -> tensor<10x4xf32> {
    // ONE-NEXT: pipe.accumulate @dense, %[[G]]
    // ONE-NEXT: pipe.accumulate @experts, %[[E]]
    // TWO-NEXT: %[[FLAT:.*]] = nn.reshape %[[G]] : tensor<10x4xf32> -> tensor<40xf32>
    // TWO-NEXT: %[[ALL:.*]] = nn.pad %[[FLAT]] low [0] high [24] interior [0] : tensor<40xf32> -> tensor<64xf32>
    // TWO-NEXT: %[[MINE:.*]] = dist.reduce_scatter %[[ALL]] dim 0 over ["dp", "ep"] : tensor<64xf32> -> tensor<16xf32>
    // TWO-NEXT: pipe.accumulate @dense, %[[MINE]] : tensor<16xf32>
    // TWO: dist.reduce_scatter {{.*}} over ["dp"] : tensor<32xf32> -> tensor<16xf32>
    // TWO-NEXT: pipe.accumulate @experts, {{.*}} : tensor<16xf32>
    pipe.accumulate @dense, %g : tensor<10x4xf32>
    // CHECK-NEXT: pipe.accumulate @bias, %[[B]]
    pipe.accumulate @experts, %e : tensor<4x5xf32>
    pipe.accumulate @bias, %b : tensor<8xf32>
    return %g : tensor<10x4xf32>
  }
  // CHECK-LABEL: @optimizer_step
  // CHECK-NEXT: pipe.update @dense
  // CHECK-NEXT: pipe.update @experts
  // CHECK-NEXT: pipe.balance @bias
  // CHECK-NEXT: pipe.gather [@dense] over ["dp", "ep"]
  // CHECK-NEXT: pipe.gather [@experts] over ["dp"]
  // CHECK-NEXT: return
  func.func @optimizer_step() {
    pipe.update @dense with adamw matrix
    pipe.update @experts with adamw matrix
    pipe.balance @bias rate 1.0e-3
    return
  }
  // CHECK-LABEL: @reduce_gradients
  // CHECK-NEXT: pipe.reduce_grads [@bias] over ["dp", "ep"]{{$}}
  // ONE-NEXT: pipe.reduce_grads [@dense] over ["dp", "ep"] scatter
  // ONE-NEXT: pipe.reduce_grads [@experts] over ["dp"] scatter
  // CHECK-NEXT: return
}
// BAD: error: --zero takes 1, 2 or 3, not 4
