// RUN: not moire-translate --exec-to-cuda %s 2>&1 | FileCheck %s
// RUN: moire-translate --exec-to-cpp %s | FileCheck %s --check-prefix=CPU

// On a GPU it is asked before the first gradient changes whether rows found room: nothing may send
// rows behind that.
// CHECK: error: sends rows to experts, where --expert-slots must know before the first gradient changes that they find room; leave --expert-slots out
// CPU: exchangeRoutingInSlots

module attributes {moire.loss = "mse", moire.labels = "as-is", moire.count = "none",
                   moire.batch = 2 : i64, moire.seq = 0 : i64, moire.vocab = 0 : i64,
                   moire.token_vocab = 0 : i64, dist.mesh = #dist.mesh<ep = 2>,
                   moire.expert_slots = 1.5 : f64} {
  pipe.parameter @bias : tensor<6xf32> from [#pipe.source<"b", "m.onnx", 0, 24, f32, same, 0>]

  func.func @micro_step(%scale: memref<f32> {onnx.name = "scale", moire.role = "scale"}) {
    %db = exec.grad @bias : memref<6xf32>
    exec.fill %db with 0.0 : f32 mode add_after_first : memref<6xf32>
    %a = exec.buffer at 0 : memref<48xi32>
    %b = exec.buffer at 192 : memref<48xi32>
    %counts = exec.buffer at 384 : memref<9xi32>
    %global = exec.routing %a : memref<48xi32> to !nn.routing<tokens = 2, k = 2, experts = 4>
    %local = exec.routing %b : memref<48xi32> to !nn.routing<tokens = 6, k = 1, experts = 2>
    exec.exchange %global over ["ep"] to %local, %counts : <tokens = 2, k = 2, experts = 4> to <tokens = 6, k = 1, experts = 2>, memref<9xi32>
    %loss = exec.buffer at 448 : memref<f32>
    exec.fill %loss with 1.0 : f32 : memref<f32>
    exec.loss %loss : memref<f32>
    return
  }
  func.func @optimizer_step() {
    pipe.update @bias with adamw
    return
  }
}
