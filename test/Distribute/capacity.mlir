// Static slots for what experts of limited capacity take.
// RUN: moire-opt %s --distribute-experts | FileCheck %s

// A capacity leaves an expert ceil(0.5 * 18 pairs * 8 ranks / 8) = 9 rows, and a rank has two experts.
module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 4>, moire.loss = "next-token", moire.count = "all"} {
  func.func @micro_step(%x: tensor<6x4xf32>, %ids: tensor<6x3xi64>, %c: tensor<1x3x8xf32>, %s: tensor<i64>) -> tensor<6x4xf32> {
    %kept = nn.capacity %ids counts %c at %s factor 0.5 : tensor<6x3xi64>, tensor<1x3x8xf32>, tensor<i64>
    // CHECK: dist.exchange %{{.*}} -> <tokens = 18, k = 1, experts = 2>, <["ep"], sent = 18, received = 18>
    %r = nn.route %kept : tensor<6x3xi64> -> <tokens = 6, k = 3, experts = 8>
    %rows = nn.dispatch %x, %r : tensor<6x4xf32>, <tokens = 6, k = 3, experts = 8> -> tensor<18x4xf32>
    %out = nn.combine %rows, %r : tensor<18x4xf32>, <tokens = 6, k = 3, experts = 8> -> tensor<6x4xf32>
    return %out : tensor<6x4xf32>
  }
}
