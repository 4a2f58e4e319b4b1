// RUN: moire-opt %s --cut-stages="stages=2 rates=flops=0.001,overhead=0" | FileCheck %s
// RUN: moire-opt %s --cut-stages="stages=2 rates=flops=0.001,overhead=0" --pipe-schedule="kind=zb-h1 microbatches=2" --sum-copies | FileCheck %s --check-prefix=COPIES
// RUN: moire-opt %s --cut-stages="stages=2 rates=flops=0.001,overhead=0" --pipe-schedule="kind=dualpipe microbatches=4" --sum-copies | FileCheck %s --check-prefix=DUAL

// A network of two products and a tied weight: w is read by both stages.
pipe.parameter @w : tensor<8x8xf32> from [#pipe.source<"w", "m", 0, 256, f32, same, 0>]
pipe.parameter @b : tensor<8x8xf32> from [#pipe.source<"b", "m", 256, 256, f32, same, 0>]

// What depends on inputs alone is made where it is read.
// CHECK-LABEL: func.func @stage0_forward(%arg0: tensor<4x8xf32>, %arg1: tensor<4x8xf32>, %arg2: tensor<f32>)
// CHECK-SAME: -> (tensor<4x8xf32> {pipe.output = 0 : i64}, tensor<4x8xf32> {pipe.residual = 0 : i64})
// CHECK: %[[N:.*]] = arith.negf %arg0
// CHECK: %[[H:.*]] = nn.matmul %[[N]]
// CHECK: %[[G:.*]] = nn.matmul %[[H]]
// CHECK: return %[[G]], %[[H]]

// CHECK-LABEL: func.func @stage0_backward(
// CHECK-SAME: %[[DG:arg[0-9]+]]: tensor<4x8xf32> {pipe.output_cotangent = 0 : i64}
// CHECK-SAME: %[[H:arg[0-9]+]]: tensor<4x8xf32> {pipe.residual = 0 : i64}
// CHECK: %[[DH:.*]] = nn.matmul %[[DG]]
// CHECK: nn.matmul %[[H]], %[[DG]] {transpose_lhs}
// CHECK-NEXT: pipe.accumulate @b
// CHECK: arith.negf %arg0
// CHECK-NEXT: nn.matmul %{{.*}}, %[[DH]] {transpose_lhs}
// CHECK-NEXT: pipe.accumulate @w
// CHECK-NEXT: return

// Nothing goes back from the first stage, and the gradients share no op: all is W.
// CHECK-LABEL: func.func @stage0_backward_input(
// CHECK-NEXT: return
// CHECK-LABEL: func.func @stage0_backward_weight(
// CHECK: pipe.accumulate @b
// CHECK: pipe.accumulate @w

// CHECK: pipe.stage @stage0 index 0 cost <{{.*}}output = 128> forward @stage0_forward
// CHECK-SAME: backward @stage0_backward backward_input @stage0_backward_input backward_weight @stage0_backward_weight

// CHECK-LABEL: func.func @stage1_forward(
// CHECK-SAME: %[[IN:arg[0-9]+]]: tensor<4x8xf32> {pipe.input = 0 : i64}
// CHECK-SAME: tensor<f32> {pipe.loss}
// CHECK: nn.matmul %[[IN]], %{{.*}} {transpose_rhs}
// CHECK-LABEL: func.func @stage1_backward(
// CHECK-SAME: -> (tensor<4x8xf32> {pipe.input_cotangent = 0 : i64})
// CHECK-NOT: pipe.accumulate @b
// CHECK: pipe.accumulate @w
// CHECK-LABEL: func.func @stage1_backward_input(
// CHECK-SAME: -> (tensor<4x8xf32> {pipe.input_cotangent = 0 : i64}, tensor<4x8xf32> {pipe.residual = 1 : i64})
// CHECK-NOT: pipe.accumulate
// CHECK-LABEL: func.func @stage1_backward_weight(
// CHECK: nn.matmul
// CHECK-NEXT: pipe.accumulate @w
// CHECK-NOT: nn.matmul
// CHECK-NOT: @micro_step

// COPIES: func.func @reduce_gradients
// COPIES-NEXT: pipe.sum_copies [@w]
// COPIES-NEXT: return
// DUAL: func.func @reduce_gradients
// DUAL-NEXT: pipe.sum_copies [@w, @b]

func.func @micro_step(%x: tensor<4x8xf32>, %t: tensor<4x8xf32>, %scale: tensor<f32>) -> tensor<f32> {
  %n = arith.negf %x : tensor<4x8xf32>
  %w = pipe.read @w : tensor<8x8xf32>
  %h = nn.matmul %n, %w : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
  %b = pipe.read @b : tensor<8x8xf32>
  %g = nn.matmul %h, %b : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
  %y = nn.matmul %g, %w {transpose_rhs} : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
  %e = arith.subf %y, %t : tensor<4x8xf32>
  %p = arith.mulf %e, %e : tensor<4x8xf32>
  %s = nn.reduce sum %p [0, 1] : tensor<4x8xf32> -> tensor<f32>
  %loss = arith.mulf %s, %scale : tensor<f32>
  %ds = nn.broadcast %scale [] : tensor<f32> -> tensor<4x8xf32>
  %de = arith.mulf %ds, %e : tensor<4x8xf32>
  %dy = arith.addf %de, %de : tensor<4x8xf32>
  %dg = nn.matmul %dy, %w : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
  %dw1 = nn.matmul %dy, %g {transpose_lhs} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
  %dh = nn.matmul %dg, %b {transpose_rhs} : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
  %db = nn.matmul %h, %dg {transpose_lhs} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
  pipe.accumulate @b, %db : tensor<8x8xf32>
  %dw0 = nn.matmul %n, %dh {transpose_lhs} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
  %dw = arith.addf %dw1, %dw0 : tensor<8x8xf32>
  pipe.accumulate @w, %dw : tensor<8x8xf32>
  return %loss : tensor<f32>
}
