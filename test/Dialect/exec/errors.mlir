// RUN: moire-opt %s --split-input-file --verify-diagnostics

func.func @buffer_offset() {
  // expected-error @+1 {{'exec.buffer' op offset 100 must be a multiple of 64}}
  %0 = exec.buffer at 100 : memref<4xf32>
  return
}

// -----

func.func @buffer_strided() {
  // expected-error @+1 {{must be dense memref of static shape}}
  %0 = exec.buffer : memref<4x4xf32, strided<[8, 1]>>
  return
}

// -----

func.func @param_unknown() {
  // expected-error @+1 {{names @w, which is not a pipe.parameter}}
  %0 = exec.param @w : memref<4x3xf32>
  return
}

// -----

pipe.parameter @w : tensor<4x3xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
func.func @param_shape() {
  // expected-error @+1 {{type 'memref<3x4xf32>' must have the shape of the parameter's 'tensor<4x3xf32>'}}
  %0 = exec.param @w : memref<3x4xf32>
  return
}

// -----

pipe.parameter @w : tensor<4x3xf32> frozen from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
func.func @grad_frozen() {
  // expected-error @+1 {{parameter @w is frozen and has no gradient}}
  %0 = exec.grad @w : memref<4x3xf32>
  return
}

// -----

func.func @constant_type() {
  // expected-error @+1 {{value of type 'tensor<2xi64>' does not fit 'memref<3xi64>'}}
  %0 = exec.constant dense<0> : tensor<2xi64> : memref<3xi64>
  return
}

// -----

func.func @view_element(%x: memref<4xf32>) {
  // expected-error @+1 {{element type 'i64' must be the source's 'f32'}}
  %0 = exec.view %x : memref<4xf32> to memref<4xi64>
  return
}

// -----

func.func @view_extent(%x: memref<4x4xf32>) {
  // expected-error @+1 {{reaches elements 8..17 but the source holds 0..15}}
  %0 = exec.view %x at 8 : memref<4x4xf32> to memref<4x2xf32, strided<[2, 3]>>
  return
}

// -----

func.func @view_dynamic(%x: memref<4x4xf32>) {
  // expected-error @+1 {{memref of static shape and strides}}
  %0 = exec.view %x : memref<4x4xf32> to memref<4x4xf32, strided<[?, 1]>>
  return
}

// -----

func.func @routing_size(%m: memref<10xi32>) {
  // expected-error @+1 {{source 'memref<10xi32>' must be memref<48xi32> for '!nn.routing<tokens = 4, k = 2, experts = 3>'}}
  %0 = exec.routing %m : memref<10xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  return
}

// -----

func.func @launch_unknown(%x: memref<4xf32>) {
  // expected-error @+1 {{names @k, which is not an exec.kernel}}
  exec.launch @k ins(%x : memref<4xf32>) outs(%x : memref<4xf32>)
  return
}

// -----

exec.kernel @k(%x: f32) {
  exec.yield %x : f32
}
func.func @launch_shape(%x: memref<4xf32>, %y: memref<5xf32>) {
  // expected-error @+1 {{operand 'memref<4xf32>' must have the iteration space's shape}}
  exec.launch @k ins(%x : memref<4xf32>) outs(%y : memref<5xf32>)
  return
}

// -----

exec.kernel @k(%x: f32) {
  exec.yield %x : f32
}
func.func @launch_count(%x: memref<4xf32>) {
  // expected-error @+1 {{has 1 operands but kernel @k takes 2}}
  exec.launch @k outs(%x : memref<4xf32>)
  return
}

// -----

exec.kernel @k(%x: f32) {
  exec.yield %x : f32
}
func.func @launch_element(%x: memref<4xi64>, %y: memref<4xf32>) {
  // expected-error @+1 {{operand 0 has element type 'i64' but the kernel takes 'f32'}}
  exec.launch @k ins(%x : memref<4xi64>) outs(%y : memref<4xf32>)
  return
}

// -----

exec.kernel @k(%x: f32) {
  exec.yield %x : f32
}
func.func @launch_index(%y: memref<4xf32>) {
  // expected-error @+1 {{coordinate 1 must lie in 0..0}}
  exec.launch @k index [1] outs(%y : memref<4xf32>)
  return
}

// -----

exec.kernel @k(%x: f32) {
  exec.yield %x : f32
}
func.func @launch_rank(%x: memref<1x1x1x1x1x1x1xf32>) {
  // expected-error @+1 {{iteration space has rank 7 but at most 6 are possible}}
  exec.launch @k ins(%x : memref<1x1x1x1x1x1x1xf32>) outs(%x : memref<1x1x1x1x1x1x1xf32>)
  return
}

// -----

func.func @copy_shape(%x: memref<4xf32>, %y: memref<5xf32>) {
  // expected-error @+1 {{target has shape [5] but must have [4]}}
  exec.copy %x to %y : memref<4xf32> to memref<5xf32>
  return
}

// -----

func.func @copy_mode(%x: memref<4xi64>) {
  // expected-error @+1 {{adds to elements of type 'i64' but only f32 can be added to}}
  exec.copy %x to %x mode add : memref<4xi64> to memref<4xi64>
  return
}

// -----

func.func @fill_value(%x: memref<4xi64>) {
  // expected-error @+1 {{value of type 'f32' does not fit 'memref<4xi64>'}}
  exec.fill %x with 0.0 : f32 : memref<4xi64>
  return
}

// -----

func.func @fill_mode(%x: memref<4xf32>) {
  // expected-error @+1 {{cannot add: its modes are overwrite and add_after_first}}
  exec.fill %x with 0.0 : f32 mode add : memref<4xf32>
  return
}

// -----

func.func @gather_shape(%t: memref<9x3xf32>, %i: memref<4xi64>, %y: memref<4x2xf32>) {
  // expected-error @+1 {{result has shape [4, 2] but must have [4, 3]}}
  exec.gather %t[%i] to %y : memref<9x3xf32>, memref<4xi64> to memref<4x2xf32>
  return
}

// -----

func.func @scatter_shape(%t: memref<9x3xf32>, %i: memref<4xi64>, %y: memref<4x2xf32>) {
  // expected-error @+1 {{updates has shape [4, 2] but must have [4, 3]}}
  exec.scatter_add %y[%i] to %t : memref<4x2xf32>, memref<4xi64> to memref<9x3xf32>
  return
}

// -----

func.func @scatter_element(%t: memref<9x3xf32>, %i: memref<4xi64>, %y: memref<4x3xi64>) {
  // expected-error @+1 {{updates has element type 'i64' but must have 'f32'}}
  exec.scatter %y[%i] to %t : memref<4x3xi64>, memref<4xi64> to memref<9x3xf32>
  return
}

// -----

func.func @elements_axis(%t: memref<9x3xf32>, %i: memref<4x3xi64>, %y: memref<4x3xf32>) {
  // expected-error @+1 {{axis 2 must lie in 0..1}}
  exec.gather_elements %t[%i] axis 2 to %y : memref<9x3xf32>, memref<4x3xi64> to memref<4x3xf32>
  return
}

// -----

func.func @elements_shape(%t: memref<9x3xf32>, %i: memref<4x3xi64>, %y: memref<5x3xf32>) {
  // expected-error @+1 {{updates has shape [5, 3] but must have [4, 3]}}
  exec.scatter_elements %y[%i] axis 0 to %t : memref<5x3xf32>, memref<4x3xi64> to memref<9x3xf32>
  return
}

// -----

func.func @gemm_rank(%a: memref<4xf32>) {
  // expected-error @+1 {{result has rank 1 but must have 2, or 3 with a batch}}
  exec.gemm %a, %a to %a : memref<4xf32>, memref<4xf32> to memref<4xf32>
  return
}

// -----

func.func @gemm_inner(%a: memref<4x5xf32>, %b: memref<6x3xf32>, %c: memref<4x3xf32>) {
  // expected-error @+1 {{rhs has shape [6, 3] but must have [5, 3]}}
  exec.gemm %a, %b to %c : memref<4x5xf32>, memref<6x3xf32> to memref<4x3xf32>
  return
}

// -----

func.func @gemm_strides(%a: memref<4x5xf32, strided<[20, 2]>>, %b: memref<5x3xf32>, %c: memref<4x3xf32>) {
  // expected-error @+1 {{lhs must have unit stride in one of its last two dims, not [20, 2]}}
  exec.gemm %a, %b to %c : memref<4x5xf32, strided<[20, 2]>>, memref<5x3xf32> to memref<4x3xf32>
  return
}

// -----

func.func @gemm_result_strides(%a: memref<4x5xf32>, %b: memref<5x3xf32>, %c: memref<4x3xf32, strided<[1, 4]>>) {
  // expected-error @+1 {{result must have unit stride in the last dim, not 4}}
  exec.gemm %a, %b to %c : memref<4x5xf32>, memref<5x3xf32> to memref<4x3xf32, strided<[1, 4]>>
  return
}

// -----

func.func @gemm_bias_mode(%a: memref<4x5xf32>, %b: memref<5x3xf32>, %d: memref<3xf32>, %c: memref<4x3xf32>) {
  // expected-error @+1 {{with a bias cannot add to the result}}
  exec.gemm %a, %b bias %d to %c mode add : memref<4x5xf32>, memref<5x3xf32>, memref<3xf32> to memref<4x3xf32>
  return
}

// -----

func.func @gemm_aux(%a: memref<4x5xf32>, %b: memref<5x3xf32>, %c: memref<4x3xf32>, %d: memref<4x3xf32>) {
  // expected-error @+1 {{has aux without gelu; only what a gelu is taken of is kept}}
  exec.gemm %a, %b to %c aux %d : memref<4x5xf32>, memref<5x3xf32> to memref<4x3xf32> aux memref<4x3xf32>
  return
}

// -----

func.func @gemm_both(%a: memref<4x5xf32>, %b: memref<5x3xf32>, %c: memref<4x3xf32>) {
  // expected-error @+1 {{has gelu and a residual but may have one of them}}
  exec.gemm %a, %b residual %c gelu to %c : memref<4x5xf32>, memref<5x3xf32> residual memref<4x3xf32> to memref<4x3xf32>
  return
}

// -----

func.func @gemm_gelu_adds(%a: memref<4x5xf32>, %b: memref<5x3xf32>, %c: memref<4x3xf32>) {
  // expected-error @+1 {{with gelu or a residual needs a dense result of rank 2 and mode overwrite}}
  exec.gemm %a, %b gelu to %c mode add : memref<4x5xf32>, memref<5x3xf32> to memref<4x3xf32>
  return
}

// -----

func.func @gemm_gelu_batch(%a: memref<2x4x5xf32>, %b: memref<2x5x3xf32>, %c: memref<2x4x3xf32>) {
  // expected-error @+1 {{with gelu or a residual needs a dense result of rank 2 and mode overwrite}}
  exec.gemm %a, %b gelu to %c : memref<2x4x5xf32>, memref<2x5x3xf32> to memref<2x4x3xf32>
  return
}

// -----

func.func @gemm_residual_shape(%a: memref<4x5xf32>, %b: memref<5x3xf32>, %c: memref<4x3xf32>, %d: memref<3x4xf32>) {
  // expected-error @+1 {{residual has shape [3, 4] but must have [4, 3]}}
  exec.gemm %a, %b residual %d to %c : memref<4x5xf32>, memref<5x3xf32> residual memref<3x4xf32> to memref<4x3xf32>
  return
}

// -----

func.func @gemm_residual_narrow(%a: memref<4x5xbf16>, %b: memref<5x3xbf16>, %c: memref<4x3xbf16>, %d: memref<4x3xf32>) {
  // expected-error @+1 {{residual has element type 'f32' but must have 'bf16'}}
  exec.gemm %a, %b residual %d to %c : memref<4x5xbf16>, memref<5x3xbf16> residual memref<4x3xf32> to memref<4x3xbf16>
  return
}

// -----

func.func @gemm_aux_element(%a: memref<4x5xbf16>, %b: memref<5x3xbf16>, %c: memref<4x3xbf16>, %d: memref<4x3xf32>) {
  // expected-error @+1 {{aux has element type 'f32' but must have 'bf16'}}
  exec.gemm %a, %b gelu to %c aux %d : memref<4x5xbf16>, memref<5x3xbf16> to memref<4x3xbf16> aux memref<4x3xf32>
  return
}

// -----

func.func @grouped_swiglu_odd(%m: memref<48xi32>, %x: memref<8x5xf32>, %w: memref<3x5x7xf32>, %y: memref<8x7xf32>, %h: memref<8x3xf32>) {
  %r = exec.routing %m : memref<48xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  // expected-error @+1 {{has 7 columns but swiglu needs two halves}}
  exec.grouped_gemm %x, %w, %r to %y swiglu %h : memref<8x5xf32>, memref<3x5x7xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> to memref<8x7xf32> swiglu memref<8x3xf32>
  return
}

// -----

func.func @grouped_swiglu_shape(%m: memref<48xi32>, %x: memref<8x5xf32>, %w: memref<3x5x6xf32>, %y: memref<8x6xf32>, %h: memref<8x2xf32>) {
  %r = exec.routing %m : memref<48xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  // expected-error @+1 {{swiglu has shape [8, 2] but must have [8, 3]}}
  exec.grouped_gemm %x, %w, %r to %y swiglu %h : memref<8x5xf32>, memref<3x5x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> to memref<8x6xf32> swiglu memref<8x2xf32>
  return
}

// -----

func.func @grouped_swiglu_element(%m: memref<48xi32>, %x: memref<8x5xbf16>, %w: memref<3x5x6xbf16>, %y: memref<8x6xbf16>, %h: memref<8x3xf32>) {
  %r = exec.routing %m : memref<48xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  // expected-error @+1 {{swiglu has element type 'f32' but must have 'bf16'}}
  exec.grouped_gemm %x, %w, %r to %y swiglu %h : memref<8x5xbf16>, memref<3x5x6xbf16>, !nn.routing<tokens = 4, k = 2, experts = 3> to memref<8x6xbf16> swiglu memref<8x3xf32>
  return
}

// -----

func.func @grouped_bias(%m: memref<48xi32>, %x: memref<8x5xf32>, %w: memref<3x5x6xf32>, %b: memref<3x5xf32>, %y: memref<8x6xf32>) {
  %r = exec.routing %m : memref<48xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  // expected-error @+1 {{bias has shape [3, 5] but must have [3, 6]}}
  exec.grouped_gemm %x, %w, %r bias %b to %y : memref<8x5xf32>, memref<3x5x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> bias memref<3x5xf32> to memref<8x6xf32>
  return
}

// -----

func.func @grouped_bias_swiglu(%m: memref<48xi32>, %x: memref<8x5xf32>, %w: memref<3x5x6xf32>, %b: memref<3x6xf32>, %y: memref<8x6xf32>, %h: memref<8x3xf32>) {
  %r = exec.routing %m : memref<48xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  // expected-error @+1 {{has a bias and swiglu; one of them can be in a product}}
  exec.grouped_gemm %x, %w, %r bias %b to %y swiglu %h : memref<8x5xf32>, memref<3x5x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> bias memref<3x6xf32> to memref<8x6xf32> swiglu memref<8x3xf32>
  return
}

// -----

func.func @grouped_experts(%m: memref<48xi32>, %x: memref<8x5xf32>, %w: memref<2x5x6xf32>, %y: memref<8x6xf32>) {
  %r = exec.routing %m : memref<48xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  // expected-error @+1 {{weight has shape [2, 5, 6] but must have [3, 5, 6]}}
  exec.grouped_gemm %x, %w, %r to %y : memref<8x5xf32>, memref<2x5x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> to memref<8x6xf32>
  return
}

// -----

func.func @grouped_gathered(%m: memref<48xi32>, %x: memref<8x5xf32>, %w: memref<3x5x6xf32>, %y: memref<8x6xf32>) {
  %r = exec.routing %m : memref<48xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  // expected-error @+1 {{rows has shape [8, 5] but must have [4, 5]}}
  exec.grouped_gemm %x, %w, %r to %y {gather_rows} : memref<8x5xf32>, memref<3x5x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> to memref<8x6xf32>
  return
}

// -----

func.func @grouped_gathers_both(%m: memref<48xi32>, %x: memref<4x5xf32>, %w: memref<3x5x6xf32>, %y: memref<4x6xf32>) {
  %r = exec.routing %m : memref<48xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  // expected-error @+1 {{gathers both sides, of which one at most can be tokens}}
  exec.grouped_gemm_grad_weight %x, %y, %r to %w {gather_lhs, gather_rhs} : memref<4x5xf32>, memref<4x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> to memref<3x5x6xf32>
  return
}

// -----

func.func @grouped_rows(%m: memref<48xi32>, %x: memref<7x5xf32>, %w: memref<3x5x6xf32>, %y: memref<8x6xf32>) {
  %r = exec.routing %m : memref<48xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  // expected-error @+1 {{lhs has shape [7, 5] but must have [8, 5]}}
  exec.grouped_gemm_grad_weight %x, %y, %r to %w : memref<7x5xf32>, memref<8x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> to memref<3x5x6xf32>
  return
}

// -----

func.func @reduce_dims(%x: memref<4x5xf32>, %y: memref<5xf32>) {
  // expected-error @+1 {{dims [2] must be strictly increasing and lie in 0..1}}
  exec.reduce sum %x [2] to %y : memref<4x5xf32> to memref<5xf32>
  return
}

// -----

func.func @reduce_shape(%x: memref<4x5xf32>, %y: memref<5xf32>) {
  // expected-error @+1 {{result has shape [5] but must have [4]}}
  exec.reduce sum %x [1] to %y : memref<4x5xf32> to memref<5xf32>
  return
}

// -----

func.func @reduce_mode(%x: memref<4x5xf32>, %y: memref<5xf32>) {
  // expected-error @+1 {{of kind max cannot add to the result: only sums can}}
  exec.reduce max %x [0] to %y mode add : memref<4x5xf32> to memref<5xf32>
  return
}

// -----

func.func @top_k_size(%x: memref<4x5xf32>, %v: memref<4x6xf32>, %i: memref<4x6xi64>) {
  // expected-error @+1 {{k of 6 must lie in 1..5}}
  exec.top_k %x to %v, %i : memref<4x5xf32> to memref<4x6xf32>, memref<4x6xi64>
  return
}

// -----

func.func @cumsum_axis(%x: memref<4x5xf32>) {
  // expected-error @+1 {{axis 2 must lie in 0..1}}
  exec.cumsum %x axis 2 to %x : memref<4x5xf32> to memref<4x5xf32>
  return
}

// -----

func.func @norm_scale(%x: memref<4x5xf32>, %s: memref<4xf32>) {
  // expected-error @+1 {{scale has shape [4] but must have [5]}}
  exec.rms_norm %x scale %s eps 1.0e-05 to %x : memref<4x5xf32> scale memref<4xf32> to memref<4x5xf32>
  return
}

// -----

func.func @norm_sum(%x: memref<4x5xf32>) {
  // expected-error @+1 {{has one of residual and sum but needs both or neither}}
  exec.layer_norm %x residual %x eps 1.0e-05 to %x : memref<4x5xf32> residual memref<4x5xf32> to memref<4x5xf32>
  return
}

// -----

func.func @norm_grad_nothing(%x: memref<4x5xf32>) {
  // expected-error @+1 {{needs at least one result}}
  exec.layer_norm_grad %x cotangent %x eps 1.0e-05 to : memref<4x5xf32>, memref<4x5xf32> to
  return
}

// -----

func.func @norm_grad_add(%x: memref<4x5xf32>, %a: memref<5xf32>) {
  // expected-error @+1 {{add has shape [5] but must have [4, 5]}}
  exec.rms_norm_grad %x cotangent %x add %a eps 1.0e-05 to input %x : memref<4x5xf32>, memref<4x5xf32> add memref<5xf32> to input memref<4x5xf32>
  return
}

// -----

func.func @softmax_shape(%x: memref<4x5xf32>, %y: memref<4xf32>) {
  // expected-error @+1 {{result has shape [4] but must have [4, 5]}}
  exec.softmax %x to %y : memref<4x5xf32> to memref<4xf32>
  return
}

// -----

func.func @softmax_grad_shape(%x: memref<4x5xf32>, %y: memref<4xf32>) {
  // expected-error @+1 {{cotangent has shape [4] but must have [4, 5]}}
  exec.softmax_grad %x, %y to %x : memref<4x5xf32>, memref<4xf32> to memref<4x5xf32>
  return
}

// -----

func.func @entropy_labels(%x: memref<4x5xf32>, %l: memref<3xi64>, %y: memref<4xf32>) {
  // expected-error @+1 {{labels has shape [3] but must have [4]}}
  exec.cross_entropy %x, %l ignore -100 to %y, %y : memref<4x5xf32>, memref<3xi64> to memref<4xf32>, memref<4xf32>
  return
}

// -----

func.func @entropy_cotangent(%x: memref<4x5xf32>, %l: memref<4xi64>, %y: memref<4xf32>, %s: memref<f32>) {
  // expected-error @+1 {{has one of cotangent and d_logits but needs both or neither}}
  exec.cross_entropy %x, %l cotangent %s ignore -100 to %y, %y : memref<4x5xf32>, memref<4xi64> cotangent memref<f32> to memref<4xf32>, memref<4xf32>
  return
}

// -----

func.func @entropy_grad(%x: memref<4x5xf32>, %l: memref<4xi64>, %y: memref<3xf32>) {
  // expected-error @+1 {{lse has shape [3] but must have [4]}}
  exec.cross_entropy_grad %x, %l, %y cotangent %y ignore -100 to %x : memref<4x5xf32>, memref<4xi64>, memref<3xf32>, memref<3xf32> to memref<4x5xf32>
  return
}

// -----

func.func @loss_rank(%x: memref<4xf32>) {
  // expected-error @+1 {{value has shape [4] but must have []}}
  exec.loss %x : memref<4xf32>
  return
}

// -----

func.func @rope_tables(%x: memref<2x4x10x8xf32>, %c: memref<1x10x8xf32>) {
  // expected-error @+1 {{cos has shape [1, 10, 8] but must have [1, 10, 4]}}
  exec.rope %x, %c, %c to %x : memref<2x4x10x8xf32>, memref<1x10x8xf32>, memref<1x10x8xf32> to memref<2x4x10x8xf32>
  return
}

// -----

func.func @attention_heads(%q: memref<2x4x10x8xf32>, %k: memref<2x3x10x8xf32>, %l: memref<2x4x10xf32>) {
  // expected-error @+1 {{has 4 query heads, which must be a multiple of the 3 key heads}}
  exec.attention %q, %k, %k scale 1.0 to %q, %l : memref<2x4x10x8xf32>, memref<2x3x10x8xf32>, memref<2x3x10x8xf32> to memref<2x4x10x8xf32>, memref<2x4x10xf32>
  return
}

// -----

func.func @attention_mask(%q: memref<2x4x10x8xf32>, %m: memref<2x1x1x10xi1>, %l: memref<2x4x10xf32>) {
  // expected-error @+1 {{mask has shape [2, 1, 1, 10] but must have [2, 4, 10, 10]}}
  exec.attention %q, %q, %q mask %m scale 1.0 to %q, %l : memref<2x4x10x8xf32>, memref<2x4x10x8xf32>, memref<2x4x10x8xf32> mask memref<2x1x1x10xi1> to memref<2x4x10x8xf32>, memref<2x4x10xf32>
  return
}

// -----

func.func @attention_strides(%q: memref<2x4x10x8xf32, strided<[320, 80, 1, 10]>>, %o: memref<2x4x10x8xf32>, %l: memref<2x4x10xf32>) {
  // expected-error @+1 {{query must have unit stride in the last dim, not 10}}
  exec.attention %q, %o, %o scale 1.0 to %o, %l : memref<2x4x10x8xf32, strided<[320, 80, 1, 10]>>, memref<2x4x10x8xf32>, memref<2x4x10x8xf32> to memref<2x4x10x8xf32>, memref<2x4x10xf32>
  return
}

// -----

func.func @attention_grad_shape(%q: memref<2x4x10x8xf32>, %d: memref<2x4x9x8xf32>, %l: memref<2x4x10xf32>) {
  // expected-error @+1 {{d_key has shape [2, 4, 9, 8] but must have [2, 4, 10, 8]}}
  exec.attention_grad %q, %q, %q output %q lse %l cotangent %q scale 1.0 to %q, %d, %q : memref<2x4x10x8xf32>, memref<2x4x10x8xf32>, memref<2x4x10x8xf32>, memref<2x4x10x8xf32>, memref<2x4x10xf32>, memref<2x4x10x8xf32> to memref<2x4x10x8xf32>, memref<2x4x9x8xf32>, memref<2x4x10x8xf32>
  return
}

// -----

func.func @router_k(%x: memref<4x3xf32>, %w: memref<4x5xf32>, %i: memref<4x5xi64>) {
  // expected-error @+1 {{chooses 5 of 3 experts}}
  exec.router softmax %x to %w, %i {epsilon = 0.0, scale = 1.0} : memref<4x3xf32> to memref<4x5xf32>, memref<4x5xi64>
  return
}

// -----

func.func @router_bias(%x: memref<4x3xf32>, %b: memref<4xf32>, %w: memref<4x2xf32>, %i: memref<4x2xi64>) {
  // expected-error @+1 {{bias has shape [4] but must have [3]}}
  exec.router sigmoid %x bias %b to %w, %i {epsilon = 0.0, scale = 1.0} : memref<4x3xf32> bias memref<4xf32> to memref<4x2xf32>, memref<4x2xi64>
  return
}

// -----

func.func @router_grad(%x: memref<4x3xf32>, %w: memref<4x2xf32>, %i: memref<4x2xi64>) {
  // expected-error @+1 {{d_logits has shape [4, 2] but must have [4, 3]}}
  exec.router_grad softmax %x, %i, %w to %w {epsilon = 0.0, scale = 1.0} : memref<4x3xf32>, memref<4x2xi64>, memref<4x2xf32> to memref<4x2xf32>
  return
}

// -----

func.func @route_ids(%m: memref<48xi32>, %i: memref<5x2xi64>) {
  %r = exec.routing %m : memref<48xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  // expected-error @+1 {{ids has shape [5, 2] but must have [4, 2]}}
  exec.route %i to %r : memref<5x2xi64> to !nn.routing<tokens = 4, k = 2, experts = 3>
  return
}

// -----

func.func @dispatch_rows(%m: memref<48xi32>, %x: memref<4x6xf32>, %y: memref<7x6xf32>) {
  %r = exec.routing %m : memref<48xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  // expected-error @+1 {{rows has shape [7, 6] but must have [8, 6]}}
  exec.dispatch %x, %r to %y : memref<4x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> to memref<7x6xf32>
  return
}

// -----

func.func @combine_weights(%m: memref<48xi32>, %x: memref<8x6xf32>, %w: memref<4x3xf32>, %y: memref<4x6xf32>) {
  %r = exec.routing %m : memref<48xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  // expected-error @+1 {{weights has shape [4, 3] but must have [4, 2]}}
  exec.combine %x weights %w, %r to %y : memref<8x6xf32> weights memref<4x3xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> to memref<4x6xf32>
  return
}

// -----

func.func @combine_grad_nothing(%m: memref<48xi32>, %x: memref<8x6xf32>, %w: memref<4x2xf32>, %y: memref<4x6xf32>) {
  %r = exec.routing %m : memref<48xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  // expected-error @+1 {{needs at least one result}}
  exec.combine_grad %x, %w, %y, %r to : memref<8x6xf32>, memref<4x2xf32>, memref<4x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> to
  return
}

// -----

func.func @per_expert_values(%m: memref<48xi32>, %v: memref<4x6xf32>, %x: memref<8x6xf32>) {
  %r = exec.routing %m : memref<48xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  // expected-error @+1 {{values has shape [4, 6] but must have [3, 6]}}
  exec.per_expert %v, %r to %x : memref<4x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> to memref<8x6xf32>
  return
}

// -----

func.func @per_expert_sum(%m: memref<48xi32>, %v: memref<4x6xf32>, %x: memref<8x6xf32>) {
  %r = exec.routing %m : memref<48xi32> to !nn.routing<tokens = 4, k = 2, experts = 3>
  // expected-error @+1 {{sums has shape [4, 6] but must have [3, 6]}}
  exec.per_expert_sum %x, %r to %v : memref<8x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> to memref<4x6xf32>
  return
}

// -----

exec.kernel @foreign(%x: f32) {
  // expected-error @+1 {{does not belong in a kernel: ops of arith and math do}}
  %0 = tensor.from_elements %x : tensor<1xf32>
  exec.yield %x : f32
}

// -----

// expected-error @+1 {{argument of type 'tensor<f32>' must be a scalar}}
exec.kernel @tensors(%x: tensor<f32>) {
  exec.yield
}

// -----

func.func @shadow_unknown() {
  // expected-error @+1 {{names @w, which is not a pipe.parameter}}
  %0 = exec.shadow @w : memref<4x3xbf16>
  return
}

// -----

pipe.parameter @w : tensor<4x3xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
func.func @shadow_shape() {
  // expected-error @+1 {{type 'memref<3x4xbf16>' must have the shape of the parameter's 'tensor<4x3xf32>'}}
  %0 = exec.shadow @w : memref<3x4xbf16>
  return
}

// -----

func.func @round_shape(%x: memref<4xf32>, %y: memref<5xbf16>) {
  // expected-error @+1 {{'exec.round' op target has shape [5] but must have [4]}}
  exec.round %x to %y : memref<4xf32> to memref<5xbf16>
  return
}

// -----

func.func @gemm_sides(%x: memref<2x3xbf16>, %y: memref<3x4xf32>, %c: memref<2x4xf32>) {
  // expected-error @+1 {{'exec.gemm' op rhs has element type 'f32' but must have 'bf16'}}
  exec.gemm %x, %y to %c : memref<2x3xbf16>, memref<3x4xf32> to memref<2x4xf32>
  return
}

// -----

func.func @gemm_result(%x: memref<2x3xf32>, %y: memref<3x4xf32>, %c: memref<2x4xbf16>) {
  // expected-error @+1 {{'exec.gemm' op result has element type 'bf16' but must have 'f32'}}
  exec.gemm %x, %y to %c : memref<2x3xf32>, memref<3x4xf32> to memref<2x4xbf16>
  return
}

// -----

func.func @gemm_adds_narrow(%x: memref<2x3xbf16>, %y: memref<3x4xbf16>, %c: memref<2x4xbf16>) {
  // expected-error @+1 {{'exec.gemm' op adds to elements of type 'bf16' but only f32 can be added to}}
  exec.gemm %x, %y to %c mode add : memref<2x3xbf16>, memref<3x4xbf16> to memref<2x4xbf16>
  return
}

// -----

func.func @reduce_max_wide(%x: memref<2x3xbf16>, %y: memref<2xf32>) {
  // expected-error @+1 {{'exec.reduce' op result has element type 'f32' but must have 'bf16'}}
  exec.reduce max %x [1] to %y : memref<2x3xbf16> to memref<2xf32>
  return
}

// -----

func.func @norm_widens(%x: memref<2x3xbf16>, %y: memref<2x3xf32>) {
  // expected-error @+1 {{'exec.layer_norm' op result has element type 'f32' but must have 'bf16'}}
  exec.layer_norm %x eps 1.0e-05 to %y : memref<2x3xbf16> to memref<2x3xf32>
  return
}

// -----

func.func @norm_grad_input(%x: memref<2x3xbf16>, %y: memref<2x3xf32>) {
  // expected-error @+1 {{'exec.rms_norm_grad' op d_input has element type 'f32' but must have 'bf16'}}
  exec.rms_norm_grad %x cotangent %x eps 1.0e-05 to input %y : memref<2x3xbf16>, memref<2x3xbf16> to input memref<2x3xf32>
  return
}

// -----

func.func @softmax_narrow(%x: memref<2x3xbf16>) {
  // expected-error @+1 {{'exec.softmax' op operand #0 must be dense f32 memref}}
  exec.softmax %x to %x : memref<2x3xbf16> to memref<2x3xbf16>
  return
}

// -----

func.func @cross_entropy_gradient(%x: memref<2x3xbf16>, %l: memref<2xi64>, %v: memref<2xf32>, %d: memref<2x3xf32>) {
  // expected-error @+1 {{'exec.cross_entropy_grad' op d_logits has element type 'f32' but must have 'bf16'}}
  exec.cross_entropy_grad %x, %l, %v cotangent %v ignore -100 to %d : memref<2x3xbf16>, memref<2xi64>, memref<2xf32>, memref<2xf32> to memref<2x3xf32>
  return
}

// -----

func.func @rope_result(%x: memref<1x2x3x4xbf16>, %t: memref<1x3x2xf32>, %y: memref<1x2x3x4xf32>) {
  // expected-error @+1 {{'exec.rope' op result has element type 'f32' but must have 'bf16'}}
  exec.rope %x, %t, %t to %y : memref<1x2x3x4xbf16>, memref<1x3x2xf32>, memref<1x3x2xf32> to memref<1x2x3x4xf32>
  return
}

// -----

func.func @dispatch_rows(%x: memref<2x3xbf16>, %y: memref<4x3xf32>, %m: memref<48xi32>) {
  %r = exec.routing %m : memref<48xi32> to <tokens = 2, k = 2, experts = 3>
  // expected-error @+1 {{'exec.dispatch' op rows has element type 'f32' but must have 'bf16'}}
  exec.dispatch %x, %r to %y : memref<2x3xbf16>, <tokens = 2, k = 2, experts = 3> to memref<4x3xf32>
  return
}

// -----

func.func @all_reduce_type(%x: memref<4xf32>, %y: memref<5xf32>) {
  // expected-error @+1 {{'exec.all_reduce' op result 'memref<5xf32>' must be as the input 'memref<4xf32>'}}
  exec.all_reduce %x over ["dp"] to %y : memref<4xf32> to memref<5xf32>
  return
}

// -----

func.func @reduce_scatter_multiple(%x: memref<7x2xf32>, %y: memref<3x2xf32>) {
  // expected-error @+1 {{'exec.reduce_scatter' op input 'memref<7x2xf32>' must be as result 'memref<3x2xf32>' but for a multiple of dim 0}}
  exec.reduce_scatter %x dim 0 over ["ep"] to %y : memref<7x2xf32> to memref<3x2xf32>
  return
}

// -----

func.func @all_gather_other_dim(%x: memref<3x2xf32>, %y: memref<6x4xf32>) {
  // expected-error @+1 {{'exec.all_gather' op result 'memref<6x4xf32>' must be as input 'memref<3x2xf32>' but for a multiple of dim 0}}
  exec.all_gather %x dim 0 over ["ep"] to %y : memref<3x2xf32> to memref<6x4xf32>
  return
}

// -----

func.func @split_dim(%x: memref<4xf32>, %y: memref<2xf32>) {
  // expected-error @+1 {{'exec.split' op dim 1 must lie in 0..0}}
  exec.split %x dim 1 over ["tp"] to %y : memref<4xf32> to memref<2xf32>
  return
}

// -----

func.func @axis_index_one(%i: memref<2xi64>) {
  // expected-error @+1 {{'exec.axis_index' op result 'memref<2xi64>' must have one element}}
  exec.axis_index over ["tp"] to %i : memref<2xi64>
  return
}

// -----

func.func @exchange_counts(%m: memref<48xi32>, %l: memref<48xi32>, %c: memref<7xi32>) {
  %r = exec.routing %m : memref<48xi32> to <tokens = 2, k = 2, experts = 4>
  %local = exec.routing %l : memref<48xi32> to <tokens = 8, k = 1, experts = 2>
  // expected-error @+1 {{'exec.exchange' op counts 'memref<7xi32>' must have 9 elements}}
  exec.exchange %r over ["ep"] to %local, %c : <tokens = 2, k = 2, experts = 4> to <tokens = 8, k = 1, experts = 2>, memref<7xi32>
  return
}

// -----

func.func @exchange_experts(%m: memref<48xi32>, %l: memref<48xi32>, %c: memref<7xi32>) {
  %r = exec.routing %m : memref<48xi32> to <tokens = 2, k = 2, experts = 3>
  %local = exec.routing %l : memref<48xi32> to <tokens = 8, k = 1, experts = 2>
  // expected-error @+1 {{'exec.exchange' op 3 experts must be a multiple of the 2 local ones}}
  exec.exchange %r over ["ep"] to %local, %c : <tokens = 2, k = 2, experts = 3> to <tokens = 8, k = 1, experts = 2>, memref<7xi32>
  return
}

// -----

func.func @all_to_all_width(%x: memref<4x3xf32>, %c: memref<9xi32>, %y: memref<8x2xf32>) {
  // expected-error @+1 {{'exec.all_to_all_rows' op result 'memref<8x2xf32>' must have rows like those of 'memref<4x3xf32>'}}
  exec.all_to_all_rows %x, %c over ["ep"] to %y : memref<4x3xf32>, memref<9xi32> to memref<8x2xf32>
  return
}

// -----

exec.kernel @k(%x: f32) {
  exec.yield %x : f32
}
func.func @launch_rows(%x: memref<10xf32>, %b: memref<48xi32>) {
  %r = exec.routing %b : memref<48xi32> to !nn.routing<tokens = 4, k = 1, experts = 2>
  // expected-error @+1 {{first size of the iteration space 'memref<10xf32>' must be a multiple of the routing's 4 rows}}
  exec.launch @k ins(%x : memref<10xf32>) rows(%r : !nn.routing<tokens = 4, k = 1, experts = 2>) outs(%x : memref<10xf32>)
  return
}

// -----

func.func @choice_counts(%ids: memref<20x2xi64>, %c: memref<3x8xf32>) {
  // expected-error @+1 {{counts has shape [3, 8] but must have [2, 8]}}
  exec.choice_counts %ids to %c : memref<20x2xi64> to memref<3x8xf32>
  return
}

// -----

func.func @capacity(%ids: memref<20x2xi64>, %c: memref<4x3x8xf32>, %s: memref<i64>) {
  // expected-error @+1 {{counts has shape [4, 3, 8] but must have [4, 2, 8]}}
  exec.capacity %ids counts %c at %s slots 6 to %ids : memref<20x2xi64>, memref<4x3x8xf32>, memref<i64> to memref<20x2xi64>
  return
}

// -----

func.func @in_one_part(%x: memref<4x3xf32>, %c: memref<9xi32>, %y: memref<8x3xf32>) {
  // expected-error @+1 {{'exec.in_parts' must be 2 or more, of an exec.all_to_all_rows}}
  exec.all_to_all_rows %x, %c over ["ep"] to %y {exec.in_parts = 1 : i64} : memref<4x3xf32>, memref<9xi32> to memref<8x3xf32>
  return
}

// -----

func.func @part_beyond(%x: memref<4x3xf32>, %c: memref<9xi32>, %y: memref<8x3xf32>) {
  // expected-error @+1 {{'exec.part' must be a part, how many there are and of which exchange}}
  exec.all_to_all_rows %x, %c over ["ep"] to %y {exec.part = array<i64: 2, 2, 0>} : memref<4x3xf32>, memref<9xi32> to memref<8x3xf32>
  return
}

// -----

func.func @part_of_no_rows(%x: memref<4x3xf32>) {
  // expected-error @+1 {{has no rows of experts, of which 'exec.part' could be a part}}
  exec.fill %x with 0.0 : f32 {exec.part = array<i64: 0, 2, 0>} : memref<4x3xf32>
  return
}

// -----

func.func @unequal_parts(%x: memref<40x32xf32>, %w: memref<3x32x16xf32>, %m: memref<112xi32>, %y: memref<40x16xf32>) {
  %r = exec.routing %m : memref<112xi32> to !nn.routing<tokens = 20, k = 2, experts = 3>
  // expected-error @+1 {{3 experts have no 2 equal parts}}
  exec.grouped_gemm %x, %w, %r to %y {exec.part = array<i64: 0, 2, 0>} : memref<40x32xf32>, memref<3x32x16xf32>, !nn.routing<tokens = 20, k = 2, experts = 3> to memref<40x16xf32>
  return
}

// -----

func.func @training(%sum: memref<f32>) {
  // expected-error @+1 {{'exec.training' is a unit, of a statement that is not the loss}}
  exec.loss %sum {exec.training} : memref<f32>
  return
}

// -----

func.func @groups(%x: memref<4xf32>) {
  // expected-error @+1 {{'exec.groups' must be names of groups, of a statement that is not the loss}}
  exec.fill %x with 0.0 : f32 {exec.groups = 5 : i64} : memref<4xf32>
  return
}

// -----

func.func @groups_of_loss(%sum: memref<f32>) {
  // expected-error @+1 {{'exec.groups' must be names of groups, of a statement that is not the loss}}
  exec.loss %sum {exec.groups = ["head"]} : memref<f32>
  return
}
