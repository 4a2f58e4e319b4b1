// RUN: moire-opt %s --split-input-file --train-autodiff | FileCheck %s

// A linear layer on frozen data: the input's cotangent is not computed, the
// gradient is accumulated as soon as it is whole.
pipe.parameter @w : tensor<4x3xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
pipe.parameter @frozen : tensor<2x4xf32> frozen from [#pipe.source<"x", "", 0, 0, f32, same, 0>]
// CHECK-LABEL: func.func @micro_step
func.func @micro_step() -> tensor<f32> {
  // CHECK: %[[W:.*]] = pipe.read @w
  %w = pipe.read @w : tensor<4x3xf32>
  // CHECK: %[[X:.*]] = pipe.read @frozen
  %x = pipe.read @frozen : tensor<2x4xf32>
  // CHECK: nn.matmul %[[X]], %[[W]]
  %y = nn.matmul %x, %w : tensor<2x4xf32>, tensor<4x3xf32> -> tensor<2x3xf32>
  // CHECK: %[[LOSS:.*]] = nn.reduce sum
  %loss = nn.reduce sum %y [0, 1] : tensor<2x3xf32> -> tensor<f32>
  // CHECK-NEXT: %[[ONE:.*]] = arith.constant dense<1.000000e+00> : tensor<f32>
  // CHECK-NEXT: %[[DY:.*]] = nn.broadcast %[[ONE]]
  // CHECK-NEXT: %[[DW:.*]] = nn.matmul %[[X]], %[[DY]] {transpose_lhs}
  // CHECK-NEXT: pipe.accumulate @w, %[[DW]] : tensor<4x3xf32>
  // CHECK-NEXT: return %[[LOSS]]
  return %loss : tensor<f32>
}

// -----

// Two uses: two shares, added where the second arrives; one accumulation.
pipe.parameter @w : tensor<4xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<4xf32>) -> tensor<f32> {
  %w = pipe.read @w : tensor<4xf32>
  %v = pipe.read @w : tensor<4xf32>
  %a = arith.mulf %x, %w : tensor<4xf32>
  %b = arith.mulf %a, %v : tensor<4xf32>
  %loss = nn.reduce sum %b [0] : tensor<4xf32> -> tensor<f32>
  // CHECK: %[[DB:.*]] = nn.broadcast
  // CHECK: %[[DA:.*]] = arith.mulf %[[DB]], %[[W:.*]] :
  // CHECK: %[[FIRST:.*]] = arith.mulf %[[DB]], %[[A:.*]] :
  // CHECK: %[[SECOND:.*]] = arith.mulf %[[DA]], %arg0
  // CHECK: %[[SUM:.*]] = arith.addf %[[FIRST]], %[[SECOND]]
  // CHECK: pipe.accumulate @w, %[[SUM]]
  // CHECK-NOT: pipe.accumulate
  return %loss : tensor<f32>
}

// -----

// The stored copy of a parameter stands at the top. Its adjoint does not wait
// until the walk arrives there: @late is whole before @early's gradient begins.
pipe.parameter @early : tensor<4x4xf32> from [#pipe.source<"e", "", 0, 0, f32, same, 0>]
pipe.parameter @late : tensor<4x4xf32> from [#pipe.source<"l", "", 0, 0, f32, same, 0>]
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<2x4xf32>) -> tensor<f32> {
  %l = pipe.read @late : tensor<4x4xf32>
  %lt = nn.transpose %l [1, 0] : tensor<4x4xf32> -> tensor<4x4xf32>
  %e = pipe.read @early : tensor<4x4xf32>
  %y = nn.matmul %x, %e : tensor<2x4xf32>, tensor<4x4xf32> -> tensor<2x4xf32>
  %z = nn.matmul %y, %lt : tensor<2x4xf32>, tensor<4x4xf32> -> tensor<2x4xf32>
  %loss = nn.reduce sum %z [0, 1] : tensor<2x4xf32> -> tensor<f32>
  // CHECK: pipe.accumulate @late
  // CHECK-NEXT: nn.matmul %arg0
  // CHECK-NEXT: pipe.accumulate @early
  return %loss : tensor<f32>
}

// -----

// A floor is flat: nothing before it gets a gradient, and no zeros are built.
pipe.parameter @w : tensor<4xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
pipe.parameter @v : tensor<4xf32> from [#pipe.source<"v", "", 0, 0, f32, same, 0>]
// CHECK-LABEL: func.func @micro_step
func.func @micro_step() -> tensor<f32> {
  %w = pipe.read @w : tensor<4xf32>
  %v = pipe.read @v : tensor<4xf32>
  %f = math.floor %w : tensor<4xf32>
  %y = arith.addf %f, %v : tensor<4xf32>
  %loss = nn.reduce sum %y [0] : tensor<4xf32> -> tensor<f32>
  // CHECK: %[[DY:.*]] = nn.broadcast
  // CHECK-NEXT: pipe.accumulate @v, %[[DY]]
  // CHECK-NEXT: return
  return %loss : tensor<f32>
}

// -----

// The parameter's gradient is the product's f32 sum; what goes on to %x is rounded
// and widened again, and two such shares are added in f32.
pipe.parameter @w : tensor<4x3xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
pipe.parameter @x : tensor<2x4xf32> from [#pipe.source<"x", "", 0, 0, f32, same, 0>]
// CHECK-LABEL: func.func @micro_step
func.func @micro_step() -> tensor<f32> {
  %w = pipe.read @w : tensor<4x3xf32>
  %wb = arith.truncf %w : tensor<4x3xf32> to tensor<4x3xbf16>
  %x = pipe.read @x : tensor<2x4xf32>
  %e = math.exp %x : tensor<2x4xf32>
  %eb = arith.truncf %e : tensor<2x4xf32> to tensor<2x4xbf16>
  %y = nn.matmul %eb, %wb : tensor<2x4xbf16>, tensor<4x3xbf16> -> tensor<2x3xf32>
  %loss = nn.reduce sum %y [0, 1] : tensor<2x3xf32> -> tensor<f32>
  // CHECK: %[[DY:.*]] = arith.truncf %{{.*}} : tensor<2x3xf32> to tensor<2x3xbf16>
  // CHECK: %[[DE:.*]] = nn.matmul %[[DY]], %{{.*}} {transpose_rhs} : tensor<2x3xbf16>, tensor<4x3xbf16> -> tensor<2x4xf32>
  // CHECK: %[[DEB:.*]] = arith.truncf %[[DE]]
  // CHECK: %[[DW:.*]] = nn.matmul %{{.*}}, %[[DY]] {transpose_lhs} : tensor<2x4xbf16>, tensor<2x3xbf16> -> tensor<4x3xf32>
  // CHECK: %[[DEF:.*]] = arith.extf %[[DEB]] : tensor<2x4xbf16> to tensor<2x4xf32>
  // CHECK: arith.mulf %[[DEF]], %{{.*}} : tensor<2x4xf32>
  // CHECK: pipe.accumulate @w, %[[DW]] : tensor<4x3xf32>
  return %loss : tensor<f32>
}

// -----

pipe.parameter @x : tensor<2x4xf32> from [#pipe.source<"x", "", 0, 0, f32, same, 0>]
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%a: tensor<4x3xbf16>, %b: tensor<4x3xbf16>) -> tensor<f32> {
  %x = pipe.read @x : tensor<2x4xf32>
  %e = math.exp %x : tensor<2x4xf32>
  %eb = arith.truncf %e : tensor<2x4xf32> to tensor<2x4xbf16>
  %y = nn.matmul %eb, %a : tensor<2x4xbf16>, tensor<4x3xbf16> -> tensor<2x3xf32>
  %z = nn.matmul %eb, %b : tensor<2x4xbf16>, tensor<4x3xbf16> -> tensor<2x3xf32>
  %s = arith.addf %y, %z : tensor<2x3xf32>
  %loss = nn.reduce sum %s [0, 1] : tensor<2x3xf32> -> tensor<f32>
  // CHECK: %[[DZ:.*]] = nn.matmul %{{.*}}, %arg1 {transpose_rhs} : {{.*}} -> tensor<2x4xf32>
  // CHECK: %[[DY:.*]] = nn.matmul %{{.*}}, %arg0 {transpose_rhs} : {{.*}} -> tensor<2x4xf32>
  // CHECK: %[[SUM:.*]] = arith.addf %[[DZ]], %[[DY]] : tensor<2x4xf32>
  // CHECK: arith.mulf %[[SUM]], %{{.*}} : tensor<2x4xf32>
  return %loss : tensor<f32>
}
