// RUN: moire-opt %s --async-collectives --schedule-overlap="rates=flops=1,memory=1,overhead=0,bandwidth=0.1,latency=0 growth=1" | FileCheck %s
// RUN: not moire-opt %s --schedule-overlap="rates=speed=3" 2>&1 | FileCheck %s --check-prefix=RATES
// RATES: error: --overlap-rates has 'speed=3'; use flops=GFLOP/S, memory=GB/S, overhead=MICROSECONDS, bandwidth=GB/S and latency=MICROSECONDS

module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  pipe.parameter @w : tensor<64x64xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
  pipe.parameter @v : tensor<64x64xf32> from [#pipe.source<"v", "", 0, 0, f32, same, 0>]

  // The gradient of @w does not lead to the sum: it is computed beside it. That of @v needs it.
  // CHECK-LABEL: @micro_step
  // CHECK: %[[DX:.*]] = nn.matmul %{{.*}}, %{{.*}} {transpose_rhs}
  // CHECK-NEXT: %[[F:.*]] = dist.async {
  // CHECK: %[[DW:.*]] = nn.matmul %arg0, %arg1 {transpose_lhs}
  // CHECK-NEXT: pipe.accumulate @w, %[[DW]]
  // CHECK-NEXT: %[[S:.*]] = dist.wait %[[F]]
  // CHECK-NEXT: %[[DV:.*]] = nn.matmul %[[S]]
  // CHECK-NEXT: pipe.accumulate @v, %[[DV]]
  func.func @micro_step(%x: tensor<64x64xf32>, %dy: tensor<64x64xf32>) -> tensor<f32> {
    %w = pipe.read @w : tensor<64x64xf32>
    %dw = nn.matmul %x, %dy {transpose_lhs} : tensor<64x64xf32>, tensor<64x64xf32> -> tensor<64x64xf32>
    pipe.accumulate @w, %dw : tensor<64x64xf32>
    %dx = nn.matmul %dy, %w {transpose_rhs} : tensor<64x64xf32>, tensor<64x64xf32> -> tensor<64x64xf32>
    %sum = dist.all_reduce %dx over ["tp"] : tensor<64x64xf32>
    %dv = nn.matmul %sum, %dy {transpose_lhs} : tensor<64x64xf32>, tensor<64x64xf32> -> tensor<64x64xf32>
    pipe.accumulate @v, %dv : tensor<64x64xf32>
    %loss = nn.reduce sum %x [0, 1] : tensor<64x64xf32> -> tensor<f32>
    return %loss : tensor<f32>
  }
}
