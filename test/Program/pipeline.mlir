// RUN: moire-opt %s --fuse --lower-to-exec --pack-arena --verify-arena | FileCheck %s

// A linear classifier, whole: the bias goes into the product, the loss and its
// gradient are one pass over the logits in place, gradients are accumulated by
// what makes them.
pipe.parameter @w : tensor<4x6xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
pipe.parameter @b : tensor<6xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
// CHECK: module attributes {exec.arena_bytes = 320 : i64}
// CHECK: exec.kernel @kernel0
// CHECK: func.func @micro_step(%[[X:.*]]: memref<8x4xf32> {moire.role = "data", onnx.name = "x"}, %[[LABELS:[a-z0-9]*]]: memref<8xi64>
// CHECK-SAME: %[[SCALE:[a-z0-9]*]]: memref<f32>
func.func @micro_step(%x: tensor<8x4xf32> {onnx.name = "x", moire.role = "data"},
                      %labels: tensor<8xi64> {onnx.name = "labels", moire.role = "labels"},
                      %scale: tensor<f32> {onnx.name = "scale", moire.role = "scale"}) -> tensor<f32> {
  // CHECK: %[[W:.*]] = exec.param @w
  // CHECK: %[[LOGITS:.*]] = exec.buffer at {{.*}} : memref<8x6xf32>
  // CHECK: %[[B:.*]] = exec.param @b
  // CHECK: exec.gemm %[[X]], %[[W]] bias %[[B]] to %[[LOGITS]]
  %w = pipe.read @w : tensor<4x6xf32>
  %b = pipe.read @b : tensor<6xf32>
  %0 = nn.matmul %x, %w : tensor<8x4xf32>, tensor<4x6xf32> -> tensor<8x6xf32>
  %1 = nn.broadcast %b [1] : tensor<6xf32> -> tensor<8x6xf32>
  %2 = arith.addf %0, %1 : tensor<8x6xf32>
  // CHECK: exec.cross_entropy %[[LOGITS]], %[[LABELS]] cotangent %[[SCALE]] {{.*}} logits %[[LOGITS]] :
  %losses, %lse = nn.cross_entropy %2, %labels : tensor<8x6xf32>, tensor<8xi64> -> tensor<8xf32>, tensor<8xf32>
  // CHECK: exec.reduce sum
  %3 = nn.reduce sum %losses [0] : tensor<8xf32> -> tensor<f32>
  // CHECK: exec.launch @kernel0 ins(%{{.*}}, %[[SCALE]]
  %loss = arith.mulf %3, %scale : tensor<f32>
  %d = nn.broadcast %scale [] : tensor<f32> -> tensor<8xf32>
  %dl = nn.cross_entropy_grad %2, %labels, %lse, %d : tensor<8x6xf32>, tensor<8xi64>, tensor<8xf32>, tensor<8xf32>
  // CHECK: %[[XT:.*]] = exec.view %[[X]] : memref<8x4xf32> to memref<4x8xf32, strided<[1, 4]>>
  // CHECK: %[[DW:.*]] = exec.grad @w
  // CHECK: exec.gemm %[[XT]], %[[LOGITS]] to %[[DW]] mode add_after_first
  %dw = nn.matmul %x, %dl {transpose_lhs} : tensor<8x4xf32>, tensor<8x6xf32> -> tensor<4x6xf32>
  pipe.accumulate @w, %dw : tensor<4x6xf32>
  // CHECK: %[[DB:.*]] = exec.grad @b
  // CHECK: exec.reduce sum %[[LOGITS]] [0] to %[[DB]] mode add_after_first
  %db = nn.reduce sum %dl [0] : tensor<8x6xf32> -> tensor<6xf32>
  pipe.accumulate @b, %db : tensor<6xf32>
  // CHECK: exec.loss
  // CHECK-NEXT: return
  return %loss : tensor<f32>
}
