// RUN: moire-opt %s --split-input-file --train-count-flops --verify-diagnostics | FileCheck %s

// A product [4, 3] x [3, 5]: 2*4*3*5 = 120. Scores of 1*2 heads, 4*4: a product over them 64 FLOPs
// for each unit of width; attention 64 * (8 + 6) = 896, its gradient 64 * (3*8 + 2*6) = 2304, of
// which 64 * 8 are the scores again; the causal half of them.
// CHECK: module attributes {moire.hardware_flops = 1720 : i64, moire.model_flops = 1464 : i64}
module {
  func.func @micro_step(%x: tensor<4x3xf32>, %w: tensor<3x5xf32>, %q: tensor<1x2x4x8xf32>, %k: tensor<1x2x4x8xf32>, %v: tensor<1x2x4x6xf32>) {
    %y = nn.matmul %x, %w : tensor<4x3xf32>, tensor<3x5xf32> -> tensor<4x5xf32>
    %o, %lse = nn.attention %q, %k, %v scale 1.0 {causal} : tensor<1x2x4x8xf32>, tensor<1x2x4x8xf32>, tensor<1x2x4x6xf32> -> tensor<1x2x4x6xf32>, tensor<1x2x4xf32>
    %dq, %dk, %dv = nn.attention_grad %q, %k, %v output %o lse %lse cotangent %o scale 1.0 {causal} : tensor<1x2x4x8xf32>, tensor<1x2x4x8xf32>, tensor<1x2x4x6xf32>, tensor<1x2x4x6xf32>, tensor<1x2x4xf32>, tensor<1x2x4x6xf32> -> tensor<1x2x4x8xf32>, tensor<1x2x4x8xf32>, tensor<1x2x4x6xf32>
    return
  }
}

// -----

// Six tokens with two experts each are twelve rows, whatever the number of experts: 2*12*3*5.
// CHECK: module attributes {moire.hardware_flops = 360 : i64, moire.model_flops = 360 : i64}
module {
  func.func @micro_step(%ids: tensor<6x2xi64>, %x: tensor<6x3xf32>, %w: tensor<8x3x5xf32>) {
    %r = nn.route %ids : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 8>
    %rows = nn.dispatch %x, %r : tensor<6x3xf32>, <tokens = 6, k = 2, experts = 8> -> tensor<12x3xf32>
    %y = nn.grouped_matmul %rows, %w, %r : tensor<12x3xf32>, tensor<8x3x5xf32>, <tokens = 6, k = 2, experts = 8> -> tensor<12x5xf32>
    return
  }
}

// -----

// expected-error @+1 {{has no function @micro_step to count}}
module {
}
