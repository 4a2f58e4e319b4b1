// RUN: moire-translate --exec-to-cpp %s | FileCheck %s

// Each op of exec is one statement: shapes and strides in a struct, then inputs,
// then outputs.

module attributes {moire.loss = "mse", moire.labels = "as-is", moire.count = "none",
                   moire.batch = 4 : i64, moire.seq = 0 : i64, moire.vocab = 0 : i64,
                   moire.token_vocab = 0 : i64} {
  pipe.parameter @fc.weight : tensor<8x6xf32> from [#pipe.source<"fc", "m.onnx", 64, 192, f32, transpose_last2, 0>]
  pipe.parameter @frozen : tensor<3x5xf32> frozen from [#pipe.source<"fr", "m.onnx", 0, 60, bf16, same, 0>]
  pipe.parameter @fc.bias : tensor<6xf32> from [#pipe.source<"b", "m.onnx", 0, 24, f32, same, 0>] init "ones"

  // CHECK: // gelu
  // CHECK-NEXT: struct Kernel0 {
  // CHECK-NEXT:   MOIRE_FUNCTOR run(float x0, bool x1, int64_t x2, float &y0, float &y1) {
  // CHECK-NEXT:     float t0 = math::tanh(x0);
  // CHECK-NEXT:     float t1 = t0 * 0.1f;
  // CHECK-NEXT:     bool t2 = x2 < int64_t(3);
  // CHECK-NEXT:     bool t3 = x1 && t2;
  // CHECK-NEXT:     float t4 = t3 ? t1 : (-HUGE_VALF);
  // CHECK-NEXT:     y0 = t4;
  // CHECK-NEXT:     y1 = t0;
  exec.kernel @kernel0(%x: f32, %keep: i1, %i: i64) {
    %tenth = arith.constant 0.1 : f32
    %three = arith.constant 3 : i64
    %inf = arith.constant 0xFF800000 : f32
    %0 = math.tanh %x : f32
    %1 = arith.mulf %0, %tenth : f32
    %2 = arith.cmpi slt, %i, %three : i64
    %3 = arith.andi %keep, %2 : i1
    %4 = arith.select %3, %1, %inf : f32
    exec.yield %4, %0 : f32, f32
  } loc("gelu")

  // CHECK: extern template void moire::rt::launch<Kernel0, Operand<float, 1, false>, Operand<uint8_t, 0, false>, IndexOperand, Operand<float, kStrided, true>, Operand<float, 1, true>>(

  // Trained parameters come first, each at a multiple of 16 elements.
  // CHECK: namespace at {
  // CHECK-NEXT: enum : int64_t {
  // CHECK-NEXT:   fc_weight = 0, // [8, 6]
  // CHECK-NEXT:   frozen = 64, // [3, 5] frozen
  // CHECK-NEXT:   fc_bias = 48, // [6]

  func.func @micro_step(%x: memref<4x8xf32> {onnx.name = "x", moire.role = "data"},
                        %labels: memref<4x6xf32> {onnx.name = "labels", moire.role = "labels"},
                        %scale: memref<f32> {onnx.name = "scale", moire.role = "scale"}) {
    %w = exec.param @fc.weight : memref<8x6xf32>
    %b = exec.param @fc.bias : memref<6xf32>
    %dw = exec.grad @fc.weight : memref<8x6xf32>
    %db = exec.grad @fc.bias : memref<6xf32>
    %a = exec.buffer at 0 : memref<4x6xf32>
    %c = exec.buffer at 128 : memref<4x6xf32>
    %m = exec.buffer at 256 : memref<4xi1>
    %ids = exec.buffer at 320 : memref<4x2xi64>
    %t = exec.constant dense<[0.5, 1.0e+06]> : tensor<2xf32> : memref<2xf32>

    // CHECK: void step1(Context &ctx) {
    // CHECK-NEXT: node(ctx, "fc");
    // CHECK-NEXT: gemm(ctx, {.m = 4, .n = 6, .k = 8}, ctx.input<float>(inputs::x), ctx.param(at::fc_weight),
    // CHECK-NEXT:     ctx.at<float>(0), ctx.param(at::fc_bias));
    exec.gemm %x, %w bias %b to %a : memref<4x8xf32>, memref<8x6xf32>, memref<6xf32> to memref<4x6xf32> loc("fc")

    // What a product takes along.
    // CHECK-NEXT: gemmGelu(ctx, {.m = 4, .n = 6, .k = 8}, ctx.input<float>(inputs::x), ctx.param(at::fc_weight),
    // CHECK-NEXT:     ctx.at<float>(128), ctx.param(at::fc_bias), ctx.at<float>(0));
    exec.gemm %x, %w bias %b gelu to %c aux %a : memref<4x8xf32>, memref<8x6xf32>, memref<6xf32> to memref<4x6xf32> aux memref<4x6xf32> loc("fc")
    // CHECK-NEXT: gemmResidual(ctx, {.m = 4, .n = 6, .k = 8}, ctx.input<float>(inputs::x), ctx.param(at::fc_weight),
    // CHECK-NEXT:     ctx.at<float>(0), nullptr, ctx.at<float>(128));
    exec.gemm %x, %w residual %c to %a : memref<4x8xf32>, memref<8x6xf32> residual memref<4x6xf32> to memref<4x6xf32> loc("fc")

    // Transposition and windows are strides; offsets go into the pointer.
    // CHECK-NEXT: gemm(ctx, {.m = 8, .n = 3, .k = 4, .transA = true, .beta = ctx.beta(), .ldb = 6, .ldc = 6},
    // CHECK-NEXT:     ctx.input<float>(inputs::x), ctx.at<float>(12), ctx.grad(at::fc_weight) + 3);
    %xt = exec.view %x : memref<4x8xf32> to memref<8x4xf32, strided<[1, 8]>>
    %right = exec.view %a at 3 : memref<4x6xf32> to memref<4x3xf32, strided<[6, 1]>>
    %dright = exec.view %dw at 3 : memref<8x6xf32> to memref<8x3xf32, strided<[6, 1]>>
    exec.gemm %xt, %right to %dright mode add_after_first
      : memref<8x4xf32, strided<[1, 8]>>, memref<4x3xf32, strided<[6, 1]>> to memref<8x3xf32, strided<[6, 1]>> loc("fc")

    // CHECK-NEXT: node(ctx, "gelu, mask");
    // CHECK-NEXT: launch<Kernel0>(ctx, {6, 4}, in<1>(ctx.at<float>(0), {4}), in<0>(ctx.at<uint8_t>(256)), index(1),
    // CHECK-NEXT:     out<kStrided>(ctx.at<float>(128), {1, 6}), out<1>(ctx.at<float>(0), {4}));
    %a64 = exec.view %a : memref<4x6xf32> to memref<6x4xf32>
    %c64 = exec.view %c : memref<4x6xf32> to memref<6x4xf32, strided<[1, 6]>>
    %m64 = exec.view %m : memref<4xi1> to memref<6x4xi1, affine_map<(d0, d1) -> (0)>>
    exec.launch @kernel0 ins(%a64, %m64 : memref<6x4xf32>, memref<6x4xi1, affine_map<(d0, d1) -> (0)>>) index [1]
      outs(%c64, %a64 : memref<6x4xf32, strided<[1, 6]>>, memref<6x4xf32>) loc(fused["gelu", "mask"])

    // CHECK-NEXT: node(ctx, "not in the graph");
    // CHECK-NEXT: copy(ctx, 24, ctx.at<float>(0), ctx.at<float>(128));
    exec.copy %a to %c : memref<4x6xf32> to memref<4x6xf32>
    // CHECK-NEXT: addStrided(ctx, {6, 4}, ctx.at<float>(0), {4, 1}, ctx.at<float>(128), {1, 6}, ctx.beta());
    exec.copy %a64 to %c64 mode add_after_first : memref<6x4xf32> to memref<6x4xf32, strided<[1, 6]>>
    // CHECK-NEXT: if (ctx.first())
    // CHECK-NEXT:   fill(ctx, 6, 0.0f, ctx.grad(at::fc_bias));
    exec.fill %db with 0.0 : f32 mode add_after_first : memref<6xf32>
    // CHECK-NEXT: reduce(ctx, ReduceKind::sum, {.dims = {4, 6}, .over = 1u << 0, .beta = 1.0f}, ctx.at<float>(0),
    // CHECK-NEXT:     ctx.grad(at::fc_bias));
    exec.reduce sum %a [0] to %db mode add : memref<4x6xf32> to memref<6xf32>
    // CHECK-NEXT: gather(ctx, {.outer = 1, .axis = 2, .inner = 1, .count = 8}, ctx.table<float>(tables::table0),
    // CHECK-NEXT:     ctx.at<int64_t>(320), ctx.at<float>(128));
    %c42 = exec.view %c : memref<4x6xf32> to memref<4x2xf32>
    exec.gather %t[%ids] to %c42 : memref<2xf32>, memref<4x2xi64> to memref<4x2xf32>
    // CHECK-NEXT: loss(ctx, ctx.table<float>(tables::table0) + 1);
    %half = exec.view %t at 1 : memref<2xf32> to memref<f32>
    exec.loss %half : memref<f32>
    return
  }
  func.func @optimizer_step() {
    pipe.update @fc.weight with adamw matrix
    pipe.update @fc.bias with adamw
    return
  }

  // CHECK: static const float table0[2] = {
  // CHECK-NEXT: 0.5f, 1e+06f};
  // CHECK: {"fc", "m.onnx", 64, 192, DType::f32, Transform::transposeLast2, 0},
  // CHECK: {"fr", "m.onnx", 0, 60, DType::bf16, Transform::same, 0},
  // CHECK: {"fc.weight", "fc.weight", 2, shape0, true, Init::normal, 0.02f, at::fc_weight, 1, sources0},
  // CHECK: {"frozen", "frozen", 2, shape1, false, Init::normal, 0.02f, at::frozen, 1, sources1},
  // CHECK: {"fc.bias", "fc.bias", 1, shape2, true, Init::ones, 0, at::fc_bias, 1, sources2},
  // CHECK: {"x", DType::f32, 2, inputShape0, Role::other, 0},
  // CHECK: {"labels", DType::f32, 2, inputShape1, Role::labels, -1},
  // CHECK: {"scale", DType::f32, 0, nullptr, Role::scale, -1},
  // CHECK: .optimizer = OptimizerKind::adamw,
  // CHECK: .loss = Loss::mse,
  // CHECK: .arenaBytes = 384,
  // CHECK: .paramElements = 80,
  // CHECK-NEXT: .gradElements = 64,
}
