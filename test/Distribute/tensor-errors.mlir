// RUN: moire-opt %s --split-input-file --verify-diagnostics --distribute-tensor

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
