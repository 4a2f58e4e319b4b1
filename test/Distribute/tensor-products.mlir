// A pair of products with elementwise mathematics between them: columns, then rows.
// The forward adds up once, after the second; the backward once, after what both
// products of the gated form give to their common input.
//
// RUN: moire-opt %s --split-input-file --distribute-tensor | FileCheck %s

// A product, its bias, tanh and a product with its own bias, which is added once.
// CHECK: pipe.parameter @up : tensor<32x128xf32> {{.*}} sharding <{{\[\[}}], ["tp"]]>
// CHECK: pipe.parameter @up_bias : tensor<128xf32> {{.*}} sharding <{{\[\[}}"tp"]]>
// CHECK: pipe.parameter @down : tensor<128x32xf32> {{.*}} sharding <{{\[\[}}"tp"], []]>
// CHECK: pipe.parameter @down_bias : tensor<32xf32>
// CHECK-NOT: sharding
// CHECK-LABEL: func @micro_step
// CHECK-SAME: %[[X:.*]]: tensor<20x32xf32>, %[[DY:.*]]: tensor<20x32xf32>
module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  pipe.parameter @up : tensor<32x128xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @up_bias : tensor<128xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  pipe.parameter @down : tensor<128x32xf32> from [#pipe.source<"c", "", 0, 0, f32, same, 0>]
  pipe.parameter @down_bias : tensor<32xf32> from [#pipe.source<"d", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%x: tensor<20x32xf32>, %dy: tensor<20x32xf32>) -> tensor<20x32xf32> {
    // CHECK: %[[UP:.*]] = pipe.read @up : tensor<32x64xf32>
    %up = pipe.read @up : tensor<32x128xf32>
    %up_bias = pipe.read @up_bias : tensor<128xf32>
    %down = pipe.read @down : tensor<128x32xf32>
    %down_bias = pipe.read @down_bias : tensor<32xf32>
    // CHECK: %[[H:.*]] = nn.matmul %[[X]], %[[UP]] : tensor<20x32xf32>, tensor<32x64xf32> -> tensor<20x64xf32>
    %h = nn.matmul %x, %up : tensor<20x32xf32>, tensor<32x128xf32> -> tensor<20x128xf32>
    %rows = nn.broadcast %up_bias [1] : tensor<128xf32> -> tensor<20x128xf32>
    %hb = arith.addf %h, %rows : tensor<20x128xf32>
    // CHECK: %[[G:.*]] = math.tanh
    %g = math.tanh %hb : tensor<20x128xf32>
    // CHECK: %[[Y:.*]] = nn.matmul %[[G]], %{{.*}} : tensor<20x64xf32>, tensor<64x32xf32> -> tensor<20x32xf32>
    %y = nn.matmul %g, %down : tensor<20x128xf32>, tensor<128x32xf32> -> tensor<20x32xf32>
    %out_rows = nn.broadcast %down_bias [1] : tensor<32xf32> -> tensor<20x32xf32>
    // CHECK: %[[SUM:.*]] = dist.all_reduce %[[Y]] over ["tp"]
    // CHECK: %[[OUT:.*]] = arith.addf %[[SUM]],
    %out = arith.addf %y, %out_rows : tensor<20x32xf32>

    // Cotangents: of the whole dy for both products' weights, without a collective.
    // CHECK-NOT: dist.
    %d_bias = nn.reduce sum %dy [0] : tensor<20x32xf32> -> tensor<32xf32>
    pipe.accumulate @down_bias, %d_bias : tensor<32xf32>
    // CHECK: pipe.accumulate @down, %{{.*}} : tensor<64x32xf32>
    %d_down = nn.matmul %g, %dy {transpose_lhs} : tensor<20x128xf32>, tensor<20x32xf32> -> tensor<128x32xf32>
    pipe.accumulate @down, %d_down : tensor<128x32xf32>
    %dg = nn.matmul %dy, %down {transpose_rhs} : tensor<20x32xf32>, tensor<128x32xf32> -> tensor<20x128xf32>
    %dh = arith.mulf %dg, %g : tensor<20x128xf32>
    %d_up_bias = nn.reduce sum %dh [0] : tensor<20x128xf32> -> tensor<128xf32>
    // CHECK: pipe.accumulate @up_bias, %{{.*}} : tensor<64xf32>
    pipe.accumulate @up_bias, %d_up_bias : tensor<128xf32>
    %d_up = nn.matmul %x, %dh {transpose_lhs} : tensor<20x32xf32>, tensor<20x128xf32> -> tensor<32x128xf32>
    // CHECK: pipe.accumulate @up, %{{.*}} : tensor<32x64xf32>
    pipe.accumulate @up, %d_up : tensor<32x128xf32>
    // CHECK: return %[[OUT]]
    return %out : tensor<20x32xf32>
  }
}

// -----

// Gate and up as blocks of one weight: each is cut by itself.
// CHECK: pipe.parameter @gate_up : tensor<96x32xf32> {{.*}} sharding <{{\[\[}}"tp"], []] blocks {{\[\[}}48, 48], []]>
// CHECK: pipe.parameter @down : tensor<32x48xf32> {{.*}} sharding <{{\[\[}}], ["tp"]]>
// CHECK-LABEL: func @micro_step
module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  pipe.parameter @gate_up : tensor<96x32xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @down : tensor<32x48xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%x: tensor<20x32xf32>, %dg: tensor<20x48xf32>, %du: tensor<20x48xf32>,
                        %dy: tensor<20x32xf32>) -> (tensor<20x32xf32>, tensor<20x32xf32>) {
    %w = pipe.read @gate_up : tensor<96x32xf32>
    %down = pipe.read @down : tensor<32x48xf32>
    // CHECK: %[[BOTH:.*]] = nn.matmul {{.*}} -> tensor<20x48xf32>
    %both = nn.matmul %x, %w {transpose_rhs} : tensor<20x32xf32>, tensor<96x32xf32> -> tensor<20x96xf32>
    // CHECK: nn.slice %[[BOTH]] starts [0, 0] limits [20, 24]
    %gate = nn.slice %both starts [0, 0] limits [20, 48] strides [1, 1] : tensor<20x96xf32> -> tensor<20x48xf32>
    // CHECK: nn.slice %[[BOTH]] starts [0, 24] limits [20, 48]
    %up = nn.slice %both starts [0, 48] limits [20, 96] strides [1, 1] : tensor<20x96xf32> -> tensor<20x48xf32>
    %act = nn.sigmoid %gate : tensor<20x48xf32>
    %h = arith.mulf %act, %up : tensor<20x48xf32>
    // CHECK: %[[Y:.*]] = nn.matmul {{.*}} : tensor<20x24xf32>, tensor<32x24xf32>
    %y = nn.matmul %h, %down {transpose_rhs} : tensor<20x48xf32>, tensor<32x48xf32> -> tensor<20x32xf32>

    // The backward joins the two again; a replicated cotangent is cut.
    // CHECK: dist.split {{.*}} dim 1 over ["tp"] : tensor<20x48xf32> -> tensor<20x24xf32>
    %dgate = arith.mulf %dg, %gate : tensor<20x48xf32>
    %dup = arith.mulf %du, %up : tensor<20x48xf32>
    // CHECK: nn.concat {{.*}} -> tensor<20x48xf32>
    %dboth = nn.concat %dgate, %dup dim 1 : tensor<20x48xf32>, tensor<20x48xf32> -> tensor<20x96xf32>
    // CHECK: %[[DX:.*]] = nn.matmul
    %dx = nn.matmul %dboth, %w : tensor<20x96xf32>, tensor<96x32xf32> -> tensor<20x32xf32>
    %dw = nn.matmul %dboth, %x {transpose_lhs} : tensor<20x96xf32>, tensor<20x32xf32> -> tensor<96x32xf32>
    // CHECK: pipe.accumulate @gate_up, %{{.*}} : tensor<48x32xf32>
    pipe.accumulate @gate_up, %dw : tensor<96x32xf32>
    // CHECK: dist.all_reduce %[[Y]]
    // CHECK: dist.all_reduce %[[DX]]
    // CHECK-NEXT: return
    return %y, %dx : tensor<20x32xf32>, tensor<20x32xf32>
  }
}

// -----

// Every second column: pieces keep pairs together, so that one block is enough.
// CHECK: pipe.parameter @gate_up : tensor<32x96xf32> {{.*}} sharding <{{\[\[}}], ["tp"]]>
// CHECK-LABEL: func @micro_step
module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  pipe.parameter @gate_up : tensor<32x96xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @down : tensor<48x32xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%x: tensor<20x32xf32>) -> tensor<20x32xf32> {
    %w = pipe.read @gate_up : tensor<32x96xf32>
    %down = pipe.read @down : tensor<48x32xf32>
    %both = nn.matmul %x, %w : tensor<20x32xf32>, tensor<32x96xf32> -> tensor<20x96xf32>
    // CHECK: nn.slice {{.*}} starts [0, 0] limits [20, 48] strides [1, 2] : tensor<20x48xf32> -> tensor<20x24xf32>
    %gate = nn.slice %both starts [0, 0] limits [20, 95] strides [1, 2] : tensor<20x96xf32> -> tensor<20x48xf32>
    // CHECK: nn.slice {{.*}} starts [0, 1] limits [20, 48] strides [1, 2] : tensor<20x48xf32> -> tensor<20x24xf32>
    %up = nn.slice %both starts [0, 1] limits [20, 96] strides [1, 2] : tensor<20x96xf32> -> tensor<20x48xf32>
    %h = arith.mulf %gate, %up : tensor<20x48xf32>
    %y = nn.matmul %h, %down : tensor<20x48xf32>, tensor<48x32xf32> -> tensor<20x32xf32>
    // CHECK: dist.all_reduce
    return %y : tensor<20x32xf32>
  }
}

// -----

// Three cotangents of one residual are summed over the ranks together.
// CHECK-LABEL: func @micro_step
module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  pipe.parameter @up : tensor<32x64xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @down : tensor<64x32xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%x: tensor<20x32xf32>, %r: tensor<20x32xf32>) -> tensor<20x32xf32> {
    %up = pipe.read @up : tensor<32x64xf32>
    %down = pipe.read @down : tensor<64x32xf32>
    %h = nn.matmul %x, %up : tensor<20x32xf32>, tensor<32x64xf32> -> tensor<20x64xf32>
    // CHECK: %[[A:.*]] = nn.matmul {{.*}} -> tensor<20x32xf32>
    // CHECK: %[[A:.*]] = nn.matmul {{.*}} -> tensor<20x32xf32>
    %a = nn.matmul %h, %down : tensor<20x64xf32>, tensor<64x32xf32> -> tensor<20x32xf32>
    %ra = arith.addf %r, %a : tensor<20x32xf32>
    %g = math.exp %h : tensor<20x64xf32>
    // CHECK: %[[B:.*]] = nn.matmul
    %b = nn.matmul %g, %down : tensor<20x64xf32>, tensor<64x32xf32> -> tensor<20x32xf32>
    %rab = arith.addf %b, %ra : tensor<20x32xf32>
    %k = math.sqrt %h : tensor<20x64xf32>
    // CHECK: %[[AB:.*]] = arith.addf %[[A]], %[[B]]
    // CHECK: %[[C:.*]] = nn.matmul
    // CHECK: %[[ABC:.*]] = arith.addf %[[AB]], %[[C]]
    // CHECK: %[[SUM:.*]] = dist.all_reduce %[[ABC]]
    // CHECK: arith.addf %arg1, %[[SUM]]
    // CHECK-NEXT: return
    %c = nn.matmul %k, %down : tensor<20x64xf32>, tensor<64x32xf32> -> tensor<20x32xf32>
    %rabc = arith.addf %rab, %c : tensor<20x32xf32>
    return %rabc : tensor<20x32xf32>
  }
}

// -----

// A width that does not divide stays with every rank.
// CHECK-LABEL: module
// CHECK-NOT: sharding
// CHECK-NOT: dist.all_reduce
module attributes {dist.mesh = #dist.mesh<tp = 4>} {
  pipe.parameter @up : tensor<32x54xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @down : tensor<54x32xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%x: tensor<20x32xf32>) -> tensor<20x32xf32> {
    %up = pipe.read @up : tensor<32x54xf32>
    %down = pipe.read @down : tensor<54x32xf32>
    %h = nn.matmul %x, %up : tensor<20x32xf32>, tensor<32x54xf32> -> tensor<20x54xf32>
    // CHECK: nn.matmul {{.*}} : tensor<20x54xf32>, tensor<54x32xf32>
    // CHECK-NEXT: return
    %y = nn.matmul %h, %down : tensor<20x54xf32>, tensor<54x32xf32> -> tensor<20x32xf32>
    return %y : tensor<20x32xf32>
  }
}
