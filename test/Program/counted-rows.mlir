// Kernels on rows that came from other ranks compute as many rows as came; others all.
// RUN: moire-opt %s --fuse --lower-to-exec | FileCheck %s
// RUN: moire-opt %s --fuse --lower-to-exec --pack-arena --verify-arena | moire-translate --exec-to-cpp | FileCheck %s --check-prefix=CPP

module attributes {dist.mesh = #dist.mesh<ep = 2>, moire.loss = "mse", moire.labels = "as-is",
                   moire.count = "none", moire.batch = 6 : i64, moire.seq = 0 : i64,
                   moire.vocab = 0 : i64, moire.token_vocab = 0 : i64} {
  pipe.parameter @w : tensor<4x8x4xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>] sharding #dist.sharding<[["ep"], [], []]>

  // CHECK-LABEL: @micro_step
  // CHECK: exec.exchange %{{.*}} over ["ep"] to %[[L:[0-9]+]],
  // SiLU of the first half times the second one: the halves make it two dims.
  // CHECK: exec.launch @kernel{{[0-9]+}} ins(%{{.*}} : memref<24x4xf32, strided<[8, 1]>>, memref<24x4xf32, strided<[8, 1]>>) rows(%[[L]] : {{.*}}<tokens = 24, k = 1, experts = 2>) outs(%{{.*}} : memref<24x4xf32>)
  // A row and its elements are one dim.
  // CHECK: exec.launch @kernel{{[0-9]+}} ins(%{{.*}} : memref<192xf32>) rows(%[[L]] : {{.*}}) outs(%{{.*}} : memref<192xf32>)
  // Back home there are all rows.
  // CHECK: exec.all_to_all_rows {{.*}} back
  // CHECK: exec.launch @kernel{{[0-9]+}} ins(%{{.*}} : memref<96xf32>) outs(%{{.*}} : memref<96xf32>)

  // CPP: launch<Kernel{{[0-9]+}}>(ctx, filled({24, 4}, Routing::at(ctx.at<int32_t>({{[0-9]+}}), 24, 1, 2).count(), 24),
  // CPP: launch<Kernel{{[0-9]+}}>(ctx, filled({192}, Routing::at(ctx.at<int32_t>({{[0-9]+}}), 24, 1, 2).count(), 24),
  // CPP: launch<Kernel{{[0-9]+}}>(ctx, {96},
  func.func @micro_step(%x: tensor<6x4xf32> {moire.role = "data", onnx.name = "x"}, %ids: tensor<6x2xi64> {moire.role = "data", onnx.name = "ids"}) -> tensor<f32> {
    %w = pipe.read @w : tensor<2x8x4xf32>
    %r = nn.route %ids : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 4>
    %local, %e = dist.exchange %r over ["ep"] : <tokens = 6, k = 2, experts = 4> -> <tokens = 24, k = 1, experts = 2>, <["ep"], sent = 12, received = 24>
    %rows = nn.dispatch %x, %r : tensor<6x4xf32>, <tokens = 6, k = 2, experts = 4> -> tensor<12x4xf32>
    %come = dist.all_to_all_rows %rows, %e : tensor<12x4xf32>, <["ep"], sent = 12, received = 24> -> tensor<24x4xf32>
    %h = nn.grouped_matmul %come, %w, %local {transpose_weight} : tensor<24x4xf32>, tensor<2x8x4xf32>, <tokens = 24, k = 1, experts = 2> -> tensor<24x8xf32>
    %gate = nn.slice %h starts [0, 0] limits [24, 4] strides [1, 1] : tensor<24x8xf32> -> tensor<24x4xf32>
    %up = nn.slice %h starts [0, 4] limits [24, 8] strides [1, 1] : tensor<24x8xf32> -> tensor<24x4xf32>
    %s = nn.sigmoid %gate : tensor<24x4xf32>
    %silu = arith.mulf %gate, %s : tensor<24x4xf32>
    %act = arith.mulf %silu, %up : tensor<24x4xf32>
    %y = nn.grouped_matmul %act, %w, %local {transpose_weight} : tensor<24x4xf32>, tensor<2x8x4xf32>, <tokens = 24, k = 1, experts = 2> -> tensor<24x8xf32>
    %t = math.tanh %y : tensor<24x8xf32>
    %home = dist.all_to_all_rows %t, %e back : tensor<24x8xf32>, <["ep"], sent = 12, received = 24> -> tensor<12x8xf32>
    %back = math.tanh %home : tensor<12x8xf32>
    %out = nn.combine %back, %r : tensor<12x8xf32>, <tokens = 6, k = 2, experts = 4> -> tensor<6x8xf32>
    %loss = nn.reduce sum %out [0, 1] : tensor<6x8xf32> -> tensor<f32>
    return %loss : tensor<f32>
  }
  func.func @optimizer_step() {
    pipe.update @w with sgd matrix
    return
  }
}
