// What can never hold is refused, with the two values.
// RUN: moire-opt %s -split-input-file -verify-diagnostics

// expected-error @+1 {{axis 'ep' has size 0; it must be 1 or more}}
module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 0>} {}

// -----

// expected-error @+1 {{axis 'dp' is not the next of a mesh: pp, dp, ep, tp, in this order}}
module attributes {dist.mesh = #dist.mesh<ep = 2, dp = 2>} {}

// -----

// expected-error @+1 {{unknown attribute 'dist.net' of the dist dialect}}
module attributes {dist.net = 1} {}

// -----

module {
  func.func @f(%x: tensor<4xf32>) {
    // expected-error @+1 {{needs a mesh; the module has no 'dist.mesh'}}
    %a = dist.all_reduce %x over ["dp"] : tensor<4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @f(%x: tensor<4xf32>) {
    // expected-error @+1 {{names axis "ep", which is not in the mesh #dist.mesh<dp = 2>}}
    %a = dist.all_reduce %x over ["ep"] : tensor<4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @f(%x: tensor<4xf32>) {
    // expected-error @+1 {{names axis "dp" twice}}
    %a = dist.all_reduce %x over ["dp", "dp"] : tensor<4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<tp = 3>} {
  func.func @f(%x: tensor<4x2xf32>) {
    // expected-error @+1 {{dim 0 of size 4 is no multiple of the group's 3 ranks}}
    %a = dist.split %x dim 0 over ["tp"] : tensor<4x2xf32> -> tensor<1x2xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  func.func @f(%x: tensor<4x2xf32>) {
    // expected-error @+1 {{dim 2 must lie in 0..1}}
    %a = dist.reduce_scatter %x dim 2 over ["tp"] : tensor<4x2xf32> -> tensor<2x2xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  func.func @f(%x: tensor<4x2xf32>) {
    // expected-error @+1 {{result 'tensor<4x2xf32>' must be 'tensor<8x2xf32>'}}
    %a = dist.all_gather %x dim 0 over ["tp"] : tensor<4x2xf32> -> tensor<4x2xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<ep = 3>} {
  func.func @f(%ids: tensor<4x2xi64>) {
    %r = nn.route %ids : tensor<4x2xi64> -> <tokens = 4, k = 2, experts = 8>
    // expected-error @+1 {{8 experts cannot be held by 3 ranks in equal numbers}}
    %l, %e = dist.exchange %r over ["ep"]
      : <tokens = 4, k = 2, experts = 8> -> <tokens = 24, k = 1, experts = 2>, <["ep"], sent = 8, received = 24>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<ep = 2>} {
  func.func @f(%ids: tensor<4x2xi64>) {
    %r = nn.route %ids : tensor<4x2xi64> -> <tokens = 4, k = 2, experts = 8>
    // expected-error @+1 {{local routing '!nn.routing<tokens = 17, k = 1, experts = 4>' must be '!nn.routing<tokens = 16, k = 1, experts = 4>'}}
    %l, %e = dist.exchange %r over ["ep"]
      : <tokens = 4, k = 2, experts = 8> -> <tokens = 17, k = 1, experts = 4>, <["ep"], sent = 8, received = 16>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<ep = 2>} {
  func.func @f(%ids: tensor<4x2xi64>, %x: tensor<7x3xf32>) {
    %r = nn.route %ids : tensor<4x2xi64> -> <tokens = 4, k = 2, experts = 8>
    %l, %e = dist.exchange %r over ["ep"]
      : <tokens = 4, k = 2, experts = 8> -> <tokens = 16, k = 1, experts = 4>, <["ep"], sent = 8, received = 16>
    // expected-error @+1 {{7 rows must be the exchange's 8}}
    %y = dist.all_to_all_rows %x, %e : tensor<7x3xf32>, <["ep"], sent = 8, received = 16> -> tensor<16x3xf32>
    return
  }
}

// -----

// expected-error @+1 {{axis "tp" appears twice}}
#s = #dist.sharding<[["tp"], ["tp"]]>

// -----

// expected-error @+1 {{"xp" is not an axis of a mesh: pp, dp, ep, tp}}
#s = #dist.sharding<[["xp"], []]>

// -----

module attributes {dist.mesh = #dist.mesh<tp = 4>} {
  // expected-error @+1 {{dim 0 of size 6 cannot be cut into 4 equal pieces}}
  pipe.parameter @w : tensor<6x2xf32> from [#pipe.source<"a", "m.onnx", 0, 48, f32, same, 0>]
    sharding #dist.sharding<[["tp"], []]>
}

// -----

module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  // expected-error @+1 {{the blocks of dim 0 do not add up to its size 8}}
  pipe.parameter @w : tensor<8x2xf32> from [#pipe.source<"a", "m.onnx", 0, 64, f32, same, 0>]
    sharding #dist.sharding<[["tp"], []] blocks [[2, 4], []]>
}

// -----

module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  pipe.parameter @w : tensor<8x2xf32> from [#pipe.source<"a", "m.onnx", 0, 64, f32, same, 0>]
    sharding #dist.sharding<[["tp"], []]>
  func.func @f() {
    // expected-error @+1 {{type 'tensor<8x2xf32>' must be the parameter's 'tensor<4x2xf32>'}}
    %w = pipe.read @w : tensor<8x2xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 2>} {
  pipe.parameter @w : tensor<8x2xf32> from [#pipe.source<"a", "m.onnx", 0, 64, f32, same, 0>]
    sharding #dist.sharding<[["ep"], []]>
  func.func @f() {
    // expected-error @+1 {{sums @w over axis "ep", which splits it}}
    pipe.reduce_grads [@w] over ["dp", "ep"]
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<ep = 2>} {
  func.func @no_parts(%x: tensor<8x3xf32>, %r: !nn.routing<tokens = 4, k = 2, experts = 8>) {
    %l, %e = dist.exchange %r over ["ep"]
      : <tokens = 4, k = 2, experts = 8> -> <tokens = 16, k = 1, experts = 4>, <["ep"], sent = 8, received = 16>
    // expected-error @+1 {{has 0 parts and must have at least one}}
    %y = dist.all_to_all_rows %x, %e parts 0 : tensor<8x3xf32>, <["ep"], sent = 8, received = 16> -> tensor<16x3xf32>
    return
  }
}
