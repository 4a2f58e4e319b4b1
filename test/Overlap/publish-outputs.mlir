// What goes to another stage leaves where it is made, if anything that takes time follows.
// RUN: moire-opt %S/../Stages/cut.mlir --cut-stages="stages=2 rates=flops=0.001,overhead=0" --pipe-schedule="kind=dualpipe microbatches=4" --sum-copies --overlap-pairs --publish-outputs | FileCheck %s

// The last op makes the output.
// CHECK-LABEL: func.func @stage0_forward(
// CHECK-NOT: pipe.publish
// Nothing goes on from the last stage, and nothing back from the first one.
// CHECK-LABEL: func.func @stage1_forward_and_stage0_backward(
// CHECK-NOT: pipe.publish
// CHECK-LABEL: func.func @stage1_backward(
// CHECK: %[[DX:.*]] = nn.matmul
// CHECK-NEXT: pipe.publish
// CHECK: pipe.accumulate
// CHECK: return %[[DX]]
// W is not in b.
// CHECK-LABEL: func.func @stage1_backward_input(
// CHECK-NOT: pipe.publish

// In memory with the places that messages are taken from.
// RUN: moire-opt %S/../Stages/cut.mlir --cut-stages="stages=2 rates=flops=0.001,overhead=0" --pipe-schedule="kind=dualpipe microbatches=4" --sum-copies --overlap-pairs --publish-outputs --lower-to-exec --pack-arena --pack-slots --verify-arena | FileCheck %s --check-prefix=EXEC
// EXEC-LABEL: func.func @stage1_backward(
// EXEC: %[[MADE:.*]] = exec.kept "pipe.input_cotangent" 0 at [[AT:[0-9]+]]
// EXEC: exec.gemm {{.*}} to %[[MADE]]
// EXEC: %[[LEAVES:.*]] = exec.kept "pipe.input_cotangent" 0 at [[AT]]
// EXEC: exec.publish %[[LEAVES]] : memref<4x8xf32>
// EXEC: exec.grad @w

// Of two backwards at once the order makes the first one's cotangent, then the other's, then gradients of weights.
// RUN: moire-opt %s --schedule-overlap --publish-outputs | FileCheck %s --check-prefix=ORDER
// ORDER-LABEL: func.func @both(
// ORDER: %[[A:.*]] = nn.matmul %arg0, %{{.*}} {transpose_rhs}
// ORDER-NEXT: pipe.publish
// ORDER-NOT: pipe.accumulate
// ORDER: %[[B:.*]] = nn.matmul %arg1, %{{.*}} {transpose_rhs}
// ORDER-NEXT: pipe.publish {pipe.second}
// ORDER: pipe.accumulate @w
// ORDER: pipe.accumulate @v
// ORDER: return %[[A]], %[[B]]
module attributes {dist.mesh = #dist.mesh<pp = 2>} {
  pipe.parameter @w : tensor<8x8xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
  pipe.parameter @v : tensor<8x8xf32> from [#pipe.source<"v", "", 0, 0, f32, same, 0>]
  func.func @both(%x: tensor<8x8xf32>, %y: tensor<8x8xf32> {pipe.second})
      -> (tensor<8x8xf32> {pipe.input_cotangent = 0 : i64},
          tensor<8x8xf32> {pipe.input_cotangent = 0 : i64, pipe.second})
      attributes {pipe.pair = [@a, @b]} {
    %w = pipe.read @w : tensor<8x8xf32>
    %dw = nn.matmul %x, %x {transpose_lhs} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
    pipe.accumulate @w, %dw : tensor<8x8xf32>
    %dx = nn.matmul %x, %w {transpose_rhs} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
    %v = pipe.read @v {pipe.second} : tensor<8x8xf32>
    %dv = nn.matmul %y, %y {transpose_lhs} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
    pipe.accumulate @v, %dv {pipe.second} : tensor<8x8xf32>
    %dy = nn.matmul %y, %v {transpose_rhs} : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
    return %dx, %dy : tensor<8x8xf32>, tensor<8x8xf32>
  }
}
