// Nothing hides the rows on their way to the two experts of each rank, nor their way back: they
// move in two parts. What the gradient of @w needs does not stand between them any longer.
//
// RUN: moire-opt %s --split-exchanges=rates=flops=1,memory=1000,overhead=0,bandwidth=0.1,latency=0 | FileCheck %s
//
// A launch for each part takes longer than what parts hide.
// RUN: moire-opt %s --split-exchanges=rates=flops=1,memory=1000,overhead=1000,bandwidth=0.1,latency=0 | FileCheck %s --check-prefix=WHOLE
//
// So do messages of their own.
// RUN: moire-opt %s --split-exchanges=rates=flops=1,memory=1000,overhead=0,bandwidth=0.1,latency=100 | FileCheck %s --check-prefix=WHOLE
//
// Experts with slots send messages of one length.
// RUN: sed 's/{dist.mesh/{moire.expert_slots = 2.0, dist.mesh/' %s | moire-opt --split-exchanges=rates=flops=1,memory=1000,overhead=0,bandwidth=0.1,latency=0 | FileCheck %s --check-prefix=WHOLE
//
// RUN: not moire-opt %s --split-exchanges=rates=speed=3 2>&1 | FileCheck %s --check-prefix=RATES
// RATES: error: --overlap-rates has 'speed=3'
// WHOLE-LABEL: @micro_step
// WHOLE-NOT: parts
// WHOLE: return

module attributes {dist.mesh = #dist.mesh<ep = 2>} {
  pipe.parameter @w : tensor<2x8x8xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
  pipe.parameter @v : tensor<64x8xf32> from [#pipe.source<"v", "", 0, 0, f32, same, 0>]

  // CHECK-LABEL: @micro_step
  // CHECK: dist.all_to_all_rows %{{.*}}, %{{.*}} parts 2 : tensor<64x8xf32>
  // CHECK: %[[COME:.*]] = dist.wait
  // CHECK-NEXT: %[[Y:.*]] = nn.grouped_matmul %[[COME]]
  // CHECK-NEXT: %[[H:.*]] = nn.sigmoid %[[Y]]
  // CHECK-NEXT: dist.async {
  // CHECK-NEXT: dist.all_to_all_rows %[[H]], %{{.*}} back parts 2 : tensor<128x8xf32>
  // CHECK: %[[DW:.*]] = nn.grouped_matmul_grad_weight %[[COME]], %[[Y]]
  // CHECK-NEXT: pipe.accumulate @w, %[[DW]]
  func.func @micro_step(%x: tensor<64x8xf32>, %ids: tensor<64x1xi64>) -> tensor<f32> {
    %w = pipe.read @w : tensor<2x8x8xf32>
    %r = nn.route %ids : tensor<64x1xi64> -> <tokens = 64, k = 1, experts = 4>
    %local, %e = dist.exchange %r over ["ep"] : <tokens = 64, k = 1, experts = 4> -> <tokens = 128, k = 1, experts = 2>, <["ep"], sent = 64, received = 128>
    %rows = nn.dispatch %x, %r : tensor<64x8xf32>, <tokens = 64, k = 1, experts = 4> -> tensor<64x8xf32>
    %f = dist.async {
      %0 = dist.all_to_all_rows %rows, %e : tensor<64x8xf32>, <["ep"], sent = 64, received = 128> -> tensor<128x8xf32>
      dist.yield %0 : tensor<128x8xf32>
    } -> !dist.future<tensor<128x8xf32>>
    %come = dist.wait %f : !dist.future<tensor<128x8xf32>> -> tensor<128x8xf32>
    %y = nn.grouped_matmul %come, %w, %local : tensor<128x8xf32>, tensor<2x8x8xf32>, <tokens = 128, k = 1, experts = 2> -> tensor<128x8xf32>
    %dw = nn.grouped_matmul_grad_weight %come, %y, %local : tensor<128x8xf32>, tensor<128x8xf32>, <tokens = 128, k = 1, experts = 2> -> tensor<2x8x8xf32>
    pipe.accumulate @w, %dw : tensor<2x8x8xf32>
    %h = nn.sigmoid %y : tensor<128x8xf32>
    %g = dist.async {
      %0 = dist.all_to_all_rows %h, %e back : tensor<128x8xf32>, <["ep"], sent = 64, received = 128> -> tensor<64x8xf32>
      dist.yield %0 : tensor<64x8xf32>
    } -> !dist.future<tensor<64x8xf32>>
    %home = dist.wait %g : !dist.future<tensor<64x8xf32>> -> tensor<64x8xf32>
    %loss = nn.reduce sum %home [0, 1] : tensor<64x8xf32> -> tensor<f32>
    return %loss : tensor<f32>
  }
}
