// RUN: moire-opt %s --async-collectives --verify-queues | FileCheck %s

module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 2>} {
  // CHECK-LABEL: @micro_step
  func.func @micro_step(%x: tensor<6x4xf32>, %ids: tensor<6x2xi64>) -> tensor<f32> {
    %y = arith.addf %x, %x : tensor<6x4xf32>
    // The exchange begins where the routing is there, the sum where %y is.
    // CHECK: %[[Y:.*]] = arith.addf
    // CHECK-NEXT: %[[SUM:.*]] = dist.async {
    // CHECK-NEXT: dist.all_reduce %[[Y]]
    // CHECK: nn.route
    // CHECK-NEXT: %[[COUNTS:.*]]:2 = dist.async {
    // CHECK-NEXT: dist.exchange
    // CHECK: %[[ROWS:.*]] = nn.dispatch
    %r = nn.route %ids : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 4>
    %rows = nn.dispatch %y, %r : tensor<6x4xf32>, <tokens = 6, k = 2, experts = 4> -> tensor<12x4xf32>
    // What reads a value waits for it.
    // CHECK-NEXT: %[[E:.*]]:2 = dist.wait %[[COUNTS]]#0, %[[COUNTS]]#1
    // CHECK-NEXT: %[[COME:.*]] = dist.async {
    // CHECK-NEXT: dist.all_to_all_rows %[[ROWS]], %[[E]]#1 :
    %local, %e = dist.exchange %r over ["ep"] : <tokens = 6, k = 2, experts = 4> -> <tokens = 24, k = 1, experts = 2>, <["ep"], sent = 12, received = 24>
    %come = dist.all_to_all_rows %rows, %e : tensor<12x4xf32>, <["ep"], sent = 12, received = 24> -> tensor<24x4xf32>
    %sum = dist.all_reduce %y over ["dp"] : tensor<6x4xf32>
    // CHECK: %[[SHARED:.*]] = nn.reduce sum %arg0
    %shared = nn.reduce sum %x [0, 1] : tensor<6x4xf32> -> tensor<f32>
    // CHECK-NEXT: dist.wait %[[COME]]
    // CHECK-NEXT: nn.reduce
    %a = nn.reduce sum %come [0, 1] : tensor<24x4xf32> -> tensor<f32>
    // CHECK-NEXT: dist.wait %[[SUM]]
    // CHECK-NEXT: nn.reduce
    %b = nn.reduce sum %sum [0, 1] : tensor<6x4xf32> -> tensor<f32>
    %ab = arith.addf %a, %b : tensor<f32>
    %loss = arith.addf %ab, %shared : tensor<f32>
    return %loss : tensor<f32>
  }
}
