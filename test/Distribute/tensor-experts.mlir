// Experts are cut inside each expert: gate and up by columns, down by rows. Rows of
// summands go through nn.combine, so that what is summed over the ranks has one row a
// token; of the backward, the cotangents of the tokens and of the router's weights.
//
// RUN: moire-opt %s --split-input-file --distribute-tensor | FileCheck %s

// CHECK: pipe.parameter @gate_up : tensor<8x96x32xf32> {{.*}} sharding <{{\[\[}}], ["tp"], []] blocks {{\[\[}}], [48, 48], []]>
// CHECK: pipe.parameter @down : tensor<8x32x48xf32> {{.*}} sharding <{{\[\[}}], [], ["tp"]]>
// CHECK-LABEL: func @micro_step
module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  pipe.parameter @gate_up : tensor<8x96x32xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @down : tensor<8x32x48xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%x: tensor<20x32xf32>, %weights: tensor<20x2xf32>, %ids: tensor<20x2xi64>,
                        %dy: tensor<20x32xf32>) -> (tensor<20x32xf32>, tensor<20x2xf32>, tensor<20x32xf32>) {
    %gate_up = pipe.read @gate_up : tensor<8x96x32xf32>
    %down = pipe.read @down : tensor<8x32x48xf32>
    %r = nn.route %ids : tensor<20x2xi64> -> !nn.routing<tokens = 20, k = 2, experts = 8>
    %rows = nn.dispatch %x, %r : tensor<20x32xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> -> tensor<40x32xf32>
    // CHECK: nn.grouped_matmul {{.*}} : tensor<40x32xf32>, tensor<8x48x32xf32>, {{.*}} -> tensor<40x48xf32>
    %h = nn.grouped_matmul %rows, %gate_up, %r {transpose_weight} : tensor<40x32xf32>, tensor<8x96x32xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> -> tensor<40x96xf32>
    %gate = nn.slice %h starts [0, 0] limits [40, 48] strides [1, 1] : tensor<40x96xf32> -> tensor<40x48xf32>
    %up = nn.slice %h starts [0, 48] limits [40, 96] strides [1, 1] : tensor<40x96xf32> -> tensor<40x48xf32>
    %g = arith.mulf %gate, %up : tensor<40x48xf32>
    // CHECK: %[[ROWS:.*]] = nn.grouped_matmul {{.*}} : tensor<40x24xf32>, tensor<8x32x24xf32>, {{.*}} -> tensor<40x32xf32>
    %out = nn.grouped_matmul %g, %down, %r {transpose_weight} : tensor<40x48xf32>, tensor<8x32x48xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> -> tensor<40x32xf32>
    // CHECK-NEXT: %[[Y:.*]] = nn.combine %[[ROWS]]
    %y = nn.combine %out weights %weights, %r : tensor<40x32xf32>, tensor<20x2xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> -> tensor<20x32xf32>

    // CHECK-NOT: dist.
    // CHECK: %[[DROWS:.*]], %[[DWEIGHTS:.*]] = nn.combine_grad %[[ROWS]]
    %drows, %dweights = nn.combine_grad %out, %weights, %dy, %r : tensor<40x32xf32>, tensor<20x2xf32>, tensor<20x32xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> -> tensor<40x32xf32>, tensor<20x2xf32>
    %dg = nn.grouped_matmul %drows, %down, %r : tensor<40x32xf32>, tensor<8x32x48xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> -> tensor<40x48xf32>
    // CHECK: nn.grouped_matmul_grad_weight %[[DROWS]], {{.*}} -> tensor<8x32x24xf32>
    %ddown = nn.grouped_matmul_grad_weight %drows, %g, %r : tensor<40x32xf32>, tensor<40x48xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> -> tensor<8x32x48xf32>
    pipe.accumulate @down, %ddown : tensor<8x32x48xf32>
    %dup = arith.mulf %dg, %gate : tensor<40x48xf32>
    %dgate = arith.mulf %dg, %up : tensor<40x48xf32>
    %dh = nn.concat %dgate, %dup dim 1 : tensor<40x48xf32>, tensor<40x48xf32> -> tensor<40x96xf32>
    %drows1 = nn.grouped_matmul %dh, %gate_up, %r : tensor<40x96xf32>, tensor<8x96x32xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> -> tensor<40x32xf32>
    // CHECK: nn.grouped_matmul_grad_weight {{.*}} -> tensor<8x48x32xf32>
    %dgate_up = nn.grouped_matmul_grad_weight %dh, %rows, %r : tensor<40x96xf32>, tensor<40x32xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> -> tensor<8x96x32xf32>
    pipe.accumulate @gate_up, %dgate_up : tensor<8x96x32xf32>
    // CHECK: %[[DX:.*]] = nn.combine
    %dx = nn.combine %drows1, %r : tensor<40x32xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> -> tensor<20x32xf32>
    // CHECK: dist.all_reduce %[[Y]] over ["tp"] : tensor<20x32xf32>
    // CHECK-NEXT: dist.all_reduce %[[DWEIGHTS]] over ["tp"] : tensor<20x2xf32>
    // CHECK-NEXT: dist.all_reduce %[[DX]] over ["tp"] : tensor<20x32xf32>
    // CHECK-NEXT: return
    return %y, %dweights, %dx : tensor<20x32xf32>, tensor<20x2xf32>, tensor<20x32xf32>
  }
}

// -----

// A bias per expert after the second product: one rank adds it, so that the sum over
// the ranks can still wait. Experts that ep holds apart are cut further.
// CHECK: pipe.parameter @up : tensor<16x32x48xf32> {{.*}} sharding <{{\[\["ep"\]}}, [], ["tp"]]>
// CHECK: pipe.parameter @up_bias : tensor<16x48xf32> {{.*}} sharding <{{\[\["ep"\]}}, ["tp"]]>
// CHECK: pipe.parameter @down : tensor<16x48x32xf32> {{.*}} sharding <{{\[\["ep"\]}}, ["tp"], []]>
// CHECK: pipe.parameter @bias : tensor<16x32xf32> {{.*}} sharding <{{\[\["ep"\]}}, []]>
// CHECK-LABEL: func @micro_step
module attributes {dist.mesh = #dist.mesh<ep = 2, tp = 2>} {
  pipe.parameter @up : tensor<16x32x48xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>] sharding <[["ep"], [], []]>
  pipe.parameter @up_bias : tensor<16x48xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>] sharding <[["ep"], []]>
  pipe.parameter @down : tensor<16x48x32xf32> from [#pipe.source<"c", "", 0, 0, f32, same, 0>] sharding <[["ep"], [], []]>
  pipe.parameter @bias : tensor<16x32xf32> from [#pipe.source<"d", "", 0, 0, f32, same, 0>] sharding <[["ep"], []]>
  func.func @micro_step(%rows: tensor<160x32xf32>, %weights: tensor<20x2xf32>, %r: !nn.routing<tokens = 20, k = 2, experts = 16>,
                        %local: !nn.routing<tokens = 80, k = 1, experts = 8>, %x: !dist.exchange<["ep"], sent = 40, received = 80>) -> tensor<20x32xf32> {
    %up = pipe.read @up : tensor<8x32x48xf32>
    %up_bias = pipe.read @up_bias : tensor<8x48xf32>
    %down = pipe.read @down : tensor<8x48x32xf32>
    // CHECK: %[[BIAS:.*]] = pipe.read @bias
    %bias = pipe.read @bias : tensor<8x32xf32>
    %come = nn.slice %rows starts [0, 0] limits [80, 32] strides [1, 1] : tensor<160x32xf32> -> tensor<80x32xf32>
    %h = nn.grouped_matmul %come, %up, %local : tensor<80x32xf32>, tensor<8x32x48xf32>, !nn.routing<tokens = 80, k = 1, experts = 8> -> tensor<80x48xf32>
    %hb = nn.per_expert %up_bias, %local : tensor<8x48xf32>, !nn.routing<tokens = 80, k = 1, experts = 8> -> tensor<80x48xf32>
    %hs = arith.addf %h, %hb : tensor<80x48xf32>
    %out = nn.grouped_matmul %hs, %down, %local : tensor<80x48xf32>, tensor<8x48x32xf32>, !nn.routing<tokens = 80, k = 1, experts = 8> -> tensor<80x32xf32>
    // CHECK: %[[INDEX:.*]] = dist.axis_index over ["tp"]
    // CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[INDEX]],
    // CHECK: %[[MASK:.*]] = nn.broadcast %[[FIRST]]
    // CHECK: %[[ONE:.*]] = arith.select %[[MASK]], %[[BIAS]],
    // CHECK: %[[ROWS:.*]] = nn.per_expert %[[ONE]]
    // CHECK: arith.addf %{{.*}}, %[[ROWS]]
    %b = nn.per_expert %bias, %local : tensor<8x32xf32>, !nn.routing<tokens = 80, k = 1, experts = 8> -> tensor<80x32xf32>
    %ob = arith.addf %out, %b : tensor<80x32xf32>
    // CHECK-NEXT: dist.all_to_all_rows
    // CHECK-NEXT: %[[Y:.*]] = nn.combine
    // CHECK-NEXT: dist.all_reduce %[[Y]] over ["tp"] : tensor<20x32xf32>
    %home = dist.all_to_all_rows %ob, %x back : tensor<80x32xf32>, !dist.exchange<["ep"], sent = 40, received = 80> -> tensor<40x32xf32>
    %y = nn.combine %home weights %weights, %r : tensor<40x32xf32>, tensor<20x2xf32>, !nn.routing<tokens = 20, k = 2, experts = 16> -> tensor<20x32xf32>
    return %y : tensor<20x32xf32>
  }
}
