// RUN: moire-opt %s | moire-opt | FileCheck %s
// RUN: moire-opt %s --mlir-print-op-generic | moire-opt | FileCheck %s

pipe.parameter @w : tensor<32x96xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]

// CHECK: exec.kernel @kernel0(%{{.*}}: f32, %{{.*}}: i64) {
// CHECK:   exec.yield %{{.*}}, %{{.*}} : f32, i64
exec.kernel @kernel0(%x: f32, %i: i64) {
  %0 = arith.addf %x, %x : f32
  exec.yield %0, %i : f32, i64
}

// CHECK-LABEL: func.func @places
func.func @places(%x: memref<20x32xf32>) {
  // CHECK: exec.buffer : memref<4x256xf32>
  %0 = exec.buffer : memref<4x256xf32>
  // CHECK: exec.buffer at 4096 : memref<20xf32>
  %1 = exec.buffer at 4096 : memref<20xf32>
  // CHECK: exec.param @w : memref<32x96xf32>
  %2 = exec.param @w : memref<32x96xf32>
  // CHECK: exec.grad @w : memref<32x96xf32>
  %3 = exec.grad @w : memref<32x96xf32>
  // CHECK: exec.constant dense<[1, 2]> : tensor<2xi64> : memref<2xi64>
  %4 = exec.constant dense<[1, 2]> : tensor<2xi64> : memref<2xi64>
  // CHECK: exec.view %arg0 at 16 : memref<20x32xf32> to memref<20x16xf32, strided<[32, 1]>>
  %5 = exec.view %x at 16 : memref<20x32xf32> to memref<20x16xf32, strided<[32, 1]>>
  // CHECK: exec.view %{{.*}} : memref<32x96xf32> to memref<96x32xf32, strided<[1, 96]>>
  %6 = exec.view %2 : memref<32x96xf32> to memref<96x32xf32, strided<[1, 96]>>
  %7 = exec.buffer : memref<112xi32>
  // CHECK: exec.routing %{{.*}} : memref<112xi32> to {{(!nn.routing)?}}<tokens = 20, k = 2, experts = 8>
  %8 = exec.routing %7 : memref<112xi32> to !nn.routing<tokens = 20, k = 2, experts = 8>
  return
}

// CHECK-LABEL: func.func @movement
func.func @movement(%x: memref<20x32xf32>, %y: memref<20x32xf32>, %n: memref<20x32xi64>,
                    %rows: memref<5x32xf32>, %ids: memref<5xi64>, %each: memref<5x32xi64>) {
  // CHECK: exec.launch @kernel0 ins(%arg0 : memref<20x32xf32>) index [1] outs(%arg1, %arg2 : memref<20x32xf32>, memref<20x32xi64>)
  exec.launch @kernel0 ins(%x : memref<20x32xf32>) index [1] outs(%y, %n : memref<20x32xf32>, memref<20x32xi64>)
  // CHECK: exec.copy %arg0 to %arg1 : memref<20x32xf32> to memref<20x32xf32>
  exec.copy %x to %y : memref<20x32xf32> to memref<20x32xf32>
  // CHECK: exec.copy %arg0 to %arg1 mode add :
  exec.copy %x to %y mode add : memref<20x32xf32> to memref<20x32xf32>
  // CHECK: exec.fill %arg1 with 0.000000e+00 : f32 mode add_after_first : memref<20x32xf32>
  exec.fill %y with 0.0 : f32 mode add_after_first : memref<20x32xf32>
  // CHECK: exec.gather %arg0[%arg4] to %arg3 : memref<20x32xf32>, memref<5xi64> to memref<5x32xf32>
  exec.gather %x[%ids] to %rows : memref<20x32xf32>, memref<5xi64> to memref<5x32xf32>
  // CHECK: exec.scatter_add %arg3[%arg4] to %arg1 mode add : memref<5x32xf32>, memref<5xi64> to memref<20x32xf32>
  exec.scatter_add %rows[%ids] to %y mode add : memref<5x32xf32>, memref<5xi64> to memref<20x32xf32>
  // CHECK: exec.scatter %arg3[%arg4] to %arg1 : memref<5x32xf32>, memref<5xi64> to memref<20x32xf32>
  exec.scatter %rows[%ids] to %y : memref<5x32xf32>, memref<5xi64> to memref<20x32xf32>
  // CHECK: exec.gather_elements %arg0[%arg5] axis 0 to %arg3
  exec.gather_elements %x[%each] axis 0 to %rows : memref<20x32xf32>, memref<5x32xi64> to memref<5x32xf32>
  // CHECK: exec.scatter_elements add %arg3[%arg5] axis 0 to %arg1
  exec.scatter_elements add %rows[%each] axis 0 to %y : memref<5x32xf32>, memref<5x32xi64> to memref<20x32xf32>
  return
}

// CHECK-LABEL: func.func @products
func.func @products(%a: memref<20x32xf32>, %b: memref<32x96xf32>, %bias: memref<96xf32>, %c: memref<20x96xf32>,
                    %a3: memref<4x20x32xf32>, %b3: memref<4x32x96xf32>, %c3: memref<4x20x96xf32>) {
  // CHECK: exec.gemm %arg0, %arg1 bias %arg2 to %arg3 : memref<20x32xf32>, memref<32x96xf32>, memref<96xf32> to memref<20x96xf32>
  exec.gemm %a, %b bias %bias to %c : memref<20x32xf32>, memref<32x96xf32>, memref<96xf32> to memref<20x96xf32>
  // CHECK: exec.gemm %arg0, %arg1 residual %arg3 to %arg3 : memref<20x32xf32>, memref<32x96xf32> residual memref<20x96xf32> to memref<20x96xf32>
  exec.gemm %a, %b residual %c to %c : memref<20x32xf32>, memref<32x96xf32> residual memref<20x96xf32> to memref<20x96xf32>
  // CHECK: exec.gemm %arg0, %arg1 bias %arg2 gelu to %arg3 aux %[[AUX:.*]] : memref<20x32xf32>, memref<32x96xf32>, memref<96xf32> to memref<20x96xf32> aux memref<20x96xf32>
  %aux = exec.buffer : memref<20x96xf32>
  exec.gemm %a, %b bias %bias gelu to %c aux %aux : memref<20x32xf32>, memref<32x96xf32>, memref<96xf32> to memref<20x96xf32> aux memref<20x96xf32>
  // CHECK: exec.gemm %arg4, %arg5 to %arg6 mode add_after_first :
  exec.gemm %a3, %b3 to %c3 mode add_after_first : memref<4x20x32xf32>, memref<4x32x96xf32> to memref<4x20x96xf32>
  // CHECK: exec.reduce sum %arg3 [0] to %arg2 mode add : memref<20x96xf32> to memref<96xf32>
  exec.reduce sum %c [0] to %bias mode add : memref<20x96xf32> to memref<96xf32>
  return
}

// CHECK-LABEL: func.func @order
func.func @order(%x: memref<20x32xf32>, %v: memref<20x4xf32>, %i: memref<20x4xi64>, %y: memref<20x32xf32>) {
  // CHECK: exec.top_k %arg0 to %arg1, %arg2 {smallest} : memref<20x32xf32> to memref<20x4xf32>, memref<20x4xi64>
  exec.top_k %x to %v, %i {smallest} : memref<20x32xf32> to memref<20x4xf32>, memref<20x4xi64>
  // CHECK: exec.cumsum %arg0 axis 1 to %arg3 {exclusive} : memref<20x32xf32> to memref<20x32xf32>
  exec.cumsum %x axis 1 to %y {exclusive} : memref<20x32xf32> to memref<20x32xf32>
  return
}

// CHECK-LABEL: func.func @rows
func.func @rows(%x: memref<20x32xf32>, %r: memref<20x32xf32>, %s: memref<32xf32>, %b: memref<32xf32>, %y: memref<20x32xf32>) {
  // CHECK: exec.layer_norm %arg0 scale %arg2 bias %arg3 residual %arg1 eps 1.000000e-05 to %arg4 sum %arg0 : memref<20x32xf32> scale memref<32xf32> bias memref<32xf32> residual memref<20x32xf32> to memref<20x32xf32> sum memref<20x32xf32>
  exec.layer_norm %x scale %s bias %b residual %r eps 1.0e-05 to %y sum %x : memref<20x32xf32> scale memref<32xf32> bias memref<32xf32> residual memref<20x32xf32> to memref<20x32xf32> sum memref<20x32xf32>
  // CHECK: exec.layer_norm %arg0 eps 1.000000e-05 to %arg4 : memref<20x32xf32> to memref<20x32xf32>
  exec.layer_norm %x eps 1.0e-05 to %y : memref<20x32xf32> to memref<20x32xf32>
  // CHECK: exec.rms_norm %arg0 scale %arg2 eps 1.000000e-05 to %arg4 : memref<20x32xf32> scale memref<32xf32> to memref<20x32xf32>
  exec.rms_norm %x scale %s eps 1.0e-05 to %y : memref<20x32xf32> scale memref<32xf32> to memref<20x32xf32>
  // CHECK: exec.layer_norm_grad %arg0 scale %arg2 cotangent %arg1 add %arg4 eps 1.000000e-05 to input %arg4 scale %arg2 mode add_after_first bias %arg3 :
  exec.layer_norm_grad %x scale %s cotangent %r add %y eps 1.0e-05 to input %y scale %s mode add_after_first bias %b : memref<20x32xf32> scale memref<32xf32>, memref<20x32xf32> add memref<20x32xf32> to input memref<20x32xf32> scale memref<32xf32> bias memref<32xf32>
  // CHECK: exec.rms_norm_grad %arg0 scale %arg2 cotangent %arg1 eps 1.000000e-05 to scale %arg2 mode add :
  exec.rms_norm_grad %x scale %s cotangent %r eps 1.0e-05 to scale %s mode add : memref<20x32xf32> scale memref<32xf32>, memref<20x32xf32> to scale memref<32xf32>
  // CHECK: exec.softmax %arg0 to %arg4 :
  exec.softmax %x to %y : memref<20x32xf32> to memref<20x32xf32>
  // CHECK: exec.softmax_grad %arg0, %arg1 to %arg4 :
  exec.softmax_grad %x, %r to %y : memref<20x32xf32>, memref<20x32xf32> to memref<20x32xf32>
  return
}

// CHECK-LABEL: func.func @loss
func.func @loss(%logits: memref<20x96xf32>, %labels: memref<20xi64>, %one: memref<f32>, %losses: memref<20xf32>, %lse: memref<20xf32>) {
  // CHECK: exec.cross_entropy %arg0, %arg1 ignore -100 to %arg3, %arg4 : memref<20x96xf32>, memref<20xi64> to memref<20xf32>, memref<20xf32>
  exec.cross_entropy %logits, %labels ignore -100 to %losses, %lse : memref<20x96xf32>, memref<20xi64> to memref<20xf32>, memref<20xf32>
  // CHECK: exec.cross_entropy %arg0, %arg1 cotangent %arg2 ignore -100 to %arg3, %arg4 logits %arg0 :
  exec.cross_entropy %logits, %labels cotangent %one ignore -100 to %losses, %lse logits %logits : memref<20x96xf32>, memref<20xi64> cotangent memref<f32> to memref<20xf32>, memref<20xf32> logits memref<20x96xf32>
  %each = exec.view %one : memref<f32> to memref<20xf32, affine_map<(d0) -> (0)>>
  // CHECK: exec.cross_entropy_grad %arg0, %arg1, %arg4 cotangent %{{.*}} ignore 0 to %arg0 :
  exec.cross_entropy_grad %logits, %labels, %lse cotangent %each ignore 0 to %logits : memref<20x96xf32>, memref<20xi64>, memref<20xf32>, memref<20xf32, affine_map<(d0) -> (0)>> to memref<20x96xf32>
  // CHECK: exec.loss %arg2 : memref<f32>
  exec.loss %one : memref<f32>
  return
}

// CHECK-LABEL: func.func @attention
func.func @attention(%qkv: memref<2x10x96xf32>, %cos: memref<1x10x4xf32>, %out: memref<2x4x10x8xf32>, %lse: memref<2x4x10xf32>, %mask: memref<2x1x1x10xi1>) {
  %q = exec.view %qkv : memref<2x10x96xf32> to memref<2x4x10x8xf32, strided<[960, 8, 96, 1]>>
  %k = exec.view %qkv at 32 : memref<2x10x96xf32> to memref<2x2x10x8xf32, strided<[960, 8, 96, 1]>>
  %v = exec.view %qkv at 64 : memref<2x10x96xf32> to memref<2x2x10x8xf32, strided<[960, 8, 96, 1]>>
  %m = exec.view %mask : memref<2x1x1x10xi1> to memref<2x4x10x10xi1, affine_map<(d0, d1, d2, d3) -> (d0 * 10 + d3)>>
  // CHECK: exec.rope %{{.*}}, %arg1, %arg1 to %{{.*}} {interleaved} : memref<2x4x10x8xf32, strided<[960, 8, 96, 1]>>, memref<1x10x4xf32>, memref<1x10x4xf32> to memref<2x4x10x8xf32, strided<[960, 8, 96, 1]>>
  exec.rope %q, %cos, %cos to %q {interleaved} : memref<2x4x10x8xf32, strided<[960, 8, 96, 1]>>, memref<1x10x4xf32>, memref<1x10x4xf32> to memref<2x4x10x8xf32, strided<[960, 8, 96, 1]>>
  // CHECK: exec.attention %{{.*}}, %{{.*}}, %{{.*}} mask %{{.*}} scale 2.500000e-01 to %arg2, %arg3 {causal} :
  exec.attention %q, %k, %v mask %m scale 0.25 to %out, %lse {causal} : memref<2x4x10x8xf32, strided<[960, 8, 96, 1]>>, memref<2x2x10x8xf32, strided<[960, 8, 96, 1]>>, memref<2x2x10x8xf32, strided<[960, 8, 96, 1]>> mask memref<2x4x10x10xi1, affine_map<(d0, d1, d2, d3) -> (d0 * 10 + d3)>> to memref<2x4x10x8xf32>, memref<2x4x10xf32>
  // CHECK: exec.attention_grad %{{.*}}, %{{.*}}, %{{.*}} output %arg2 lse %arg3 cotangent %arg2 scale 2.500000e-01 to
  exec.attention_grad %q, %k, %v output %out lse %lse cotangent %out scale 0.25 to %q, %k, %v : memref<2x4x10x8xf32, strided<[960, 8, 96, 1]>>, memref<2x2x10x8xf32, strided<[960, 8, 96, 1]>>, memref<2x2x10x8xf32, strided<[960, 8, 96, 1]>>, memref<2x4x10x8xf32>, memref<2x4x10xf32>, memref<2x4x10x8xf32> to memref<2x4x10x8xf32, strided<[960, 8, 96, 1]>>, memref<2x2x10x8xf32, strided<[960, 8, 96, 1]>>, memref<2x2x10x8xf32, strided<[960, 8, 96, 1]>>
  return
}

// CHECK-LABEL: func.func @experts
func.func @experts(%logits: memref<20x8xf32>, %weights: memref<20x2xf32>, %ids: memref<20x2xi64>, %memory: memref<112xi32>,
                   %x: memref<20x32xf32>, %rows: memref<40x32xf32>, %w: memref<8x32x48xf32>, %wide: memref<40x48xf32>,
                   %values: memref<8x32xf32>) {
  %r = exec.routing %memory : memref<112xi32> to !nn.routing<tokens = 20, k = 2, experts = 8>
  // CHECK: exec.router softmax %arg0 to %arg1, %arg2 {epsilon = 0.000000e+00 : f64, normalize, scale = 1.000000e+00 : f64} :
  exec.router softmax %logits to %weights, %ids {normalize, epsilon = 0.0, scale = 1.0} : memref<20x8xf32> to memref<20x2xf32>, memref<20x2xi64>
  // CHECK: exec.router_grad softmax %arg0, %arg2, %arg1 to %arg0
  exec.router_grad softmax %logits, %ids, %weights to %logits {normalize, epsilon = 0.0, scale = 1.0} : memref<20x8xf32>, memref<20x2xi64>, memref<20x2xf32> to memref<20x8xf32>
  // CHECK: exec.route %arg2 to %[[R:.*]] : memref<20x2xi64> to {{(!nn.routing)?}}<tokens = 20, k = 2, experts = 8>
  exec.route %ids to %r : memref<20x2xi64> to !nn.routing<tokens = 20, k = 2, experts = 8>
  // CHECK: exec.launch @kernel0 ins(%arg7 : memref<40x48xf32>) index [1] rows(%[[R]] : !nn.routing<tokens = 20, k = 2, experts = 8>) outs(%arg7, %{{.*}} : memref<40x48xf32>, memref<40x48xi64>)
  %n = exec.buffer : memref<40x48xi64>
  exec.launch @kernel0 ins(%wide : memref<40x48xf32>) index [1] rows(%r : !nn.routing<tokens = 20, k = 2, experts = 8>) outs(%wide, %n : memref<40x48xf32>, memref<40x48xi64>)
  // CHECK: exec.choice_counts %arg2 to %[[C:.*]] : memref<20x2xi64> to memref<2x8xf32>
  %counts = exec.buffer : memref<2x8xf32>
  exec.choice_counts %ids to %counts : memref<20x2xi64> to memref<2x8xf32>
  // CHECK: exec.capacity %arg2 counts %{{.*}} at %{{.*}} slots 6 choices_first to %arg2 :
  %all = exec.view %counts : memref<2x8xf32> to memref<1x2x8xf32>
  %shard = exec.buffer : memref<i64>
  exec.capacity %ids counts %all at %shard slots 6 choices_first to %ids : memref<20x2xi64>, memref<1x2x8xf32>, memref<i64> to memref<20x2xi64>
  // CHECK: exec.dispatch %arg4, %[[R]] to %arg5 :
  exec.dispatch %x, %r to %rows : memref<20x32xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> to memref<40x32xf32>
  // CHECK: exec.grouped_gemm %arg5, %arg6, %[[R]] to %arg7 :
  exec.grouped_gemm %rows, %w, %r to %wide : memref<40x32xf32>, memref<8x32x48xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> to memref<40x48xf32>
  // CHECK: exec.grouped_gemm %arg7, %arg6, %[[R]] to %arg5 {transpose_weight} :
  exec.grouped_gemm %wide, %w, %r to %rows {transpose_weight} : memref<40x48xf32>, memref<8x32x48xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> to memref<40x32xf32>
  // CHECK: exec.grouped_gemm %arg5, %arg6, %[[R]] to %arg7 swiglu %[[H:.*]] : {{.*}} to memref<40x48xf32> swiglu memref<40x24xf32>
  %gated = exec.buffer : memref<40x24xf32>
  exec.grouped_gemm %rows, %w, %r to %wide swiglu %gated : memref<40x32xf32>, memref<8x32x48xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> to memref<40x48xf32> swiglu memref<40x24xf32>
  // CHECK: exec.grouped_gemm_grad_weight %arg5, %arg7, %[[R]] to %arg6 mode add_after_first :
  exec.grouped_gemm_grad_weight %rows, %wide, %r to %w mode add_after_first : memref<40x32xf32>, memref<40x48xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> to memref<8x32x48xf32>
  // CHECK: exec.grouped_gemm %arg4, %arg6, %[[R]] to %arg7 {{{gather_rows}}} :
  exec.grouped_gemm %x, %w, %r to %wide {gather_rows} : memref<20x32xf32>, memref<8x32x48xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> to memref<40x48xf32>
  // CHECK: exec.grouped_gemm_grad_weight %arg4, %arg7, %[[R]] to %arg6 {{{gather_lhs}}} :
  exec.grouped_gemm_grad_weight %x, %wide, %r to %w {gather_lhs} : memref<20x32xf32>, memref<40x48xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> to memref<8x32x48xf32>
  // CHECK: exec.combine %arg5 weights %arg1, %[[R]] to %arg4 :
  exec.combine %rows weights %weights, %r to %x : memref<40x32xf32> weights memref<20x2xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> to memref<20x32xf32>
  // CHECK: exec.combine_grad %arg5, %arg1, %arg4, %[[R]] to rows %arg5 weights %arg1 :
  exec.combine_grad %rows, %weights, %x, %r to rows %rows weights %weights : memref<40x32xf32>, memref<20x2xf32>, memref<20x32xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> to rows memref<40x32xf32> weights memref<20x2xf32>
  // CHECK: exec.per_expert %arg8 add %arg5, %[[R]] to %arg5 :
  exec.per_expert %values add %rows, %r to %rows : memref<8x32xf32> add memref<40x32xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> to memref<40x32xf32>
  // CHECK: exec.per_expert_sum %arg5, %[[R]] to %arg8 mode add :
  exec.per_expert_sum %rows, %r to %values mode add : memref<40x32xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> to memref<8x32xf32>
  return
}

// CHECK-LABEL: func.func @narrow
func.func @narrow(%x: memref<20x32xbf16>, %y: memref<20x32xf32>, %c: memref<20x96xbf16>, %f: memref<20x96xf32>,
                  %b: memref<96xf32>, %labels: memref<20xi64>, %v: memref<20xf32>) {
  // CHECK: exec.shadow @w : memref<32x96xbf16>
  %w = exec.shadow @w : memref<32x96xbf16>
  // CHECK: exec.param
  %p = exec.param @w : memref<32x96xf32>
  // CHECK: exec.round %{{.*}} to %{{.*}} : memref<32x96xf32> to memref<32x96xbf16>
  exec.round %p to %w : memref<32x96xf32> to memref<32x96xbf16>
  // CHECK: exec.gemm {{.*}} : memref<20x32xbf16>, memref<32x96xbf16>, memref<96xf32> to memref<20x96xbf16>
  exec.gemm %x, %w bias %b to %c : memref<20x32xbf16>, memref<32x96xbf16>, memref<96xf32> to memref<20x96xbf16>
  // CHECK: exec.gemm {{.*}} mode add : memref<20x32xbf16>, memref<32x96xbf16> to memref<20x96xf32>
  exec.gemm %x, %w to %f mode add : memref<20x32xbf16>, memref<32x96xbf16> to memref<20x96xf32>
  // CHECK: exec.reduce sum %{{.*}} [0] to %{{.*}} : memref<20x96xbf16> to memref<96xf32>
  exec.reduce sum %c [0] to %b : memref<20x96xbf16> to memref<96xf32>
  // CHECK: exec.rms_norm {{.*}} : memref<20x32xf32> to memref<20x32xbf16>
  exec.rms_norm %y eps 1.0e-05 to %x : memref<20x32xf32> to memref<20x32xbf16>
  // CHECK: exec.rms_norm_grad {{.*}} : memref<20x32xf32>, memref<20x32xbf16> to input memref<20x32xf32>
  exec.rms_norm_grad %y cotangent %x eps 1.0e-05 to input %y : memref<20x32xf32>, memref<20x32xbf16> to input memref<20x32xf32>
  // CHECK: exec.cross_entropy {{.*}} : memref<20x96xbf16>, memref<20xi64> to memref<20xf32>, memref<20xf32>
  exec.cross_entropy %c, %labels ignore -100 to %v, %v : memref<20x96xbf16>, memref<20xi64> to memref<20xf32>, memref<20xf32>
  return
}

// CHECK-LABEL: func.func @collectives
func.func @collectives(%x: memref<12x6xf32>, %y: memref<3x6xf32>, %i: memref<1xi64>, %m: memref<112xi32>,
                       %l: memref<336xi32>, %c: memref<17xi32>, %rows: memref<40x32xf32>,
                       %come: memref<160x32xf32>) {
  // CHECK: exec.all_reduce %{{.*}} over ["dp"] to %{{.*}} : memref<12x6xf32> to memref<12x6xf32>
  exec.all_reduce %x over ["dp"] to %x : memref<12x6xf32> to memref<12x6xf32>
  // CHECK: exec.reduce_scatter %{{.*}} dim 0 over ["ep"] to %{{.*}} : memref<12x6xf32> to memref<3x6xf32>
  exec.reduce_scatter %x dim 0 over ["ep"] to %y : memref<12x6xf32> to memref<3x6xf32>
  // CHECK: exec.all_gather %{{.*}} dim 0 over ["ep"] to %{{.*}} : memref<3x6xf32> to memref<12x6xf32>
  exec.all_gather %y dim 0 over ["ep"] to %x : memref<3x6xf32> to memref<12x6xf32>
  // CHECK: exec.split %{{.*}} dim 0 over ["tp"] to %{{.*}} : memref<12x6xf32> to memref<3x6xf32>
  exec.split %x dim 0 over ["tp"] to %y : memref<12x6xf32> to memref<3x6xf32>
  // CHECK: exec.axis_index over ["tp"] to %{{.*}} : memref<1xi64>
  exec.axis_index over ["tp"] to %i : memref<1xi64>
  %r = exec.routing %m : memref<112xi32> to <tokens = 20, k = 2, experts = 8>
  %local = exec.routing %l : memref<336xi32> to <tokens = 160, k = 1, experts = 2>
  // CHECK: exec.exchange %{{.*}} over ["ep"] to %{{.*}}, %{{.*}} : <tokens = 20, k = 2, experts = 8> to <tokens = 160, k = 1, experts = 2>, memref<17xi32>
  exec.exchange %r over ["ep"] to %local, %c : <tokens = 20, k = 2, experts = 8> to <tokens = 160, k = 1, experts = 2>, memref<17xi32>
  // CHECK: exec.all_to_all_rows %{{.*}}, %{{.*}} over ["ep"] to %{{.*}} : memref<40x32xf32>, memref<17xi32> to memref<160x32xf32>
  exec.all_to_all_rows %rows, %c over ["ep"] to %come : memref<40x32xf32>, memref<17xi32> to memref<160x32xf32>
  // CHECK: exec.all_to_all_rows %{{.*}}, %{{.*}} over ["ep"] back to %{{.*}} :
  exec.all_to_all_rows %come, %c over ["ep"] back to %rows : memref<160x32xf32>, memref<17xi32> to memref<40x32xf32>
  return
}
