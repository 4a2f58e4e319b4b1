// RUN: moire-translate --exec-to-cpp %s | FileCheck %s
// RUN: sed 's/exec.round .*//' %s | not moire-translate --exec-to-cpp 2>&1 | FileCheck %s --check-prefix=UNMADE

// Statements on bf16: the element types of pointers choose the kernels.

module attributes {moire.loss = "mse", moire.labels = "as-is", moire.count = "none",
                   moire.batch = 4 : i64, moire.seq = 0 : i64, moire.vocab = 0 : i64,
                   moire.token_vocab = 0 : i64, exec.arena_bytes = 2048 : i64} {
  pipe.parameter @fc.weight : tensor<8x6xf32> from [#pipe.source<"fc", "m.onnx", 64, 192, f32, same, 0>]
  pipe.parameter @fc.bias : tensor<6xf32> from [#pipe.source<"b", "m.onnx", 0, 24, f32, same, 0>]
  pipe.parameter @head : tensor<8x6xf32> frozen from [#pipe.source<"h", "m.onnx", 256, 192, f32, same, 0>]

  // What is only stored is rounded by the store; what is used further, here.
  // CHECK: struct Kernel0 {
  // CHECK-NEXT: MOIRE_FUNCTOR run(float x0, float x1, float &y0, float &y1, float &y2) {
  // CHECK-NEXT:   float t0 = x0 * x1;
  // CHECK-NEXT:   float t1 = roundToBf16(t0);
  // CHECK-NEXT:   float t2 = t1 + x0;
  // CHECK-NEXT:   y0 = t1;
  // CHECK-NEXT:   y1 = t2;
  // CHECK-NEXT:   y2 = t2;
  exec.kernel @kernel0(%x: bf16, %y: f32) {
    %0 = arith.extf %x : bf16 to f32
    %1 = arith.mulf %0, %y : f32
    %2 = arith.truncf %1 : f32 to bf16
    %3 = arith.extf %2 : bf16 to f32
    %4 = arith.addf %3, %0 : f32
    %5 = arith.truncf %4 : f32 to bf16
    exec.yield %2, %4, %5 : bf16, f32, bf16
  }
  // CHECK: extern template void moire::rt::launch<Kernel0, Operand<bf16, 1, false>, Operand<float, 1, false>, Operand<bf16, 1, true>, Operand<float, 1, true>, Operand<bf16, 1, true>>(

  // CHECK: void prepare(Context &ctx) {
  // CHECK-NEXT: convert(ctx, 48, ctx.param(at::head), ctx.shadow<bf16>(shadows::head));
  // CHECK-NEXT: convert(ctx, 48, ctx.param(at::fc_weight), ctx.shadow<bf16>(shadows::fc_weight));
  func.func @prepare() {
    %0 = exec.param @head : memref<8x6xf32>
    %1 = exec.shadow @head : memref<8x6xbf16>
    exec.round %0 to %1 : memref<8x6xf32> to memref<8x6xbf16>
    %2 = exec.param @fc.weight : memref<8x6xf32>
    %3 = exec.shadow @fc.weight : memref<8x6xbf16>
    exec.round %2 to %3 : memref<8x6xf32> to memref<8x6xbf16>
    return
  }

  // CHECK: namespace shadows {
  // CHECK-NEXT: enum : int64_t {
  // CHECK-NEXT:   head = 0,
  // CHECK-NEXT:   fc_weight = 128,
  // CHECK: void prepare(moire::rt::Context &ctx);

  // CHECK: void step1(Context &ctx) {
  func.func @micro_step(%x: memref<4x8xf32> {moire.role = "data", onnx.name = "x"},
                        %scale: memref<f32> {moire.role = "scale"}) {
    %w = exec.shadow @fc.weight : memref<8x6xbf16>
    %h = exec.shadow @head : memref<8x6xbf16>
    %b = exec.param @fc.bias : memref<6xf32>
    %g = exec.grad @fc.weight : memref<8x6xf32>
    %n = exec.buffer at 0 : memref<4x8xbf16>
    %y = exec.buffer at 64 : memref<4x6xbf16>
    %z = exec.buffer at 128 : memref<4x6xf32>
    %u = exec.buffer at 256 : memref<4x6xbf16>
    %s = exec.buffer at 320 : memref<6xf32>
    // CHECK: layerNorm(ctx, {.rows = 4, .cols = 8, .eps = 1e-05f}, ctx.input<float>(inputs::x), nullptr,
    // CHECK-NEXT: nullptr, ctx.at<bf16>(0));
    exec.layer_norm %x eps 1.0e-05 to %n : memref<4x8xf32> to memref<4x8xbf16>
    // CHECK: gemm(ctx, {.m = 4, .n = 6, .k = 8}, ctx.at<bf16>(0), ctx.shadow<bf16>(shadows::fc_weight),
    // CHECK-NEXT: ctx.at<bf16>(64), ctx.param(at::fc_bias));
    exec.gemm %n, %w bias %b to %y : memref<4x8xbf16>, memref<8x6xbf16>, memref<6xf32> to memref<4x6xbf16>
    // CHECK: gemm(ctx, {.m = 4, .n = 6, .k = 8}, ctx.at<bf16>(0), ctx.shadow<bf16>(shadows::head),
    // CHECK-NEXT: ctx.at<float>(128));
    exec.gemm %n, %h to %z : memref<4x8xbf16>, memref<8x6xbf16> to memref<4x6xf32>
    // CHECK: launch<Kernel0>(ctx, {24}, in<1>(ctx.at<bf16>(64)), in<1>(ctx.at<float>(128)),
    // CHECK-NEXT: out<1>(ctx.at<bf16>(256)), out<1>(ctx.at<float>(128)), out<1>(ctx.at<bf16>(64)));
    %y1 = exec.view %y : memref<4x6xbf16> to memref<24xbf16>
    %z1 = exec.view %z : memref<4x6xf32> to memref<24xf32>
    %u1 = exec.view %u : memref<4x6xbf16> to memref<24xbf16>
    exec.launch @kernel0 ins(%y1, %z1 : memref<24xbf16>, memref<24xf32>) outs(%u1, %z1, %y1 : memref<24xbf16>, memref<24xf32>, memref<24xbf16>)
    // CHECK: reduce(ctx, ReduceKind::sum, {.dims = {4, 6}, .over = 1u << 0}, ctx.at<bf16>(256),
    // CHECK-NEXT: ctx.at<float>(320));
    exec.reduce sum %u [0] to %s : memref<4x6xbf16> to memref<6xf32>
    // CHECK: gemm(ctx, {.m = 8, .n = 6, .k = 4, .transA = true, .beta = ctx.beta()}, ctx.at<bf16>(0),
    // CHECK-NEXT: ctx.at<bf16>(256), ctx.grad(at::fc_weight));
    %nt = exec.view %n : memref<4x8xbf16> to memref<8x4xbf16, strided<[1, 8]>>
    exec.gemm %nt, %u to %g mode add_after_first : memref<8x4xbf16, strided<[1, 8]>>, memref<4x6xbf16> to memref<8x6xf32>
    // CHECK: fill(ctx, 24, bf16(0.5f), ctx.at<bf16>(64));
    exec.fill %y with 5.000000e-01 : bf16 : memref<4x6xbf16>
    exec.loss %scale : memref<f32>
    return
  }
  func.func @optimizer_step() {
    pipe.update @fc.weight with sgd matrix
    pipe.update @fc.bias with sgd
    return
  }
  // CHECK: .prepare = prepare,
  // CHECK-NEXT: .shadowBytes = 256,
}

// UNMADE: error: 'exec.shadow' op of @fc.weight is not made by @prepare
