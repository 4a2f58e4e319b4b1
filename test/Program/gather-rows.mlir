// RUN: moire-opt %s -pass-pipeline='builtin.module(func.func(gather-rows))' | FileCheck %s

!routing = !nn.routing<tokens = 20, k = 2, experts = 8>

// A layer's experts and their weights' gradients, for a weight of either layout: all of
// them read the tokens.
// CHECK-LABEL: func.func @products
// CHECK-SAME: (%[[X:[^:]*]]: tensor<20x32xf32>
func.func @products(%x: tensor<20x32xf32>, %ids: tensor<20x2xi64>, %w: tensor<8x32x48xf32>,
                    %v: tensor<8x48x32xf32>, %dy: tensor<40x48xf32>)
    -> (tensor<40x48xf32>, tensor<40x48xf32>, tensor<8x32x48xf32>, tensor<8x48x32xf32>) {
  // CHECK-NOT: nn.dispatch
  %r = nn.route %ids : tensor<20x2xi64> -> !routing
  %rows = nn.dispatch %x, %r : tensor<20x32xf32>, !routing -> tensor<40x32xf32>
  // CHECK: nn.grouped_matmul %[[X]], %{{.*}}, %{{.*}} {{[{]gather_rows[}]}} :
  %0 = nn.grouped_matmul %rows, %w, %r : tensor<40x32xf32>, tensor<8x32x48xf32>, !routing -> tensor<40x48xf32>
  // CHECK: nn.grouped_matmul %[[X]], %{{.*}}, %{{.*}} {{[{]gather_rows, transpose_weight[}]}} :
  %1 = nn.grouped_matmul %rows, %v, %r {transpose_weight} : tensor<40x32xf32>, tensor<8x48x32xf32>, !routing -> tensor<40x48xf32>
  // CHECK: nn.grouped_matmul_grad_weight %[[X]], %[[DY:.*]], %{{.*}} {{[{]gather_lhs[}]}} :
  %2 = nn.grouped_matmul_grad_weight %rows, %dy, %r : tensor<40x32xf32>, tensor<40x48xf32>, !routing -> tensor<8x32x48xf32>
  // CHECK: nn.grouped_matmul_grad_weight %[[DY]], %[[X]], %{{.*}} {{[{]gather_rhs[}]}} :
  %3 = nn.grouped_matmul_grad_weight %dy, %rows, %r : tensor<40x48xf32>, tensor<40x32xf32>, !routing -> tensor<8x48x32xf32>
  return %0, %1, %2, %3 : tensor<40x48xf32>, tensor<40x48xf32>, tensor<8x32x48xf32>, tensor<8x48x32xf32>
}

// Rows that something else reads, here the caller, are there anyway.
// CHECK-LABEL: func.func @read
func.func @read(%x: tensor<20x32xf32>, %ids: tensor<20x2xi64>, %w: tensor<8x32x48xf32>)
    -> (tensor<40x48xf32>, tensor<40x32xf32>) {
  %r = nn.route %ids : tensor<20x2xi64> -> !routing
  // CHECK: %[[ROWS:.*]] = nn.dispatch
  %rows = nn.dispatch %x, %r : tensor<20x32xf32>, !routing -> tensor<40x32xf32>
  // CHECK: nn.grouped_matmul %[[ROWS]], %{{.*}}, %{{[^ ]*}} :
  %0 = nn.grouped_matmul %rows, %w, %r : tensor<40x32xf32>, tensor<8x32x48xf32>, !routing -> tensor<40x48xf32>
  return %0, %rows : tensor<40x48xf32>, tensor<40x32xf32>
}

// By another routing they are other rows; and of two sides that could both be gathered
// neither is.
// CHECK-LABEL: func.func @others
func.func @others(%x: tensor<20x32xf32>, %ids: tensor<20x2xi64>, %more: tensor<20x2xi64>,
                  %w: tensor<8x32x48xf32>) -> (tensor<40x48xf32>, tensor<8x32x32xf32>) {
  %r = nn.route %ids : tensor<20x2xi64> -> !routing
  %s = nn.route %more : tensor<20x2xi64> -> !routing
  // CHECK-COUNT-3: nn.dispatch
  %rows = nn.dispatch %x, %r : tensor<20x32xf32>, !routing -> tensor<40x32xf32>
  %a = nn.dispatch %x, %s : tensor<20x32xf32>, !routing -> tensor<40x32xf32>
  %b = nn.dispatch %x, %s : tensor<20x32xf32>, !routing -> tensor<40x32xf32>
  // CHECK-NOT: gather
  %0 = nn.grouped_matmul %rows, %w, %s : tensor<40x32xf32>, tensor<8x32x48xf32>, !routing -> tensor<40x48xf32>
  %1 = nn.grouped_matmul_grad_weight %a, %b, %s : tensor<40x32xf32>, tensor<40x32xf32>, !routing -> tensor<8x32x32xf32>
  return %0, %1 : tensor<40x48xf32>, tensor<8x32x32xf32>
}
