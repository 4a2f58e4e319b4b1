// RUN: moire-opt %s --split-input-file --train-loss="aux-loss=0.5 z-loss=0.25" --verify-diagnostics | FileCheck %s

// Sums over the micro-batch's tokens wherever they lie; the mean loss of one micro-batch counts
// as much as its labels do.
// CHECK-LABEL: func.func @micro_step
func.func @forward(%x: tensor<6x8xf32> {onnx.name = "x"}, %w: tensor<8x4xf32>) -> tensor<6x4xf32> {
  // CHECK: %[[L:.*]] = nn.matmul
  %l = nn.matmul %x, %w : tensor<6x8xf32>, tensor<8x4xf32> -> tensor<6x4xf32>
  // CHECK: %{{.*}}, %[[IDS:.*]] = nn.router softmax_selected %[[L]]
  %p, %ids = nn.router softmax_selected %l k 2 : tensor<6x4xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
  %r = nn.route %ids : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 4>
  %rows = nn.dispatch %l, %r : tensor<6x4xf32>, <tokens = 6, k = 2, experts = 4> -> tensor<12x4xf32>
  %y = nn.combine %rows weights %p, %r : tensor<12x4xf32>, tensor<6x2xf32>, <tokens = 6, k = 2, experts = 4> -> tensor<6x4xf32>
  // CHECK: %[[COUNTED:.*]] = nn.reduce sum %{{.*}} [0] : tensor<6xf32> -> tensor<f32>
  // CHECK: %[[CE:.*]] = arith.mulf %{{.*}}, %[[SCALE:.*]] : tensor<f32>
  // CHECK: %[[N:.*]] = nn.batch_sum %[[COUNTED]] : tensor<f32>
  // CHECK: %[[SIX:.*]] = arith.constant dense<6.000000e+00>
  // CHECK: %[[T:.*]] = nn.batch_sum %[[SIX]] : tensor<f32>
  // CHECK: %[[COUNTS:.*]] = nn.choice_counts %[[IDS]] : tensor<6x2xi64> -> tensor<2x4xf32>
  // CHECK: %[[OWN:.*]] = nn.reduce sum %[[COUNTS]] [0]
  // CHECK: %[[LOAD:.*]] = nn.batch_sum %[[OWN]] : tensor<4xf32>
  // CHECK: %[[P:.*]] = nn.softmax %[[L]]
  // CHECK: %[[SHARE:.*]] = nn.reduce sum %[[P]] [0]
  // CHECK: arith.mulf %[[LOAD]], %[[SHARE]]
  // 0.5 * E / k
  // CHECK: dense<1.000000e+00> : tensor<f32>
  // CHECK: %[[LSE:.*]] = nn.log_sum_exp %[[L]] : tensor<6x4xf32> -> tensor<6xf32>
  // CHECK: arith.mulf %[[LSE]], %[[LSE]]
  // CHECK: dense<2.500000e-01> : tensor<f32>
  // CHECK: %[[TERMS:.*]] = arith.addf
  // CHECK: %[[WEIGHT:.*]] = arith.mulf %[[N]], %[[SCALE]] : tensor<f32>
  // CHECK: %[[ALL:.*]] = arith.mulf %[[TERMS]], %[[WEIGHT]]
  // CHECK: %[[LOSS:.*]] = arith.addf %[[CE]], %[[ALL]]
  // CHECK: return %[[LOSS]]
  return %y : tensor<6x4xf32>
}

// -----

// Scores that are sigmoids count by their share of the sum.
// CHECK-LABEL: func.func @micro_step
func.func @forward(%x: tensor<6x4xf32> {onnx.name = "x"}) -> tensor<6x2xf32> {
  %p, %ids = nn.router sigmoid %x k 2 : tensor<6x4xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
  // CHECK: %[[S:.*]] = nn.sigmoid %{{.*}} : tensor<6x4xf32>
  // CHECK: %[[SUM:.*]] = nn.reduce sum %[[S]] [1]
  // CHECK: %[[WIDE:.*]] = nn.broadcast %[[SUM]] [0]
  // CHECK: arith.divf %[[S]], %[[WIDE]]
  return %p : tensor<6x2xf32>
}

// -----

// A choice among groups is no nn.router; its scores are where its weights are looked up.
// CHECK-LABEL: func.func @micro_step
func.func @forward(%x: tensor<6x4xf32> {onnx.name = "x"}, %keep: tensor<6x4xi1> {onnx.name = "keep"}) -> tensor<6x2xf32> {
  %zero = arith.constant dense<0.0> : tensor<6x4xf32>
  // CHECK: %[[S:.*]] = nn.sigmoid
  %s = nn.sigmoid %x : tensor<6x4xf32>
  %of = arith.select %keep, %s, %zero : tensor<6x4xi1>, tensor<6x4xf32>
  // CHECK: %{{.*}}, %[[IDS:.*]] = nn.top_k
  %v, %ids = nn.top_k %of k 2 : tensor<6x4xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
  %w = nn.gather_elements %s[%ids] axis 1 : tensor<6x4xf32>, tensor<6x2xi64> -> tensor<6x2xf32>
  %r = nn.route %ids : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 4>
  // CHECK: nn.choice_counts %[[IDS]]
  // CHECK: %[[AGAIN:.*]] = nn.sigmoid %arg0
  // CHECK: nn.reduce sum %[[AGAIN]] [1]
  // CHECK: nn.log_sum_exp %arg0
  return %w : tensor<6x2xf32>
}

// -----

// expected-error @+1 {{--aux-loss is for mixtures of experts, and the model has no router; leave --aux-loss out}}
func.func @forward(%x: tensor<6x4xf32> {onnx.name = "x"}) -> tensor<6x4xf32> {
  return %x : tensor<6x4xf32>
}

// -----

func.func @forward(%x: tensor<6x4xf32> {onnx.name = "x"}) -> tensor<6x4xf32> {
  %v, %ids = nn.top_k %x k 2 : tensor<6x4xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
  // expected-error @+1 {{--aux-loss needs every router's scores, but the choice of experts here is not recognised as a router's; leave --aux-loss out}}
  %r = nn.route %ids : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 4>
  %rows = nn.dispatch %x, %r : tensor<6x4xf32>, <tokens = 6, k = 2, experts = 4> -> tensor<12x4xf32>
  %y = nn.combine %rows weights %v, %r : tensor<12x4xf32>, tensor<6x2xf32>, <tokens = 6, k = 2, experts = 4> -> tensor<6x4xf32>
  return %y : tensor<6x4xf32>
}
