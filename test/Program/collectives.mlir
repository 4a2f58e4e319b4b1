// Collectives become statements; a sum takes over the memory of what nobody else reads.
// RUN: moire-opt %s --lower-to-exec | FileCheck %s

module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 2, tp = 2>} {
  pipe.parameter @w : tensor<4x8x4xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>] sharding #dist.sharding<[["ep"], [], []]>

  // CHECK-LABEL: @micro_step
  func.func @micro_step(%x: tensor<6x4xf32> {moire.role = "data"}, %ids: tensor<6x2xi64> {moire.role = "data"}) -> tensor<f32> {
    %w = pipe.read @w : tensor<2x8x4xf32>
    // CHECK: %[[Y:.*]] = exec.buffer : memref<6x4xf32>
    %y = arith.addf %x, %x : tensor<6x4xf32>
    // CHECK: exec.all_reduce %[[Y]] over ["tp"] to %[[Y]] :
    %sum = dist.all_reduce %y over ["tp"] : tensor<6x4xf32>
    // Read again below, so not in place.
    // CHECK: exec.all_reduce %[[Y]] over ["dp"] to %[[Z:.*]] :
    // CHECK-NOT: to %[[Y]] :
    %other = dist.all_reduce %sum over ["dp"] : tensor<6x4xf32>
    // CHECK: exec.reduce_scatter %[[Z]] dim 0 over ["tp"] to %[[PIECE:.*]] : memref<6x4xf32> to memref<3x4xf32>
    %piece = dist.reduce_scatter %other dim 0 over ["tp"] : tensor<6x4xf32> -> tensor<3x4xf32>
    // CHECK: exec.all_gather %[[PIECE]] dim 0 over ["tp"] to %[[ALL:.*]] : memref<3x4xf32> to memref<6x4xf32>
    %all = dist.all_gather %piece dim 0 over ["tp"] : tensor<3x4xf32> -> tensor<6x4xf32>
    // CHECK: exec.split %{{.*}} dim 1 over ["tp"] to %{{.*}} : memref<6x4xf32> to memref<6x2xf32>
    %half = dist.split %sum dim 1 over ["tp"] : tensor<6x4xf32> -> tensor<6x2xf32>
    // CHECK: exec.route %arg1 to %[[R:.*]] :
    %r = nn.route %ids : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 4>
    // CHECK: %[[L:.*]] = exec.routing %{{.*}} : memref<{{.*}}xi32> to <tokens = 24, k = 1, experts = 2>
    // CHECK: %[[COUNTS:.*]] = exec.buffer : memref<9xi32>
    // CHECK: exec.exchange %[[R]] over ["ep"] to %[[L]], %[[COUNTS]]
    %local, %e = dist.exchange %r over ["ep"] : <tokens = 6, k = 2, experts = 4> -> <tokens = 24, k = 1, experts = 2>, <["ep"], sent = 12, received = 24>
    %rows = nn.dispatch %all, %r : tensor<6x4xf32>, <tokens = 6, k = 2, experts = 4> -> tensor<12x4xf32>
    // CHECK: exec.all_to_all_rows %{{.*}}, %[[COUNTS]] over ["ep"] to %[[COME:.*]] : memref<12x4xf32>, memref<9xi32> to memref<24x4xf32>
    %come = dist.all_to_all_rows %rows, %e : tensor<12x4xf32>, <["ep"], sent = 12, received = 24> -> tensor<24x4xf32>
    // CHECK: %[[W:.*]] = exec.param @w : memref<2x8x4xf32>
    // CHECK: exec.grouped_gemm %[[COME]], %[[W]], %[[L]] to
    %h = nn.grouped_matmul %come, %w, %local {transpose_weight} : tensor<24x4xf32>, tensor<2x8x4xf32>, <tokens = 24, k = 1, experts = 2> -> tensor<24x8xf32>
    // CHECK: exec.all_to_all_rows %{{.*}}, %[[COUNTS]] over ["ep"] back to
    %home = dist.all_to_all_rows %h, %e back : tensor<24x8xf32>, <["ep"], sent = 12, received = 24> -> tensor<12x8xf32>
    %out = nn.combine %home, %r : tensor<12x8xf32>, <tokens = 6, k = 2, experts = 4> -> tensor<6x8xf32>
    %a = nn.reduce sum %out [0, 1] : tensor<6x8xf32> -> tensor<f32>
    %b = nn.reduce sum %half [0, 1] : tensor<6x2xf32> -> tensor<f32>
    %loss = arith.addf %a, %b : tensor<f32>
    return %loss : tensor<f32>
  }
}
