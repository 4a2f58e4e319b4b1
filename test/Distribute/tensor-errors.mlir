// RUN: moire-opt %s --split-input-file --verify-diagnostics --distribute-tensor

// Heads that cannot be shared.
module attributes {dist.mesh = #dist.mesh<tp = 4>} {
  func.func @micro_step(%q: tensor<1x8x4x8xf32>, %k: tensor<1x2x4x8xf32>) -> tensor<1x8x4x8xf32> {
    // expected-error@+1 {{2 key heads of attention cannot be shared equally by tp = 4 ranks; the nearest size that fits is tp = 2 (--mesh)}}
    %a, %lse = nn.attention %q, %k, %k scale 0.5 : tensor<1x8x4x8xf32>, tensor<1x2x4x8xf32>, tensor<1x2x4x8xf32> -> tensor<1x8x4x8xf32>, tensor<1x8x4xf32>
    return %a : tensor<1x8x4x8xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<tp = 8>} {
  func.func @micro_step(%q: tensor<1x9x4x8xf32>) -> tensor<1x9x4x8xf32> {
    // expected-error@+1 {{9 key heads of attention cannot be shared equally by tp = 8 ranks; the nearest size that fits is tp = 9 (--mesh)}}
    %a, %lse = nn.attention %q, %q, %q scale 0.5 : tensor<1x9x4x8xf32>, tensor<1x9x4x8xf32>, tensor<1x9x4x8xf32> -> tensor<1x9x4x8xf32>, tensor<1x9x4xf32>
    return %a : tensor<1x9x4x8xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<tp = 4>} {
  pipe.parameter @w : tensor<32x54xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  // expected-warning@+1 {{no weight of this model can be cut over tp = 4; all ranks of that axis will compute the same}}
  func.func @micro_step(%x: tensor<20x32xf32>) -> tensor<20x54xf32> {
    %w = pipe.read @w : tensor<32x54xf32>
    %y = nn.matmul %x, %w : tensor<20x32xf32>, tensor<32x54xf32> -> tensor<20x54xf32>
    return %y : tensor<20x54xf32>
  }
}
