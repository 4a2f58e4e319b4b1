// What cannot be distributed is refused at its op, with what would work.
// RUN: moire-opt %s --distribute-experts -split-input-file -verify-diagnostics

module attributes {dist.mesh = #dist.mesh<ep = 3>} {
  func.func @micro_step(%x: tensor<6x4xf32>, %ids: tensor<6x2xi64>) -> tensor<12x4xf32> {
    // expected-error @+1 {{8 experts cannot be cut over ep=3 ranks in equal numbers; the nearest that works is ep=2 or ep=4}}
    %r = nn.route %ids : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 8>
    %rows = nn.dispatch %x, %r : tensor<6x4xf32>, <tokens = 6, k = 2, experts = 8> -> tensor<12x4xf32>
    return %rows : tensor<12x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<ep = 16>} {
  func.func @micro_step(%x: tensor<6x4xf32>, %ids: tensor<6x2xi64>) -> tensor<12x4xf32> {
    // expected-error @+1 {{8 experts cannot be cut over ep=16 ranks in equal numbers; the nearest that works is ep=8}}
    %r = nn.route %ids : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 8>
    %rows = nn.dispatch %x, %r : tensor<6x4xf32>, <tokens = 6, k = 2, experts = 8> -> tensor<12x4xf32>
    return %rows : tensor<12x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<ep = 2>} {
  func.func @micro_step(%x: tensor<6x4xf32>, %ids: tensor<6x2xi64>) -> tensor<4xf32> {
    %r = nn.route %ids : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 8>
    %rows = nn.dispatch %x, %r : tensor<6x4xf32>, <tokens = 6, k = 2, experts = 8> -> tensor<12x4xf32>
    // expected-error @+1 {{experts' values go through nn.reduce in a way that mixes rows, so they cannot be cut over ep}}
    %s = nn.reduce sum %rows [0] : tensor<12x4xf32> -> tensor<4xf32>
    return %s : tensor<4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<ep = 2>} {
  func.func @micro_step(%x: tensor<6x4xf32>, %z: tensor<12x4xf32>, %ids: tensor<6x2xi64>) -> tensor<12x4xf32> {
    %r = nn.route %ids : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 8>
    %rows = nn.dispatch %x, %r : tensor<6x4xf32>, <tokens = 6, k = 2, experts = 8> -> tensor<12x4xf32>
    // expected-error @+1 {{mixes rows of experts, which are cut over ep, with other values}}
    %s = arith.addf %rows, %z : tensor<12x4xf32>
    return %s : tensor<12x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<ep = 2>} {
  pipe.parameter @w : tensor<4x8x4xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%x: tensor<6x4xf32>, %ids: tensor<6x2xi64>) {
    %w = pipe.read @w : tensor<4x8x4xf32>
    // expected-error @+1 {{experts' weights go through nn.transpose in a way that mixes experts, so they cannot be cut over ep}}
    %t = nn.transpose %w [1, 2, 0] : tensor<4x8x4xf32> -> tensor<8x4x4xf32>
    %r = nn.route %ids : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 8>
    %rows = nn.dispatch %x, %r : tensor<6x4xf32>, <tokens = 6, k = 2, experts = 8> -> tensor<12x4xf32>
    %h = nn.grouped_matmul %rows, %t, %r : tensor<12x4xf32>, tensor<8x4x4xf32>, <tokens = 6, k = 2, experts = 8> -> tensor<12x4xf32>
    return
  }
}
