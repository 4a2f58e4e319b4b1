// What belongs to a whole micro-batch is summed over the ranks that hold its parts, or computed
// where it is known; nothing is done over tp, whose ranks hold the same.
// RUN: moire-opt %s --distribute-batch | FileCheck %s

// CHECK-LABEL: func.func @micro_step
module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 4, tp = 2>} {
  func.func @micro_step(%load: tensor<8xf32>, %ids: tensor<6x2xi64>) -> (tensor<8xf32>, tensor<f32>, tensor<6x2xi64>) {
    // CHECK: %[[SUM:.*]] = dist.all_reduce %arg0 over ["dp", "ep"] : tensor<8xf32>
    %0 = nn.batch_sum %load : tensor<8xf32>
    // CHECK: %[[T:.*]] = arith.constant dense<4.800000e+01> : tensor<f32>
    %six = arith.constant dense<6.0> : tensor<f32>
    %1 = nn.batch_sum %six : tensor<f32>
    // CHECK: %[[OWN:.*]] = nn.reshape
    %c = nn.choice_counts %ids : tensor<6x2xi64> -> tensor<2x8xf32>
    %own = nn.reshape %c : tensor<2x8xf32> -> tensor<1x2x8xf32>
    %zero = arith.constant dense<0> : tensor<i64>
    // CHECK: %[[ALL:.*]] = dist.all_gather %[[OWN]] dim 0 over ["dp", "ep"] : tensor<1x2x8xf32> -> tensor<8x2x8xf32>
    // CHECK: %[[SHARD:.*]] = dist.axis_index over ["dp", "ep"] : tensor<i64>
    // CHECK: %[[KEPT:.*]] = nn.capacity %arg1 counts %[[ALL]] at %[[SHARD]] factor 1.250000e+00 choices_first
    %2 = nn.capacity %ids counts %own at %zero factor 1.25 choices_first : tensor<6x2xi64>, tensor<1x2x8xf32>, tensor<i64>
    // CHECK: return %[[SUM]], %[[T]], %[[KEPT]]
    return %0, %1, %2 : tensor<8xf32>, tensor<f32>, tensor<6x2xi64>
  }
}
