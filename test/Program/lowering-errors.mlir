// RUN: moire-opt %s --split-input-file --lower-to-exec --verify-diagnostics

// expected-error @+1 {{has no function @micro_step; run phase train first}}
module {
}

// -----

func.func @micro_step(%x: tensor<4xf32>) -> tensor<f32> {
  %sum = nn.reduce sum %x [0] : tensor<4xf32> -> tensor<f32>
  // expected-error @+1 {{has no statement in a CPU program}}
  %y = tensor.collapse_shape %sum [] : tensor<f32> into tensor<f32>
  return %y : tensor<f32>
}

// -----

#map = affine_map<(d0) -> (d0)>
#last = affine_map<(d0) -> (0)>
func.func @micro_step(%x: tensor<4xf32>) -> tensor<f32> {
  %e = tensor.empty() : tensor<1xf32>
  // expected-error @+1 {{must have parallel iterators only to become a kernel}}
  %y = linalg.generic {indexing_maps = [#map, #last], iterator_types = ["reduction"]} ins(%x : tensor<4xf32>) outs(%e : tensor<1xf32>) {
  ^bb0(%a: f32, %out: f32):
    linalg.yield %a : f32
  } -> tensor<1xf32>
  %loss = nn.reduce sum %y [0] : tensor<1xf32> -> tensor<f32>
  return %loss : tensor<f32>
}
