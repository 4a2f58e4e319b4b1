// RUN: moire-opt %s --mark-training | FileCheck %s
// RUN: moire-opt %s --mark-training --pack-arena --verify-arena | moire-translate --exec-to-cpp | FileCheck %s --check-prefix=CPP

// A head in two chunks. The gradient of the first one stands before the loss, which is computed
// from both, and with an async that only the gradient reads.
module attributes {moire.loss = "next-token", moire.labels = "shifted", moire.count = "all",
                   moire.batch = 1 : i64, moire.seq = 4 : i64, moire.vocab = 8 : i64,
                   moire.token_vocab = 8 : i64, dist.mesh = #dist.mesh<ep = 2>} {
  pipe.parameter @w : tensor<8x8xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
  exec.kernel @copy(%a: f32) {
    exec.yield %a : f32
  }

  // CHECK-LABEL: @micro_step
  // CHECK: exec.gather
  // CHECK-NOT: exec.training
  // CHECK-SAME: to memref<4x8xf32>
  // CHECK: exec.gemm {{.*}} to %[[Z:[0-9a-z]*]] : memref<2x8xf32>, memref<8x8xf32> to memref<2x8xf32>
  // CHECK: exec.cross_entropy {{.*}} logits %[[Z]] :
  // CHECK: exec.async 0 {
  // CHECK-NEXT: exec.all_reduce
  // CHECK-NEXT: } {exec.training}
  // CHECK: exec.gemm {{.*}} {exec.training}
  // CHECK: exec.wait 0 {exec.training}
  // CHECK: exec.gemm {{.*}} to %[[Z]] : memref<2x8xf32>, memref<8x8xf32> to memref<2x8xf32>
  // CHECK: exec.cross_entropy {{.*}} logits %[[Z]] :
  // CHECK: exec.gemm {{.*}} {exec.training}
  // CHECK: exec.reduce sum {{.*}} [0] to %{{[0-9a-z]*}} : memref<4xf32>
  // CHECK: exec.loss %{{[0-9a-z]*}} : memref<f32>
  // CHECK: exec.launch {{.*}} {exec.training}

  // CPP: void step1(Context &ctx) {
  // CPP: gather(ctx,
  // CPP: crossEntropyWithGrad(ctx,
  // CPP: if (ctx.trains) {
  // CPP-NEXT:     startAsync(ctx, 0,
  // CPP: gemm(ctx, {{.*}}
  // CPP: waitAsync(ctx, 0);
  // CPP-NEXT:   }
  // CPP: gemm(ctx,
  // CPP: crossEntropyWithGrad(ctx,
  // CPP: if (ctx.trains) {
  // CPP: gemm(ctx,
  // CPP: }
  // CPP: reduce
  // CPP: loss(ctx, ctx.at<float>(
  // CPP-NEXT: }
  // CPP: void step2(Context &ctx) {
  // CPP: launch<Copy>(ctx,
  // CPP: static void microStep(Context &ctx) {
  // CPP-NEXT:   step1(ctx);
  // CPP-NEXT:   step2(ctx);
  // CPP-NEXT: }
  // CPP: static void forward(Context &ctx) {
  // CPP-NEXT:   step1(ctx);
  // CPP-NEXT: }
  // CPP: .microStep = microStep,
  // CPP-NEXT: .forward = forward,
  func.func @micro_step(%ids: memref<1x4xi64> {onnx.name = "ids", moire.role = "data"},
                        %labels: memref<1x4xi64> {onnx.name = "labels", moire.role = "labels"},
                        %scale: memref<f32> {onnx.name = "scale", moire.role = "scale"}) {
    %w = exec.param @w : memref<8x8xf32>
    %dw = exec.grad @w : memref<8x8xf32>
    %flat = exec.view %ids : memref<1x4xi64> to memref<4xi64>
    %targets = exec.view %labels : memref<1x4xi64> to memref<4xi64>
    %h = exec.buffer : memref<4x8xf32>
    exec.gather %w[%flat] to %h : memref<8x8xf32>, memref<4xi64> to memref<4x8xf32>
    %z = exec.buffer : memref<2x8xf32>
    %losses = exec.buffer : memref<4xf32>
    %lse = exec.buffer : memref<4xf32>
    %other = exec.buffer : memref<8xf32>
    %h0 = exec.view %h : memref<4x8xf32> to memref<2x8xf32>
    %ht0 = exec.view %h : memref<4x8xf32> to memref<8x2xf32, strided<[1, 8]>>
    %t0 = exec.view %targets : memref<4xi64> to memref<2xi64>
    %l0 = exec.view %losses : memref<4xf32> to memref<2xf32>
    %e0 = exec.view %lse : memref<4xf32> to memref<2xf32>
    exec.gemm %h0, %w to %z : memref<2x8xf32>, memref<8x8xf32> to memref<2x8xf32>
    exec.cross_entropy %z, %t0 cotangent %scale ignore -100 to %l0, %e0 logits %z : memref<2x8xf32>, memref<2xi64> cotangent memref<f32> to memref<2xf32>, memref<2xf32> logits memref<2x8xf32>
    %row = exec.view %h : memref<4x8xf32> to memref<8xf32>
    exec.async 0 {
      exec.all_reduce %row over ["ep"] to %other : memref<8xf32> to memref<8xf32>
    }
    exec.gemm %ht0, %z to %dw mode add_after_first : memref<8x2xf32, strided<[1, 8]>>, memref<2x8xf32> to memref<8x8xf32>
    exec.wait 0
    %h1 = exec.view %h at 16 : memref<4x8xf32> to memref<2x8xf32>
    %ht1 = exec.view %h at 16 : memref<4x8xf32> to memref<8x2xf32, strided<[1, 8]>>
    %t1 = exec.view %targets at 2 : memref<4xi64> to memref<2xi64>
    %l1 = exec.view %losses at 2 : memref<4xf32> to memref<2xf32>
    %e1 = exec.view %lse at 2 : memref<4xf32> to memref<2xf32>
    exec.gemm %h1, %w to %z : memref<2x8xf32>, memref<8x8xf32> to memref<2x8xf32>
    exec.cross_entropy %z, %t1 cotangent %scale ignore -100 to %l1, %e1 logits %z : memref<2x8xf32>, memref<2xi64> cotangent memref<f32> to memref<2xf32>, memref<2xf32> logits memref<2x8xf32>
    exec.gemm %ht1, %z to %dw mode add : memref<8x2xf32, strided<[1, 8]>>, memref<2x8xf32> to memref<8x8xf32>
    %sum = exec.buffer : memref<f32>
    exec.reduce sum %losses [0] to %sum : memref<4xf32> to memref<f32>
    %last = exec.buffer : memref<8xf32>
    exec.launch @copy ins(%other : memref<8xf32>) outs(%last : memref<8xf32>)
    exec.loss %sum : memref<f32>
    return
  }
  func.func @reduce_gradients() {
    pipe.reduce_grads [@w] over ["ep"]
    return
  }
  func.func @optimizer_step() {
    pipe.update @w with sgd
    return
  }
}
