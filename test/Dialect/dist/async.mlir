// RUN: moire-opt %s | moire-opt | FileCheck %s

module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 2>} {
  // CHECK-LABEL: @sum
  func.func @sum(%x: tensor<4xf32>) -> tensor<4xf32> {
    // CHECK: %[[F:.*]] = dist.async {
    // CHECK-NEXT: %[[S:.*]] = dist.all_reduce %arg0 over ["dp"] : tensor<4xf32>
    // CHECK-NEXT: dist.yield %[[S]] : tensor<4xf32>
    // CHECK-NEXT: } -> !dist.future<tensor<4xf32>>
    %f = dist.async {
      %0 = dist.all_reduce %x over ["dp"] : tensor<4xf32>
      dist.yield %0 : tensor<4xf32>
    } -> !dist.future<tensor<4xf32>>
    // CHECK: dist.wait %[[F]] : !dist.future<tensor<4xf32>> -> tensor<4xf32>
    %s = dist.wait %f : !dist.future<tensor<4xf32>> -> tensor<4xf32>
    return %s : tensor<4xf32>
  }

  // Several values have a future each.
  // CHECK-LABEL: @exchange
  func.func @exchange(%r: !nn.routing<tokens = 6, k = 2, experts = 4>) {
    %f:2 = dist.async {
      %l, %e = dist.exchange %r over ["ep"] : <tokens = 6, k = 2, experts = 4> -> <tokens = 24, k = 1, experts = 2>, <["ep"], sent = 12, received = 24>
      dist.yield %l, %e : !nn.routing<tokens = 24, k = 1, experts = 2>, !dist.exchange<["ep"], sent = 12, received = 24>
    // CHECK: } -> !dist.future<!nn.routing<tokens = 24, k = 1, experts = 2>>, !dist.future<!dist.exchange<["ep"], sent = 12, received = 24>>
    } -> !dist.future<!nn.routing<tokens = 24, k = 1, experts = 2>>, !dist.future<!dist.exchange<["ep"], sent = 12, received = 24>>
    %l, %e = dist.wait %f#0, %f#1 : !dist.future<!nn.routing<tokens = 24, k = 1, experts = 2>>, !dist.future<!dist.exchange<["ep"], sent = 12, received = 24>> -> !nn.routing<tokens = 24, k = 1, experts = 2>, !dist.exchange<["ep"], sent = 12, received = 24>
    return
  }
  pipe.parameter @w : tensor<4xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
  // No values: a future of none.
  // CHECK-LABEL: @gradients
  func.func @gradients() {
    %f = dist.async {
      pipe.reduce_grads [@w] over ["dp"]
      // CHECK: dist.yield
      dist.yield
    // CHECK: } -> !dist.future<none>
    } -> !dist.future<none>
    // CHECK: dist.wait %{{.*}} : !dist.future<none>{{$}}
    dist.wait %f : !dist.future<none>
    return
  }
}
