// RUN: moire-opt %s --split-input-file --verify-diagnostics

// One case for each constraint that an op's documentation lists.

func.func @reshape_count(%x: tensor<2x3xf32>) {
  // expected-error @+1 {{'nn.reshape' op result has 5 elements but the input has 6}}
  %0 = nn.reshape %x : tensor<2x3xf32> -> tensor<5xf32>
  return
}

// -----

func.func @reshape_type(%x: tensor<2x3xf32>) {
  // expected-error @+1 {{'nn.reshape' op element type 'f64' must be the input's 'f32'}}
  %0 = nn.reshape %x : tensor<2x3xf32> -> tensor<6xf64>
  return
}

// -----

func.func @transpose_permutation(%x: tensor<2x3xf32>) {
  // expected-error @+2 {{permutation [0, 0] must hold each of 0..1 once}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.transpose %x [0, 0] : tensor<2x3xf32> -> tensor<2x2xf32>
  return
}

// -----

func.func @transpose_rank(%x: tensor<2x3xf32>) {
  // expected-error @+2 {{permutation has 1 entries but the input has rank 2}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.transpose %x [1] : tensor<2x3xf32> -> tensor<3xf32>
  return
}

// -----

func.func @inferred_type(%x: tensor<2x3xf32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{'nn.transpose' op inferred type(s) 'tensor<3x2xf32>' are incompatible with return type(s) of operation 'tensor<2x3xf32>'}}
  %0 = nn.transpose %x [1, 0] : tensor<2x3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @broadcast_type(%x: tensor<3xf32>) {
  // expected-error @+1 {{'nn.broadcast' op element type 'i64' must be the input's 'f32'}}
  %0 = nn.broadcast %x [0] : tensor<3xf32> -> tensor<3x2xi64>
  return
}

// -----

func.func @broadcast_entries(%x: tensor<3xf32>) {
  // expected-error @+1 {{'nn.broadcast' op dimensions has 2 entries but the input has rank 1}}
  %0 = nn.broadcast %x [0, 1] : tensor<3xf32> -> tensor<3x2xf32>
  return
}

// -----

func.func @broadcast_order(%x: tensor<3x3xf32>) {
  // expected-error @+1 {{dimensions [1, 0] must be strictly increasing and lie in 0..2}}
  %0 = nn.broadcast %x [1, 0] : tensor<3x3xf32> -> tensor<3x3x2xf32>
  return
}

// -----

func.func @broadcast_size(%x: tensor<1x3xf32>) {
  // expected-error @+1 {{'nn.broadcast' op input dim 0 of size 1 does not match result dim 0 of size 2}}
  %0 = nn.broadcast %x [0, 1] : tensor<1x3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @slice_entries(%x: tensor<2x3xf32>) {
  // expected-error @+2 {{starts, limits and strides must have 2 entries each, one per dim}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.slice %x starts [0] limits [2] strides [1] : tensor<2x3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @slice_window(%x: tensor<2x3xf32>) {
  // expected-error @+2 {{window 1..4 by 1 does not lie in dim 1 of size 3}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.slice %x starts [0, 1] limits [2, 4] strides [1, 1] : tensor<2x3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @slice_stride(%x: tensor<2x3xf32>) {
  // expected-error @+2 {{window 0..2 by 0 does not lie in dim 0 of size 2}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.slice %x starts [0, 0] limits [2, 3] strides [0, 1] : tensor<2x3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @pad_entries(%x: tensor<2x3xf32>) {
  // expected-error @+2 {{low, high and interior must have 2 entries each, one per dim}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.pad %x low [0, 0] high [0] interior [0, 0] : tensor<2x3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @pad_negative(%x: tensor<2x3xf32>) {
  // expected-error @+2 {{padding of dim 1 must not be negative}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.pad %x low [0, -1] high [0, 0] interior [0, 0] : tensor<2x3xf32> -> tensor<2x2xf32>
  return
}

// -----

func.func @concat_nothing() {
  // expected-error @+2 {{needs at least one input}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = "nn.concat"() {dim = 0 : i64} : () -> tensor<2xf32>
  return
}

// -----

func.func @concat_shape(%x: tensor<2x3xf32>, %y: tensor<2x4xf32>) {
  // expected-error @+2 {{input 'tensor<2x4xf32>' does not join 'tensor<2x3xf32>' along dim 0}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.concat %x, %y dim 0 : tensor<2x3xf32>, tensor<2x4xf32> -> tensor<4x3xf32>
  return
}

// -----

func.func @concat_dim(%x: tensor<2x3xf32>) {
  // expected-error @+2 {{dim 2 must lie in 0..1}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.concat %x dim 2 : tensor<2x3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @reverse_dims(%x: tensor<2x3xf32>) {
  // expected-error @+2 {{dims [0, 0] must be strictly increasing and lie in 0..1}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.reverse %x [0, 0] : tensor<2x3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @iota_dim() {
  // expected-error @+1 {{'nn.iota' op dim -1 must lie in 0..1}}
  %0 = nn.iota -1 : tensor<2x3xi64>
  return
}

// -----

func.func @gather_scalar(%x: tensor<f32>, %i: tensor<4xi64>) {
  // expected-error @+2 {{table must have rank 1 or more}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.gather %x[%i] : tensor<f32>, tensor<4xi64> -> tensor<4xf32>
  return
}

// -----

func.func @gather_index_type(%x: tensor<5xf32>, %i: tensor<4xi32>) {
  // expected-error @+1 {{'nn.gather' op operand #1 must be statically shaped tensor of 64-bit signless integer values, but got 'tensor<4xi32>'}}
  %0 = nn.gather %x[%i] : tensor<5xf32>, tensor<4xi32> -> tensor<4xf32>
  return
}

// -----

func.func @scatter_updates(%b: tensor<5x3xf32>, %i: tensor<4xi64>, %u: tensor<4x2xf32>) {
  // expected-error @+2 {{updates of type 'tensor<4x2xf32>' must be 'tensor<4x3xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.scatter add %u into %b[%i] : tensor<4x2xf32>, tensor<5x3xf32>, tensor<4xi64> -> tensor<5x3xf32>
  return
}

// -----

func.func @gather_elements_rank(%x: tensor<5x3xf32>, %i: tensor<4xi64>) {
  // expected-error @+2 {{indices of rank 1 and axis 0 do not fit an input of rank 2}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.gather_elements %x[%i] axis 0 : tensor<5x3xf32>, tensor<4xi64> -> tensor<4xf32>
  return
}

// -----

func.func @gather_elements_size(%x: tensor<5x3xf32>, %i: tensor<6x3xi64>) {
  // expected-error @+2 {{indices dim 0 of size 6 exceeds the input's size 5}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.gather_elements %x[%i] axis 1 : tensor<5x3xf32>, tensor<6x3xi64> -> tensor<6x3xf32>
  return
}

// -----

func.func @scatter_elements_updates(%b: tensor<5x3xf32>, %i: tensor<2x3xi64>, %u: tensor<3x3xf32>) {
  // expected-error @+2 {{updates of type 'tensor<3x3xf32>' must be 'tensor<2x3xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.scatter_elements add %u into %b[%i] axis 0 : tensor<3x3xf32>, tensor<5x3xf32>, tensor<2x3xi64> -> tensor<5x3xf32>
  return
}

// -----

func.func @scatter_elements_axis(%b: tensor<5x3xf32>, %i: tensor<2x3xi64>, %u: tensor<2x3xf32>) {
  // expected-error @+2 {{indices of rank 2 and axis 2 do not fit a base of rank 2}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.scatter_elements add %u into %b[%i] axis 2 : tensor<2x3xf32>, tensor<5x3xf32>, tensor<2x3xi64> -> tensor<5x3xf32>
  return
}

// -----

func.func @scatter_elements_size(%b: tensor<5x3xf32>, %i: tensor<2x4xi64>, %u: tensor<2x4xf32>) {
  // expected-error @+2 {{indices dim 1 of size 4 exceeds the base's size 3}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.scatter_elements add %u into %b[%i] axis 0 : tensor<2x4xf32>, tensor<5x3xf32>, tensor<2x4xi64> -> tensor<5x3xf32>
  return
}

// -----

func.func @matmul_rank(%x: tensor<3xf32>, %y: tensor<3x2xf32>) {
  // expected-error @+2 {{both sides must have rank 2 or more}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.matmul %x, %y : tensor<3xf32>, tensor<3x2xf32> -> tensor<2xf32>
  return
}

// -----

func.func @matmul_types(%x: tensor<2x3xf32>, %y: tensor<3x2xf64>) {
  // expected-error @+2 {{element types 'f32' and 'f64' must be equal}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.matmul %x, %y : tensor<2x3xf32>, tensor<3x2xf64> -> tensor<2x2xf32>
  return
}

// -----

func.func @matmul_batch(%x: tensor<4x2x3xf32>, %y: tensor<5x3x2xf32>) {
  // expected-error @+2 {{batch dims [4] and [5] must be equal}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.matmul %x, %y : tensor<4x2x3xf32>, tensor<5x3x2xf32> -> tensor<4x2x2xf32>
  return
}

// -----

func.func @matmul_inner(%x: tensor<2x3xf32>, %y: tensor<2x3xf32>) {
  // expected-error @+2 {{inner sizes 3 and 2 must be equal}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.matmul %x, %y : tensor<2x3xf32>, tensor<2x3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @matmul_transposed_batch(%x: tensor<4x3x2xf32>, %y: tensor<3x5xf32>) {
  // expected-error @+2 {{transpose_lhs with a rank-2 rhs wants a rank-2 lhs, not rank 3}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.matmul %x, %y {transpose_lhs} : tensor<4x3x2xf32>, tensor<3x5xf32> -> tensor<4x2x5xf32>
  return
}

// -----

func.func @reduce_dims(%x: tensor<2x3xf32>) {
  // expected-error @+2 {{dims [2] must be strictly increasing and lie in 0..1}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.reduce sum %x [2] : tensor<2x3xf32> -> tensor<2xf32>
  return
}

// -----

func.func @top_k_size(%x: tensor<2x3xf32>) {
  // expected-error @+2 {{k = 4 must lie in 1..3, the size of the last dim}}
  // expected-error @+1 {{failed to infer returned types}}
  %0, %1 = nn.top_k %x k 4 : tensor<2x3xf32> -> tensor<2x4xf32>, tensor<2x4xi64>
  return
}

// -----

func.func @cumsum_axis(%x: tensor<2x3xf32>) {
  // expected-error @+2 {{axis 2 must lie in 0..1}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.cumsum %x axis 2 : tensor<2x3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @softmax_rank(%x: tensor<f32>) {
  // expected-error @+1 {{input must have rank 1 or more}}
  %0 = nn.softmax %x : tensor<f32>
  return
}

// -----

func.func @softmax_grad_types(%x: tensor<2x3xf32>, %y: tensor<2x4xf32>) {
  // expected-error @+1 {{cotangent of type 'tensor<2x4xf32>' must be 'tensor<2x3xf32>'}}
  %0 = nn.softmax_grad %x, %y : tensor<2x3xf32>, tensor<2x4xf32>
  return
}

// -----

func.func @layer_norm_scale(%x: tensor<2x3xf32>, %s: tensor<2xf32>, %b: tensor<3xf32>) {
  // expected-error @+2 {{scale of type 'tensor<2xf32>' must be 'tensor<3xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.layer_norm %x scale %s bias %b eps 1.0e-05 : tensor<2x3xf32>, tensor<2xf32>, tensor<3xf32>
  return
}

// -----

func.func @layer_norm_bias(%x: tensor<2x3xf32>, %s: tensor<3xf32>, %b: tensor<1xf32>) {
  // expected-error @+2 {{bias of type 'tensor<1xf32>' must be 'tensor<3xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.layer_norm %x scale %s bias %b eps 1.0e-05 : tensor<2x3xf32>, tensor<3xf32>, tensor<1xf32>
  return
}

// -----

func.func @layer_norm_grad_cotangent(%x: tensor<2x3xf32>, %c: tensor<3xf32>) {
  // expected-error @+1 {{'nn.layer_norm_grad' op cotangent and input cotangent must have the input's type 'tensor<2x3xf32>'}}
  %0, %1, %2 = nn.layer_norm_grad %x cotangent %c eps 1.0e-05 : tensor<2x3xf32>, tensor<3xf32> -> tensor<2x3xf32>, tensor<3xf32>, tensor<3xf32>
  return
}

// -----

func.func @layer_norm_grad_bias(%x: tensor<2x3xf32>) {
  // expected-error @+1 {{bias cotangent of type 'tensor<2xf32>' must be 'tensor<3xf32>'}}
  %0, %1, %2 = nn.layer_norm_grad %x cotangent %x eps 1.0e-05 : tensor<2x3xf32>, tensor<2x3xf32> -> tensor<2x3xf32>, tensor<3xf32>, tensor<2xf32>
  return
}

// -----

func.func @rms_norm_scale(%x: tensor<2x3xf32>, %s: tensor<2xf32>) {
  // expected-error @+2 {{scale of type 'tensor<2xf32>' must be 'tensor<3xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.rms_norm %x scale %s eps 1.0e-05 : tensor<2x3xf32>, tensor<2xf32>
  return
}

// -----

func.func @rms_norm_grad_scale(%x: tensor<2x3xf32>) {
  // expected-error @+1 {{scale cotangent of type 'tensor<2xf32>' must be 'tensor<3xf32>'}}
  %0, %1 = nn.rms_norm_grad %x cotangent %x eps 1.0e-05 : tensor<2x3xf32>, tensor<2x3xf32> -> tensor<2x3xf32>, tensor<2xf32>
  return
}

// -----

func.func @rope_odd(%x: tensor<2x4x3x5xf32>, %t: tensor<1x3x2xf32>) {
  // expected-error @+1 {{'nn.rope' op input must have rank 4 and an even last dim, not 'tensor<2x4x3x5xf32>'}}
  %0 = nn.rope %x, %t, %t : tensor<2x4x3x5xf32>, tensor<1x3x2xf32>, tensor<1x3x2xf32>
  return
}

// -----

func.func @rope_tables(%x: tensor<2x4x3x8xf32>, %t: tensor<3x3x4xf32>) {
  // expected-error @+1 {{'nn.rope' op tables 'tensor<3x3x4xf32>' and 'tensor<3x3x4xf32>' must both have shape [1 or 2, 3, 4]}}
  %0 = nn.rope %x, %t, %t : tensor<2x4x3x8xf32>, tensor<3x3x4xf32>, tensor<3x3x4xf32>
  return
}

// -----

func.func @attention_rank(%q: tensor<4x3x8xf32>) {
  // expected-error @+2 {{query, key and value must have rank 4}}
  // expected-error @+1 {{failed to infer returned types}}
  %0, %1 = nn.attention %q, %q, %q scale 1.0 : tensor<4x3x8xf32>, tensor<4x3x8xf32>, tensor<4x3x8xf32> -> tensor<4x3x8xf32>, tensor<4x3xf32>
  return
}

// -----

func.func @attention_heads(%q: tensor<2x4x3x8xf32>, %k: tensor<2x3x3x8xf32>) {
  // expected-error @+2 {{4 query heads must be a multiple of 3 key heads}}
  // expected-error @+1 {{failed to infer returned types}}
  %0, %1 = nn.attention %q, %k, %k scale 1.0 : tensor<2x4x3x8xf32>, tensor<2x3x3x8xf32>, tensor<2x3x3x8xf32> -> tensor<2x4x3x8xf32>, tensor<2x4x3xf32>
  return
}

// -----

func.func @attention_sizes(%q: tensor<2x4x3x8xf32>, %k: tensor<2x4x3x6xf32>) {
  // expected-error @+2 {{query 'tensor<2x4x3x8xf32>', key 'tensor<2x4x3x6xf32>' and value 'tensor<2x4x3x6xf32>' do not fit}}
  // expected-error @+1 {{failed to infer returned types}}
  %0, %1 = nn.attention %q, %k, %k scale 1.0 : tensor<2x4x3x8xf32>, tensor<2x4x3x6xf32>, tensor<2x4x3x6xf32> -> tensor<2x4x3x6xf32>, tensor<2x4x3xf32>
  return
}

// -----

func.func @attention_mask(%q: tensor<2x4x3x8xf32>, %m: tensor<2x2x3x3xi1>) {
  // expected-error @+2 {{mask 'tensor<2x2x3x3xi1>' must have shape [2, 4, 3, 3] or 1 in place of a size}}
  // expected-error @+1 {{failed to infer returned types}}
  %0, %1 = nn.attention %q, %q, %q mask %m scale 1.0 : tensor<2x4x3x8xf32>, tensor<2x4x3x8xf32>, tensor<2x4x3x8xf32>, tensor<2x2x3x3xi1> -> tensor<2x4x3x8xf32>, tensor<2x4x3xf32>
  return
}

// -----

func.func @attention_grad_output(%q: tensor<2x4x3x8xf32>, %l: tensor<2x4xf32>) {
  // expected-error @+2 {{output and cotangent must be 'tensor<2x4x3x8xf32>' and lse 'tensor<2x4x3xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0, %1, %2 = nn.attention_grad %q, %q, %q output %q lse %l cotangent %q scale 1.0
    : tensor<2x4x3x8xf32>, tensor<2x4x3x8xf32>, tensor<2x4x3x8xf32>, tensor<2x4x3x8xf32>, tensor<2x4xf32>, tensor<2x4x3x8xf32>
    -> tensor<2x4x3x8xf32>, tensor<2x4x3x8xf32>, tensor<2x4x3x8xf32>
  return
}

// -----

func.func @cross_entropy_shapes(%x: tensor<4x9xf32>, %y: tensor<5xi64>) {
  // expected-error @+2 {{logits 'tensor<4x9xf32>' and labels 'tensor<5xi64>' must have shapes [N, V] and [N]}}
  // expected-error @+1 {{failed to infer returned types}}
  %0, %1 = nn.cross_entropy %x, %y : tensor<4x9xf32>, tensor<5xi64> -> tensor<4xf32>, tensor<4xf32>
  return
}

// -----

func.func @cross_entropy_grad_shapes(%x: tensor<4x9xf32>, %y: tensor<4xi64>, %l: tensor<9xf32>) {
  // expected-error @+1 {{'nn.cross_entropy_grad' op logits must have shape [N, V] and labels, lse and cotangent [N]}}
  %0 = nn.cross_entropy_grad %x, %y, %l, %l : tensor<4x9xf32>, tensor<4xi64>, tensor<9xf32>, tensor<9xf32>
  return
}

// -----

func.func @router_logits(%x: tensor<4xf32>) {
  // expected-error @+2 {{logits must have shape [tokens, experts], not 'tensor<4xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0, %1 = nn.router softmax %x k 1 : tensor<4xf32> -> tensor<4xf32>, tensor<4xi64>
  return
}

// -----

func.func @router_k(%x: tensor<4x3xf32>) {
  // expected-error @+2 {{k = 4 must lie in 1..3, the number of experts}}
  // expected-error @+1 {{failed to infer returned types}}
  %0, %1 = nn.router softmax %x k 4 : tensor<4x3xf32> -> tensor<4x4xf32>, tensor<4x4xi64>
  return
}

// -----

func.func @router_bias(%x: tensor<4x3xf32>, %b: tensor<4xf32>) {
  // expected-error @+2 {{bias must have shape [3]}}
  // expected-error @+1 {{failed to infer returned types}}
  %0, %1 = nn.router sigmoid %x bias %b k 2 : tensor<4x3xf32>, tensor<4xf32> -> tensor<4x2xf32>, tensor<4x2xi64>
  return
}

// -----

func.func @router_grad_shapes(%x: tensor<4x3xf32>, %i: tensor<4x2xi64>, %c: tensor<4x1xf32>) {
  // expected-error @+1 {{logits 'tensor<4x3xf32>', ids 'tensor<4x2xi64>' and cotangent 'tensor<4x1xf32>' must have shapes [T, E], [T, k] and [T, k]}}
  %0 = nn.router_grad softmax %x, %i, %c : tensor<4x3xf32>, tensor<4x2xi64>, tensor<4x1xf32>
  return
}

// -----

func.func @route_shape(%i: tensor<4x2xi64>) {
  // expected-error @+1 {{'nn.route' op ids 'tensor<4x2xi64>' must have the routing's shape [4, 1]}}
  %0 = nn.route %i : tensor<4x2xi64> -> !nn.routing<tokens = 4, k = 1, experts = 3>
  return
}

// -----

func.func @dispatch_tokens(%x: tensor<5x8xf32>, %r: !nn.routing<tokens = 4, k = 2, experts = 3>) {
  // expected-error @+2 {{input 'tensor<5x8xf32>' must have rank 2 and first size 4}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.dispatch %x, %r : tensor<5x8xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x8xf32>
  return
}

// -----

func.func @combine_rows(%x: tensor<4x8xf32>, %r: !nn.routing<tokens = 4, k = 2, experts = 3>) {
  // expected-error @+2 {{rows 'tensor<4x8xf32>' must have rank 2 and first size 8}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.combine %x, %r : tensor<4x8xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<4x8xf32>
  return
}

// -----

func.func @combine_weights(%x: tensor<8x8xf32>, %w: tensor<2x4xf32>, %r: !nn.routing<tokens = 4, k = 2, experts = 3>) {
  // expected-error @+2 {{weights 'tensor<2x4xf32>' must have shape [4, 2]}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.combine %x weights %w, %r : tensor<8x8xf32>, tensor<2x4xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<4x8xf32>
  return
}

// -----

func.func @combine_grad_cotangent(%x: tensor<8x8xf32>, %w: tensor<4x2xf32>, %r: !nn.routing<tokens = 4, k = 2, experts = 3>) {
  // expected-error @+2 {{cotangent 'tensor<8x8xf32>' must have rank 2 and first size 4}}
  // expected-error @+1 {{failed to infer returned types}}
  %0, %1 = nn.combine_grad %x, %w, %x, %r : tensor<8x8xf32>, tensor<4x2xf32>, tensor<8x8xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x8xf32>, tensor<4x2xf32>
  return
}

// -----

func.func @grouped_matmul_experts(%x: tensor<8x5xf32>, %w: tensor<4x5x6xf32>, %r: !nn.routing<tokens = 4, k = 2, experts = 3>) {
  // expected-error @+2 {{weight 'tensor<4x5x6xf32>' must have rank 3 and first size 3}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.grouped_matmul %x, %w, %r : tensor<8x5xf32>, tensor<4x5x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x6xf32>
  return
}

// -----

func.func @grouped_matmul_inner(%x: tensor<8x5xf32>, %w: tensor<3x5x6xf32>, %r: !nn.routing<tokens = 4, k = 2, experts = 3>) {
  // expected-error @+2 {{inner sizes 5 and 6 must be equal}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.grouped_matmul %x, %w, %r {transpose_weight} : tensor<8x5xf32>, tensor<3x5x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x5xf32>
  return
}

// -----

func.func @grouped_matmul_grad_weight_rows(%x: tensor<8x5xf32>, %y: tensor<4x6xf32>, %r: !nn.routing<tokens = 4, k = 2, experts = 3>) {
  // expected-error @+2 {{rhs 'tensor<4x6xf32>' must have rank 2 and first size 8}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.grouped_matmul_grad_weight %x, %y, %r : tensor<8x5xf32>, tensor<4x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<3x5x6xf32>
  return
}

// -----

func.func @grouped_matmul_gathered(%x: tensor<8x5xf32>, %w: tensor<3x5x6xf32>, %r: !nn.routing<tokens = 4, k = 2, experts = 3>) {
  // expected-error @+2 {{rows 'tensor<8x5xf32>' must have rank 2 and first size 4}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.grouped_matmul %x, %w, %r {gather_rows} : tensor<8x5xf32>, tensor<3x5x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x6xf32>
  return
}

// -----

func.func @grouped_matmul_grad_weight_gathered(%x: tensor<4x5xf32>, %y: tensor<4x6xf32>, %r: !nn.routing<tokens = 4, k = 2, experts = 3>) {
  // expected-error @+2 {{gathers both sides, of which one at most can be tokens}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.grouped_matmul_grad_weight %x, %y, %r {gather_lhs, gather_rhs} : tensor<4x5xf32>, tensor<4x6xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<3x5x6xf32>
  return
}

// -----

func.func @per_expert_experts(%x: tensor<4x5xf32>, %r: !nn.routing<tokens = 4, k = 2, experts = 3>) {
  // expected-error @+2 {{values 'tensor<4x5xf32>' must have rank 2 and first size 3}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.per_expert %x, %r : tensor<4x5xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x5xf32>
  return
}

// -----

func.func @per_expert_sum_rows(%x: tensor<3x5xf32>, %r: !nn.routing<tokens = 4, k = 2, experts = 3>) {
  // expected-error @+2 {{rows 'tensor<3x5xf32>' must have rank 2 and first size 8}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.per_expert_sum %x, %r : tensor<3x5xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<3x5xf32>
  return
}

// -----

func.func @dynamic_shape(%x: tensor<?x3xf32>) {
  // expected-error @+1 {{'nn.softmax' op operand #0 must be statically shaped tensor}}
  %0 = nn.softmax %x : tensor<?x3xf32>
  return
}

// -----

func.func @matmul_result(%x: tensor<2x3xf32>, %y: tensor<3x2xf32>) {
  // Only what is summed in f32 may be wider than the operands.
  // expected-error @+2 {{'nn.matmul' op inferred type(s) 'tensor<2x2xf32>' are incompatible with return type(s) of operation 'tensor<2x2xbf16>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.matmul %x, %y : tensor<2x3xf32>, tensor<3x2xf32> -> tensor<2x2xbf16>
  return
}

// -----

func.func @layer_norm_result(%x: tensor<2x3xbf16>) {
  // expected-error @+2 {{'nn.layer_norm' op inferred type(s) 'tensor<2x3xbf16>' are incompatible with return type(s) of operation 'tensor<2x3xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.layer_norm %x eps 1.0e-05 : tensor<2x3xbf16> -> tensor<2x3xf32>
  return
}

// -----

func.func @rms_norm_narrow_scale(%x: tensor<2x3xbf16>, %s: tensor<3xbf16>) {
  // expected-error @+2 {{scale of type 'tensor<3xbf16>' must be 'tensor<3xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.rms_norm %x scale %s eps 1.0e-05 : tensor<2x3xbf16>, tensor<3xbf16>
  return
}

// -----

func.func @rms_norm_grad_wide_cotangent(%x: tensor<2x3xbf16>, %c: tensor<2x3xf32>) {
  // expected-error @+1 {{'nn.rms_norm_grad' op cotangent and input cotangent must have the input's type 'tensor<2x3xbf16>'}}
  %0, %1 = nn.rms_norm_grad %x cotangent %c eps 1.0e-05 : tensor<2x3xbf16>, tensor<2x3xf32> -> tensor<2x3xbf16>, tensor<3xf32>
  return
}

// -----

func.func @attention_elements(%q: tensor<1x2x3x4xbf16>, %k: tensor<1x2x3x4xf32>) {
  // expected-error @+2 {{element types of query, key and value must be equal}}
  // expected-error @+1 {{failed to infer returned types}}
  %0, %1 = nn.attention %q, %k, %k scale 1.0 : tensor<1x2x3x4xbf16>, tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32> -> tensor<1x2x3x4xbf16>, tensor<1x2x3xf32>
  return
}

// -----

func.func @grouped_matmul_elements(%x: tensor<4x3xbf16>, %w: tensor<2x3x5xf32>, %r: !nn.routing<tokens = 2, k = 2, experts = 2>) {
  // expected-error @+2 {{element types 'bf16' and 'f32' must be equal}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.grouped_matmul %x, %w, %r : tensor<4x3xbf16>, tensor<2x3x5xf32>, !nn.routing<tokens = 2, k = 2, experts = 2> -> tensor<4x5xf32>
  return
}

// -----

func.func @grouped_matmul_grad_weight_elements(%x: tensor<4x3xbf16>, %y: tensor<4x5xf32>, %r: !nn.routing<tokens = 2, k = 2, experts = 2>) {
  // expected-error @+2 {{element types 'bf16' and 'f32' must be equal}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.grouped_matmul_grad_weight %x, %y, %r : tensor<4x3xbf16>, tensor<4x5xf32>, !nn.routing<tokens = 2, k = 2, experts = 2> -> tensor<2x3x5xf32>
  return
}

// -----

func.func @choice_counts(%ids: tensor<4x2xi64>) {
  // expected-error @+1 {{counts 'tensor<3x5xf32>' must be [K, E] of ids [T, K] 'tensor<4x2xi64>'}}
  %0 = nn.choice_counts %ids : tensor<4x2xi64> -> tensor<3x5xf32>
  return
}

// -----

func.func @capacity_counts(%ids: tensor<4x2xi64>, %c: tensor<2x5xf32>, %s: tensor<i64>) {
  // expected-error @+1 {{takes ids [T, K], counts [S, K, E] and a shard [], not 'tensor<4x2xi64>', 'tensor<2x5xf32>' and 'tensor<i64>'}}
  %0 = nn.capacity %ids counts %c at %s factor 1.0 : tensor<4x2xi64>, tensor<2x5xf32>, tensor<i64>
  return
}

// -----

func.func @capacity_factor(%ids: tensor<4x2xi64>, %c: tensor<1x2x5xf32>, %s: tensor<i64>) {
  // expected-error @+1 {{factor must be more than 0}}
  %0 = nn.capacity %ids counts %c at %s factor 0.0 : tensor<4x2xi64>, tensor<1x2x5xf32>, tensor<i64>
  return
}

// -----

func.func @log_sum_exp(%x: tensor<4x2x3xf32>) {
  // expected-error @+2 {{input 'tensor<4x2x3xf32>' must have rank 2}}
  // expected-error @+1 {{failed to infer returned types}}
  %0 = nn.log_sum_exp %x : tensor<4x2x3xf32> -> tensor<4xf32>
  return
}
