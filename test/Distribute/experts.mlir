// Weights are cut by experts; rows go out after dispatch and come back before combine; the
// counts of one routing are exchanged once for forward and backward.
// RUN: moire-opt %s --distribute-experts --cse | FileCheck %s

// CHECK: pipe.parameter @w : tensor<8x16x4xf32> {{.*}} sharding <{{\[}}["ep"], [], []]>
// CHECK: pipe.parameter @bias : tensor<8x16xf32> {{.*}} sharding <{{\[}}["ep"], []]>
// CHECK: pipe.parameter @router : tensor<8x4xf32> from {{.*}} same, 0>]{{$}}
module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 4>} {
  pipe.parameter @w : tensor<8x16x4xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
  pipe.parameter @bias : tensor<8x16xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  pipe.parameter @router : tensor<8x4xf32> from [#pipe.source<"r", "", 0, 0, f32, same, 0>]

  // CHECK-LABEL: @micro_step
  func.func @micro_step(%x: tensor<6x4xf32>, %ids: tensor<6x3xi64>, %k: tensor<6x3xf32>) -> tensor<6x8xf32> {
    %one = arith.constant dense<1.0> : tensor<18x8xf32>
    // CHECK: %[[W:.*]] = pipe.read @w : tensor<2x16x4xf32>
    %w = pipe.read @w : tensor<8x16x4xf32>
    // CHECK: %[[B:.*]] = pipe.read @bias : tensor<2x16xf32>
    %bias = pipe.read @bias : tensor<8x16xf32>
    // Six tokens of each of four ranks, each with at most two of a rank's experts.
    // CHECK: %[[R:.*]] = nn.route
    // CHECK: %[[L:.*]], %[[X:.*]] = dist.exchange %[[R]] over ["ep"] : <tokens = 6, k = 3, experts = 8> -> <tokens = 48, k = 1, experts = 2>, <["ep"], sent = 18, received = 48>
    %r = nn.route %ids : tensor<6x3xi64> -> <tokens = 6, k = 3, experts = 8>
    // CHECK: %[[ROWS:.*]] = nn.dispatch %{{.*}}, %[[R]]
    // CHECK: %[[COME:.*]] = dist.all_to_all_rows %[[ROWS]], %[[X]] :
    %rows = nn.dispatch %x, %r : tensor<6x4xf32>, <tokens = 6, k = 3, experts = 8> -> tensor<18x4xf32>
    // CHECK: nn.grouped_matmul %[[COME]], %[[W]], %[[L]] {transpose_weight} : tensor<48x4xf32>, tensor<2x16x4xf32>
    %h = nn.grouped_matmul %rows, %w, %r {transpose_weight} : tensor<18x4xf32>, tensor<8x16x4xf32>, <tokens = 6, k = 3, experts = 8> -> tensor<18x16xf32>
    // CHECK: nn.per_expert %[[B]], %[[L]] {{.*}} -> tensor<48x16xf32>
    %b = nn.per_expert %bias, %r : tensor<8x16xf32>, <tokens = 6, k = 3, experts = 8> -> tensor<18x16xf32>
    %s = arith.addf %h, %b : tensor<18x16xf32>
    // CHECK: nn.slice %{{.*}} starts [0, 0] limits [48, 8]
    %gate = nn.slice %s starts [0, 0] limits [18, 8] strides [1, 1] : tensor<18x16xf32> -> tensor<18x8xf32>
    // CHECK: arith.addf %{{.*}} : tensor<48x8xf32>
    %y = arith.addf %gate, %one : tensor<18x8xf32>
    // CHECK: %[[HOME:.*]] = dist.all_to_all_rows %{{.*}}, %[[X]] back :
    // CHECK: nn.combine %[[HOME]] weights %{{.*}}, %[[R]]
    %out = nn.combine %y weights %k, %r : tensor<18x8xf32>, tensor<6x3xf32>, <tokens = 6, k = 3, experts = 8> -> tensor<6x8xf32>
    // What was brought back is read where it was computed, too.
    // CHECK: math.exp %{{.*}} : tensor<48x8xf32>
    %again = math.exp %y : tensor<18x8xf32>
    // The cotangent of the rows goes out, what the weights' cotangent reads is at home already.
    // CHECK: %[[D:.*]], %{{.*}} = nn.combine_grad %[[HOME]],
    // CHECK: dist.all_to_all_rows %[[D]], %[[X]] :
    // CHECK-NOT: dist.exchange
    %dy, %dk = nn.combine_grad %y, %k, %out, %r : tensor<18x8xf32>, tensor<6x3xf32>, tensor<6x8xf32>, <tokens = 6, k = 3, experts = 8> -> tensor<18x8xf32>, tensor<6x3xf32>
    %ds = nn.concat %dy, %again dim 1 : tensor<18x8xf32>, tensor<18x8xf32> -> tensor<18x16xf32>
    // CHECK: %[[DB:.*]] = nn.per_expert_sum %{{.*}}, %[[L]] {{.*}} -> tensor<2x16xf32>
    %db = nn.per_expert_sum %ds, %r : tensor<18x16xf32>, <tokens = 6, k = 3, experts = 8> -> tensor<8x16xf32>
    // CHECK: pipe.accumulate @bias, %[[DB]] : tensor<2x16xf32>
    pipe.accumulate @bias, %db : tensor<8x16xf32>
    return %out : tensor<6x8xf32>
  }
}
