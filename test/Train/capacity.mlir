// RUN: moire-opt %s --split-input-file --train-capacity="factor=1.5 order=gshard" --verify-diagnostics | FileCheck %s
// RUN: moire-opt %s --split-input-file --train-capacity="factor=1.5 order=switch" | FileCheck %s --check-prefix=SWITCH

// Both routes of one choice leave the same pairs out; other readers of the ids see them all.
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<6x4xf32>, %z: tensor<12x4xf32>) -> (tensor<6x4xf32>, tensor<6x4xf32>) {
  // CHECK: %[[P:.*]], %[[IDS:.*]] = nn.router
  %p, %ids = nn.router sigmoid %x k 2 : tensor<6x4xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
  // CHECK: %[[C:.*]] = nn.choice_counts %[[IDS]] : tensor<6x2xi64> -> tensor<2x4xf32>
  // CHECK: %[[ZERO:.*]] = arith.constant dense<0> : tensor<i64>
  // CHECK: %[[ALL:.*]] = nn.reshape %[[C]] : tensor<2x4xf32> -> tensor<1x2x4xf32>
  // CHECK: %[[KEPT:.*]] = nn.capacity %[[IDS]] counts %[[ALL]] at %[[ZERO]] factor 1.500000e+00 choices_first
  // SWITCH: nn.capacity {{.*}} factor 1.500000e+00 : tensor<6x2xi64>
  // CHECK: nn.route %[[KEPT]] : tensor<6x2xi64>
  %r = nn.route %ids : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 4>
  %rows = nn.dispatch %x, %r : tensor<6x4xf32>, <tokens = 6, k = 2, experts = 4> -> tensor<12x4xf32>
  %pairs = nn.reshape %ids : tensor<6x2xi64> -> tensor<12x1xi64>
  // CHECK: %[[FLAT:.*]] = nn.reshape %[[KEPT]] : tensor<6x2xi64> -> tensor<12x1xi64>
  // CHECK: nn.route %[[FLAT]] : tensor<12x1xi64>
  %r2 = nn.route %pairs : tensor<12x1xi64> -> <tokens = 12, k = 1, experts = 4>
  %other = nn.dispatch %z, %r2 : tensor<12x4xf32>, <tokens = 12, k = 1, experts = 4> -> tensor<12x4xf32>
  %sum = arith.addf %rows, %other : tensor<12x4xf32>
  %y = nn.combine %sum weights %p, %r : tensor<12x4xf32>, tensor<6x2xf32>, <tokens = 6, k = 2, experts = 4> -> tensor<6x4xf32>
  // CHECK: nn.router_grad sigmoid %{{.*}}, %[[IDS]],
  %dl = nn.router_grad sigmoid %x, %ids, %p : tensor<6x4xf32>, tensor<6x2xi64>, tensor<6x2xf32>
  return %y, %dl : tensor<6x4xf32>, tensor<6x4xf32>
}
