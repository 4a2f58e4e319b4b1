// Every op prints as it is read.
// RUN: moire-opt %s | moire-opt | FileCheck %s

// CHECK: module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 4, tp = 3>}
module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 4, tp = 3>} {
  // CHECK: sharding <{{\[}}["ep"], ["tp"], []] blocks {{\[}}[], [48, 48], []]>
  pipe.parameter @experts : tensor<8x96x32xf32>
    from [#pipe.source<"a", "m.onnx", 0, 98304, f32, same, 0>]
    sharding #dist.sharding<[["ep"], ["tp"], []] blocks [[], [48, 48], []]>

  // CHECK-LABEL: @collectives
  func.func @collectives(%x: tensor<12x6xf32>) -> tensor<12x6xf32> {
    // CHECK: dist.all_reduce %{{.*}} over ["dp", "ep"] : tensor<12x6xf32>
    %a = dist.all_reduce %x over ["dp", "ep"] : tensor<12x6xf32>
    // CHECK: dist.reduce_scatter %{{.*}} dim 0 over ["ep"] : tensor<12x6xf32> -> tensor<3x6xf32>
    %b = dist.reduce_scatter %a dim 0 over ["ep"] : tensor<12x6xf32> -> tensor<3x6xf32>
    // CHECK: dist.all_gather %{{.*}} dim 0 over ["ep"] : tensor<3x6xf32> -> tensor<12x6xf32>
    %c = dist.all_gather %b dim 0 over ["ep"] : tensor<3x6xf32> -> tensor<12x6xf32>
    // CHECK: dist.split %{{.*}} dim 1 over ["tp"] : tensor<12x6xf32> -> tensor<12x2xf32>
    %d = dist.split %c dim 1 over ["tp"] : tensor<12x6xf32> -> tensor<12x2xf32>
    // CHECK: dist.axis_index over ["tp"] : tensor<i64>
    %i = dist.axis_index over ["tp"] : tensor<i64>
    return %c : tensor<12x6xf32>
  }

  // CHECK-LABEL: @experts_of
  func.func @experts_of(%ids: tensor<20x2xi64>, %x: tensor<20x32xf32>) -> tensor<40x32xf32> {
    // CHECK: pipe.read @experts : tensor<2x32x32xf32>
    %w = pipe.read @experts : tensor<2x32x32xf32>
    %r = nn.route %ids : tensor<20x2xi64> -> <tokens = 20, k = 2, experts = 8>
    // CHECK: dist.exchange %{{.*}} over ["ep"] : <tokens = 20, k = 2, experts = 8> -> <tokens = 160, k = 1, experts = 2>, <["ep"], sent = 40, received = 160>
    %local, %e = dist.exchange %r over ["ep"]
      : <tokens = 20, k = 2, experts = 8> -> <tokens = 160, k = 1, experts = 2>, <["ep"], sent = 40, received = 160>
    %rows = nn.dispatch %x, %r : tensor<20x32xf32>, <tokens = 20, k = 2, experts = 8> -> tensor<40x32xf32>
    // CHECK: dist.all_to_all_rows %{{.*}}, %{{.*}} : tensor<40x32xf32>, <["ep"], sent = 40, received = 160> -> tensor<160x32xf32>
    %come = dist.all_to_all_rows %rows, %e : tensor<40x32xf32>, <["ep"], sent = 40, received = 160> -> tensor<160x32xf32>
    // CHECK: dist.all_to_all_rows %{{.*}}, %{{.*}} back : tensor<160x32xf32>, <["ep"], sent = 40, received = 160> -> tensor<40x32xf32>
    %home = dist.all_to_all_rows %come, %e back : tensor<160x32xf32>, <["ep"], sent = 40, received = 160> -> tensor<40x32xf32>
    // CHECK: dist.all_to_all_rows %{{.*}}, %{{.*}} back parts 2 : tensor<160x32xf32>
    %again = dist.all_to_all_rows %come, %e back parts 2 : tensor<160x32xf32>, <["ep"], sent = 40, received = 160> -> tensor<40x32xf32>
    return %home : tensor<40x32xf32>
  }

  // CHECK: pipe.reduce_grads [@experts] over ["dp"]
  func.func @reduce_gradients() {
    pipe.reduce_grads [@experts] over ["dp"]
    return
  }
}
