// RUN: moire-opt %s --split-input-file --train-router-bias="rate=0.25" --verify-diagnostics | FileCheck %s

// CHECK: pipe.parameter @bias : tensor<4xf32> from
pipe.parameter @bias : tensor<4xf32> frozen from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<6x4xf32>) -> tensor<6x2xf32> {
  %b = pipe.read @bias : tensor<4xf32>
  // CHECK: %{{.*}}, %[[IDS:.*]] = nn.router
  %p, %ids = nn.router sigmoid %x bias %b k 2 : tensor<6x4xf32>, tensor<4xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
  // 4 experts * load - 12 pairs.
  // CHECK: %[[C:.*]] = nn.choice_counts %[[IDS]] : tensor<6x2xi64> -> tensor<2x4xf32>
  // CHECK: %[[LOAD:.*]] = nn.reduce sum %[[C]] [0]
  // CHECK: %[[FOUR:.*]] = arith.constant dense<4.000000e+00> : tensor<4xf32>
  // CHECK: %[[M:.*]] = arith.mulf %[[LOAD]], %[[FOUR]]
  // CHECK: %[[TWELVE:.*]] = arith.constant dense<1.200000e+01> : tensor<4xf32>
  // CHECK: %[[EXCESS:.*]] = arith.subf %[[M]], %[[TWELVE]]
  // CHECK: pipe.accumulate @bias, %[[EXCESS]] : tensor<4xf32>
  return %p : tensor<6x2xf32>
}
// CHECK-LABEL: func.func @optimizer_step
func.func @optimizer_step() {
  // CHECK-NEXT: pipe.balance @bias rate 2.500000e-01
  return
}

// -----

// The same of a choice among groups.
pipe.parameter @bias : tensor<4xf32> frozen from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<6x4xf32>, %keep: tensor<6x4xi1>) -> tensor<6x2xf32> {
  %zero = arith.constant dense<0.0> : tensor<6x4xf32>
  %b = pipe.read @bias : tensor<4xf32>
  %s = nn.sigmoid %x : tensor<6x4xf32>
  %row = nn.broadcast %b [1] : tensor<4xf32> -> tensor<6x4xf32>
  %biased = arith.addf %s, %row : tensor<6x4xf32>
  %of = arith.select %keep, %biased, %zero : tensor<6x4xi1>, tensor<6x4xf32>
  // CHECK: %{{.*}}, %[[IDS:.*]] = nn.top_k
  // CHECK: nn.choice_counts %[[IDS]]
  // CHECK: pipe.accumulate @bias,
  %v, %ids = nn.top_k %of k 2 : tensor<6x4xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
  %w = nn.gather_elements %s[%ids] axis 1 : tensor<6x4xf32>, tensor<6x2xi64> -> tensor<6x2xf32>
  %r = nn.route %ids : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 4>
  return %w : tensor<6x2xf32>
}
// CHECK: pipe.balance @bias rate 2.500000e-01
func.func @optimizer_step() {
  return
}

// -----

// expected-error @+1 {{--router-bias-rate moves the biases that routers add to scores for the choice alone, and no router of the model has one; leave it out}}
module {
  func.func @micro_step(%x: tensor<6x4xf32>) -> tensor<6x2xf32> {
    %p, %ids = nn.router sigmoid %x k 2 : tensor<6x4xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
    return %p : tensor<6x2xf32>
  }
  func.func @optimizer_step() {
    return
  }
}

// -----

func.func @micro_step(%x: tensor<6x4xf32>, %y: tensor<4xf32>) -> tensor<6x2xf32> {
  %b = arith.addf %y, %y : tensor<4xf32>
  // expected-error @+1 {{--router-bias-rate needs a bias that is a parameter of the file, and this router's is computed; leave it out}}
  %p, %ids = nn.router sigmoid %x bias %b k 2 : tensor<6x4xf32>, tensor<4xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
  return %p : tensor<6x2xf32>
}
func.func @optimizer_step() {
  return
}

// -----

pipe.parameter @bias : tensor<4xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
func.func @micro_step(%x: tensor<6x4xf32>) -> tensor<6x2xf32> {
  %b = pipe.read @bias : tensor<4xf32>
  // expected-error @+1 {{the bias @bias has a gradient or belongs to two routers, so --router-bias-rate cannot move it; leave it out}}
  %p, %ids = nn.router sigmoid %x bias %b k 2 : tensor<6x4xf32>, tensor<4xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
  pipe.accumulate @bias, %b : tensor<4xf32>
  return %p : tensor<6x2xf32>
}
func.func @optimizer_step() {
  return
}
