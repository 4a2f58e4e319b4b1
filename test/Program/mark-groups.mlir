// RUN: moire-opt %s --mark-training --mark-groups | FileCheck %s
// RUN: moire-opt %s --mark-training --mark-groups --pack-arena --verify-arena | moire-translate --exec-to-cpp | FileCheck %s --check-prefix=CPP

// z = x w1 w2 w3 + b, a group for each weight and none for the bias. What makes the cotangent of a layer
// belongs to the groups below it.
module attributes {moire.loss = "next-token", moire.labels = "shifted", moire.count = "all",
                   moire.batch = 1 : i64, moire.seq = 4 : i64, moire.vocab = 8 : i64,
                   moire.token_vocab = 8 : i64, dist.mesh = #dist.mesh<dp = 2>} {
  pipe.parameter @w1 : tensor<8x8xf32> group "low" from [#pipe.source<"w1", "", 0, 0, f32, same, 0>]
  pipe.parameter @w2 : tensor<8x8xf32> group "mid" from [#pipe.source<"w2", "", 0, 0, f32, same, 0>]
  pipe.parameter @w3 : tensor<8x8xf32> group "head" from [#pipe.source<"w3", "", 0, 0, f32, same, 0>]
  pipe.parameter @b : tensor<8xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]

  // The forward, and the gradient of what is in no group.
  // CHECK-LABEL: @micro_step
  // CHECK-NOT: exec.groups
  // CHECK: exec.reduce sum {{.*}} mode add_after_first {exec.training} : memref<4x8xf32> to memref<8xf32>
  // CHECK: exec.start_reduce 0 [@b] {exec.training}
  // CHECK: exec.gemm {{.*}} {exec.groups = ["head"], exec.training}
  // CHECK-NEXT: exec.start_reduce 1 [@w3] {exec.groups = ["head"], exec.training}
  // The cotangent of h2, and a sum that only it reads: the wait goes with its async.
  // CHECK: exec.async 0 {
  // CHECK-NEXT: exec.all_reduce
  // CHECK-NEXT: } {exec.groups = ["low", "mid"], exec.training}
  // CHECK: exec.wait 0 {exec.groups = ["low", "mid"], exec.training}
  // CHECK: exec.gemm {{.*}} {exec.groups = ["low", "mid"], exec.training}
  // CHECK: exec.gemm {{.*}} {exec.groups = ["mid"], exec.training}
  // In place: what it held before is still needed by both.
  // CHECK: exec.gemm {{.*}} mode add {exec.groups = ["low"], exec.training}
  // CHECK: exec.gemm {{.*}} {exec.groups = ["low"], exec.training}
  // CHECK: exec.start_reduce 2 [@w1, @w2] {exec.groups = ["low", "mid"], exec.training}

  // CPP: loss(ctx,
  // CPP: startReduce(ctx, 0);
  // CPP-NEXT:   if (ctx.updates & 0x4) { // head
  // CPP-NEXT:     node(ctx, "not in the graph");
  // CPP-NEXT:     gemm(ctx, {{.*}}
  // CPP-NEXT:         {{.*}} ctx.grad(at::w3));
  // CPP-NEXT:     startReduce(ctx, 1);
  // CPP-NEXT:   }
  // CPP-NEXT:   if (ctx.updates & 0x3) { // low and mid
  // CPP:     waitAsync(ctx, 0);
  // CPP:   if (ctx.updates & 0x2) { // mid
  // CPP:   if (ctx.updates & 0x1) { // low
  // CPP:   if (ctx.updates & 0x3) { // low and mid
  // CPP-NEXT:     node(ctx, "not in the graph");
  // CPP-NEXT:     startReduce(ctx, 2);
  // CPP-NEXT:   }
  // CPP-NEXT: }
  // CPP: {"w2", "w2", 2, shape1, true, Init::normal, 0.02f, at::w2, 1, sources1, nullptr, 0, {}, 0, -1, 0, 0, -1, -1, -1, true, 0, nullptr, 1},
  // CPP: {"b", "b", 1, shape3, true, Init::zeros, 0, at::b, 1, sources3, nullptr, 0, {}, 0, -1},
  // CPP: static const char *const updateGroups[] = {"low", "mid", "head"};
  // CPP: .numUpdateGroups = 3,
  // CPP-NEXT: .updateGroups = updateGroups,
  func.func @micro_step(%x: memref<4x8xf32> {onnx.name = "x", moire.role = "data"},
                        %labels: memref<1x4xi64> {onnx.name = "labels", moire.role = "labels"},
                        %scale: memref<f32> {onnx.name = "scale", moire.role = "scale"}) {
    %w1 = exec.param @w1 : memref<8x8xf32>
    %w2 = exec.param @w2 : memref<8x8xf32>
    %w3 = exec.param @w3 : memref<8x8xf32>
    %b = exec.param @b : memref<8xf32>
    %d1 = exec.grad @w1 : memref<8x8xf32>
    %d2 = exec.grad @w2 : memref<8x8xf32>
    %d3 = exec.grad @w3 : memref<8x8xf32>
    %db = exec.grad @b : memref<8xf32>
    %targets = exec.view %labels : memref<1x4xi64> to memref<4xi64>
    %h1 = exec.buffer : memref<4x8xf32>
    %h2 = exec.buffer : memref<4x8xf32>
    %z = exec.buffer : memref<4x8xf32>
    %losses = exec.buffer : memref<4xf32>
    %lse = exec.buffer : memref<4xf32>
    %sum = exec.buffer : memref<f32>
    exec.gemm %x, %w1 to %h1 : memref<4x8xf32>, memref<8x8xf32> to memref<4x8xf32>
    exec.gemm %h1, %w2 to %h2 : memref<4x8xf32>, memref<8x8xf32> to memref<4x8xf32>
    exec.gemm %h2, %w3 bias %b to %z : memref<4x8xf32>, memref<8x8xf32>, memref<8xf32> to memref<4x8xf32>
    exec.cross_entropy %z, %targets cotangent %scale ignore -100 to %losses, %lse logits %z : memref<4x8xf32>, memref<4xi64> cotangent memref<f32> to memref<4xf32>, memref<4xf32> logits memref<4x8xf32>
    exec.reduce sum %losses [0] to %sum : memref<4xf32> to memref<f32>
    exec.loss %sum : memref<f32>
    exec.reduce sum %z [0] to %db mode add_after_first : memref<4x8xf32> to memref<8xf32>
    exec.start_reduce 0 [@b]
    %xt = exec.view %x : memref<4x8xf32> to memref<8x4xf32, strided<[1, 8]>>
    %h1t = exec.view %h1 : memref<4x8xf32> to memref<8x4xf32, strided<[1, 8]>>
    %h2t = exec.view %h2 : memref<4x8xf32> to memref<8x4xf32, strided<[1, 8]>>
    exec.gemm %h2t, %z to %d3 mode add_after_first : memref<8x4xf32, strided<[1, 8]>>, memref<4x8xf32> to memref<8x8xf32>
    exec.start_reduce 1 [@w3]
    %whole = exec.buffer : memref<4x8xf32>
    exec.async 0 {
      exec.all_reduce %z over ["dp"] to %whole : memref<4x8xf32> to memref<4x8xf32>
    }
    exec.wait 0
    %dh = exec.buffer : memref<4x8xf32>
    exec.gemm %whole, %w3 to %dh : memref<4x8xf32>, memref<8x8xf32> to memref<4x8xf32>
    exec.gemm %h1t, %dh to %d2 mode add_after_first : memref<8x4xf32, strided<[1, 8]>>, memref<4x8xf32> to memref<8x8xf32>
    exec.gemm %whole, %w2 to %dh mode add : memref<4x8xf32>, memref<8x8xf32> to memref<4x8xf32>
    exec.gemm %xt, %dh to %d1 mode add_after_first : memref<8x4xf32, strided<[1, 8]>>, memref<4x8xf32> to memref<8x8xf32>
    exec.start_reduce 2 [@w1, @w2]
    return
  }
  func.func @reduce_gradients() {
    pipe.reduce_grads [@b] over ["dp"]
    pipe.reduce_grads [@w3] over ["dp"]
    pipe.reduce_grads [@w1, @w2] over ["dp"]
    return
  }
  func.func @optimizer_step() {
    pipe.update @w1 with sgd
    pipe.update @w2 with sgd
    pipe.update @w3 with sgd
    pipe.update @b with sgd
    return
  }
}
