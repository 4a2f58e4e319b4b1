// Ranks share heads: one sum over the ranks in the forward, one in the backward.
//
// RUN: moire-opt %s --split-input-file --distribute-tensor | FileCheck %s

// Grouped queries, and a norm of each query head, whose scale every rank holds.
// CHECK: pipe.parameter @q : tensor<32x32xf32> {{.*}} sharding <{{\[\[}}"tp"], []]>
// CHECK: pipe.parameter @k : tensor<16x32xf32> {{.*}} sharding <{{\[\[}}"tp"], []]>
// CHECK: pipe.parameter @v : tensor<16x32xf32> {{.*}} sharding <{{\[\[}}"tp"], []]>
// CHECK: pipe.parameter @o : tensor<32x32xf32> {{.*}} sharding <{{\[\[}}], ["tp"]]>
// CHECK: pipe.parameter @q_norm : tensor<8xf32>
// CHECK-NOT: sharding
// CHECK-LABEL: func @micro_step
module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  pipe.parameter @q : tensor<32x32xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @k : tensor<16x32xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  pipe.parameter @v : tensor<16x32xf32> from [#pipe.source<"c", "", 0, 0, f32, same, 0>]
  pipe.parameter @o : tensor<32x32xf32> from [#pipe.source<"d", "", 0, 0, f32, same, 0>]
  pipe.parameter @q_norm : tensor<8xf32> from [#pipe.source<"e", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%x: tensor<2x10x32xf32>, %dx0: tensor<2x10x32xf32>, %cos: tensor<1x10x4xf32>,
                        %sin: tensor<1x10x4xf32>, %mask: tensor<2x1x1x10xi1>) -> (tensor<2x10x32xf32>, tensor<2x10x32xf32>) {
    %wq = pipe.read @q : tensor<32x32xf32>
    %wk = pipe.read @k : tensor<16x32xf32>
    %wv = pipe.read @v : tensor<16x32xf32>
    %wo = pipe.read @o : tensor<32x32xf32>
    %norm = pipe.read @q_norm : tensor<8xf32>
    %q = nn.matmul %x, %wq {transpose_rhs} : tensor<2x10x32xf32>, tensor<32x32xf32> -> tensor<2x10x32xf32>
    %k = nn.matmul %x, %wk {transpose_rhs} : tensor<2x10x32xf32>, tensor<16x32xf32> -> tensor<2x10x16xf32>
    %v = nn.matmul %x, %wv {transpose_rhs} : tensor<2x10x32xf32>, tensor<16x32xf32> -> tensor<2x10x16xf32>
    // CHECK: nn.reshape {{.*}} : tensor<2x10x16xf32> -> tensor<2x10x2x8xf32>
    %q4 = nn.reshape %q : tensor<2x10x32xf32> -> tensor<2x10x4x8xf32>
    %k4 = nn.reshape %k : tensor<2x10x16xf32> -> tensor<2x10x2x8xf32>
    %v4 = nn.reshape %v : tensor<2x10x16xf32> -> tensor<2x10x2x8xf32>
    %qn = nn.rms_norm %q4 scale %norm eps 1.0e-6 : tensor<2x10x4x8xf32>, tensor<8xf32>
    %qt = nn.transpose %qn [0, 2, 1, 3] : tensor<2x10x4x8xf32> -> tensor<2x4x10x8xf32>
    %kt = nn.transpose %k4 [0, 2, 1, 3] : tensor<2x10x2x8xf32> -> tensor<2x2x10x8xf32>
    %vt = nn.transpose %v4 [0, 2, 1, 3] : tensor<2x10x2x8xf32> -> tensor<2x2x10x8xf32>
    // CHECK: nn.rope {{.*}} : tensor<2x2x10x8xf32>, tensor<1x10x4xf32>
    %qr = nn.rope %qt, %cos, %sin : tensor<2x4x10x8xf32>, tensor<1x10x4xf32>, tensor<1x10x4xf32>
    // CHECK: nn.attention {{.*}} : tensor<2x2x10x8xf32>, tensor<2x1x10x8xf32>, tensor<2x1x10x8xf32>, tensor<2x1x1x10xi1>
    %a, %lse = nn.attention %qr, %kt, %vt mask %mask scale 0.5 {causal} : tensor<2x4x10x8xf32>, tensor<2x2x10x8xf32>, tensor<2x2x10x8xf32>, tensor<2x1x1x10xi1> -> tensor<2x4x10x8xf32>, tensor<2x4x10xf32>
    %at = nn.transpose %a [0, 2, 1, 3] : tensor<2x4x10x8xf32> -> tensor<2x10x4x8xf32>
    %a3 = nn.reshape %at : tensor<2x10x4x8xf32> -> tensor<2x10x32xf32>
    // CHECK: %[[Y:.*]] = nn.matmul {{.*}} : tensor<2x10x16xf32>, tensor<32x16xf32> -> tensor<2x10x32xf32>
    %y = nn.matmul %a3, %wo {transpose_rhs} : tensor<2x10x32xf32>, tensor<32x32xf32> -> tensor<2x10x32xf32>
    // CHECK-NEXT: %[[SUM:.*]] = dist.all_reduce %[[Y]]
    // CHECK-NEXT: arith.addf %arg0, %[[SUM]]
    %out = arith.addf %x, %y : tensor<2x10x32xf32>

    // CHECK-NOT: dist.
    %da3 = nn.matmul %dx0, %wo : tensor<2x10x32xf32>, tensor<32x32xf32> -> tensor<2x10x32xf32>
    %da4 = nn.reshape %da3 : tensor<2x10x32xf32> -> tensor<2x10x4x8xf32>
    %da = nn.transpose %da4 [0, 2, 1, 3] : tensor<2x10x4x8xf32> -> tensor<2x4x10x8xf32>
    %dqr, %dkt, %dvt = nn.attention_grad %qr, %kt, %vt mask %mask output %a lse %lse cotangent %da scale 0.5 {causal} : tensor<2x4x10x8xf32>, tensor<2x2x10x8xf32>, tensor<2x2x10x8xf32>, tensor<2x1x1x10xi1>, tensor<2x4x10x8xf32>, tensor<2x4x10xf32>, tensor<2x4x10x8xf32> -> tensor<2x4x10x8xf32>, tensor<2x2x10x8xf32>, tensor<2x2x10x8xf32>
    %dqt = nn.rope %dqr, %cos, %sin {inverse} : tensor<2x4x10x8xf32>, tensor<1x10x4xf32>, tensor<1x10x4xf32>
    %dqn = nn.transpose %dqt [0, 2, 1, 3] : tensor<2x4x10x8xf32> -> tensor<2x10x4x8xf32>
    // CHECK: %{{.*}}, %[[DNORM:.*]] = nn.rms_norm_grad
    // CHECK: %[[DSUM:.*]] = dist.all_reduce %[[DNORM]] over ["tp"] : tensor<8xf32>
    // CHECK: pipe.accumulate @q_norm, %[[DSUM]]
    %dq4, %dnorm = nn.rms_norm_grad %q4 scale %norm cotangent %dqn eps 1.0e-6 : tensor<2x10x4x8xf32>, tensor<8xf32>, tensor<2x10x4x8xf32> -> tensor<2x10x4x8xf32>, tensor<8xf32>
    pipe.accumulate @q_norm, %dnorm : tensor<8xf32>
    %dq = nn.reshape %dq4 : tensor<2x10x4x8xf32> -> tensor<2x10x32xf32>
    %dk4 = nn.transpose %dkt [0, 2, 1, 3] : tensor<2x2x10x8xf32> -> tensor<2x10x2x8xf32>
    %dk = nn.reshape %dk4 : tensor<2x10x2x8xf32> -> tensor<2x10x16xf32>
    // CHECK-NOT: dist.
    // CHECK: %[[DX:.*]] = arith.addf
    // CHECK-NEXT: %[[DXSUM:.*]] = dist.all_reduce %[[DX]]
    // CHECK-NOT: dist.
    // CHECK: arith.addf %arg1, %[[DXSUM]]
    %dxq = nn.matmul %dq, %wq : tensor<2x10x32xf32>, tensor<32x32xf32> -> tensor<2x10x32xf32>
    %dxk = nn.matmul %dk, %wk : tensor<2x10x16xf32>, tensor<16x32xf32> -> tensor<2x10x32xf32>
    %dx1 = arith.addf %dx0, %dxk : tensor<2x10x32xf32>
    %dx2 = arith.addf %dx1, %dxq : tensor<2x10x32xf32>
    return %out, %dx2 : tensor<2x10x32xf32>, tensor<2x10x32xf32>
  }
}

// -----

// Query, key and value in one weight with a bias, sliced after the heads are formed.
// CHECK: pipe.parameter @qkv : tensor<32x96xf32> {{.*}} sharding <{{\[\[}}], ["tp"]] blocks {{\[\[}}], [32, 32, 32]]>
// CHECK: pipe.parameter @bias : tensor<96xf32> {{.*}} sharding <{{\[\[}}"tp"]] blocks {{\[\[}}32, 32, 32]]>
// CHECK: pipe.parameter @o {{.*}} sharding
// CHECK-LABEL: func @micro_step
module attributes {dist.mesh = #dist.mesh<tp = 4>} {
  pipe.parameter @qkv : tensor<32x96xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @bias : tensor<96xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  pipe.parameter @o : tensor<32x32xf32> from [#pipe.source<"c", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%x: tensor<20x32xf32>, %da: tensor<2x10x4x8xf32>) -> tensor<20x32xf32> {
    %w = pipe.read @qkv : tensor<32x96xf32>
    %b = pipe.read @bias : tensor<96xf32>
    %o = pipe.read @o : tensor<32x32xf32>
    %p = nn.matmul %x, %w : tensor<20x32xf32>, tensor<32x96xf32> -> tensor<20x96xf32>
    %rows = nn.broadcast %b [1] : tensor<96xf32> -> tensor<20x96xf32>
    %pb = arith.addf %p, %rows : tensor<20x96xf32>
    // CHECK: nn.reshape {{.*}} : tensor<20x24xf32> -> tensor<2x10x3x8xf32>
    %h = nn.reshape %pb : tensor<20x96xf32> -> tensor<2x10x12x8xf32>
    // CHECK: nn.slice {{.*}} starts [0, 0, 0, 0] limits [2, 10, 1, 8]
    %q = nn.slice %h starts [0, 0, 0, 0] limits [2, 10, 4, 8] strides [1, 1, 1, 1] : tensor<2x10x12x8xf32> -> tensor<2x10x4x8xf32>
    // CHECK: nn.slice {{.*}} starts [0, 0, 1, 0] limits [2, 10, 2, 8]
    %k = nn.slice %h starts [0, 0, 4, 0] limits [2, 10, 8, 8] strides [1, 1, 1, 1] : tensor<2x10x12x8xf32> -> tensor<2x10x4x8xf32>
    // CHECK: nn.slice {{.*}} starts [0, 0, 2, 0] limits [2, 10, 3, 8]
    %v = nn.slice %h starts [0, 0, 8, 0] limits [2, 10, 12, 8] strides [1, 1, 1, 1] : tensor<2x10x12x8xf32> -> tensor<2x10x4x8xf32>
    %qt = nn.transpose %q [0, 2, 1, 3] : tensor<2x10x4x8xf32> -> tensor<2x4x10x8xf32>
    %kt = nn.transpose %k [0, 2, 1, 3] : tensor<2x10x4x8xf32> -> tensor<2x4x10x8xf32>
    %vt = nn.transpose %v [0, 2, 1, 3] : tensor<2x10x4x8xf32> -> tensor<2x4x10x8xf32>
    %a, %lse = nn.attention %qt, %kt, %vt scale 0.5 : tensor<2x4x10x8xf32>, tensor<2x4x10x8xf32>, tensor<2x4x10x8xf32> -> tensor<2x4x10x8xf32>, tensor<2x4x10xf32>
    %at = nn.transpose %a [0, 2, 1, 3] : tensor<2x4x10x8xf32> -> tensor<2x10x4x8xf32>
    %a2 = nn.reshape %at : tensor<2x10x4x8xf32> -> tensor<20x32xf32>
    %y = nn.matmul %a2, %o : tensor<20x32xf32>, tensor<32x32xf32> -> tensor<20x32xf32>

    // What was sliced is joined in the backward; the bias's gradient keeps the blocks.
    // CHECK: nn.concat {{.*}} -> tensor<2x10x3x8xf32>
    %dq = arith.mulf %q, %da : tensor<2x10x4x8xf32>
    %dh = nn.concat %dq, %k, %v dim 2 : tensor<2x10x4x8xf32>, tensor<2x10x4x8xf32>, tensor<2x10x4x8xf32> -> tensor<2x10x12x8xf32>
    %dp = nn.reshape %dh : tensor<2x10x12x8xf32> -> tensor<20x96xf32>
    %db = nn.reduce sum %dp [0] : tensor<20x96xf32> -> tensor<96xf32>
    // CHECK-NOT: dist.all
    // CHECK: pipe.accumulate @bias, %{{.*}} : tensor<24xf32>
    pipe.accumulate @bias, %db : tensor<96xf32>
    return %y : tensor<20x32xf32>
  }
}

// -----

// Attention between a norm over all heads' outputs and the next product: heads are
// shared, and gathered where the norm needs all of them.
// CHECK: pipe.parameter @q : tensor<32x32xf32> {{.*}} sharding <{{\[\[}}"tp"], []]>
// CHECK: pipe.parameter @o : tensor<32x32xf32> from [{{.*}}]{{$}}
// CHECK-LABEL: func @micro_step
module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  pipe.parameter @q : tensor<32x32xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @o : tensor<32x32xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  pipe.parameter @norm : tensor<32xf32> from [#pipe.source<"c", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%x: tensor<2x10x32xf32>) -> tensor<2x10x32xf32> {
    %wq = pipe.read @q : tensor<32x32xf32>
    %wo = pipe.read @o : tensor<32x32xf32>
    %scale = pipe.read @norm : tensor<32xf32>
    %q = nn.matmul %x, %wq {transpose_rhs} : tensor<2x10x32xf32>, tensor<32x32xf32> -> tensor<2x10x32xf32>
    %q4 = nn.reshape %q : tensor<2x10x32xf32> -> tensor<2x10x4x8xf32>
    %qt = nn.transpose %q4 [0, 2, 1, 3] : tensor<2x10x4x8xf32> -> tensor<2x4x10x8xf32>
    %a, %lse = nn.attention %qt, %qt, %qt scale 0.5 : tensor<2x4x10x8xf32>, tensor<2x4x10x8xf32>, tensor<2x4x10x8xf32> -> tensor<2x4x10x8xf32>, tensor<2x4x10xf32>
    %at = nn.transpose %a [0, 2, 1, 3] : tensor<2x4x10x8xf32> -> tensor<2x10x4x8xf32>
    // CHECK: %[[A:.*]] = nn.reshape {{.*}} -> tensor<2x10x16xf32>
    %a3 = nn.reshape %at : tensor<2x10x4x8xf32> -> tensor<2x10x32xf32>
    // CHECK-NEXT: %[[ALL:.*]] = dist.all_gather %[[A]] dim 2
    // CHECK-NEXT: nn.layer_norm %[[ALL]]
    %n = nn.layer_norm %a3 scale %scale eps 1.0e-6 : tensor<2x10x32xf32>, tensor<32xf32>
    // CHECK-NOT: dist.
    // CHECK: return
    %y = nn.matmul %n, %wo {transpose_rhs} : tensor<2x10x32xf32>, tensor<32x32xf32> -> tensor<2x10x32xf32>
    return %y : tensor<2x10x32xf32>
  }
}

// -----

// A norm of the queries of all heads together: ranks tell each other one sum a row.
// CHECK: pipe.parameter @q : tensor<32x32xf32> {{.*}} sharding <{{\[\[}}"tp"], []]>
// CHECK: pipe.parameter @o : tensor<32x32xf32> {{.*}} sharding <{{\[\[}}], ["tp"]]>
// CHECK: pipe.parameter @norm : tensor<32xf32> {{.*}} sharding <{{\[\[}}"tp"]]>
// CHECK-LABEL: func @micro_step
module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  pipe.parameter @q : tensor<32x32xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @o : tensor<32x32xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  pipe.parameter @norm : tensor<32xf32> from [#pipe.source<"c", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%x: tensor<2x10x32xf32>, %dn: tensor<2x10x32xf32>) -> tensor<2x10x32xf32> {
    %wq = pipe.read @q : tensor<32x32xf32>
    %wo = pipe.read @o : tensor<32x32xf32>
    %scale = pipe.read @norm : tensor<32xf32>
    // CHECK: %[[Q:.*]] = nn.matmul {{.*}} -> tensor<2x10x16xf32>
    %q = nn.matmul %x, %wq {transpose_rhs} : tensor<2x10x32xf32>, tensor<32x32xf32> -> tensor<2x10x32xf32>
    // CHECK: %[[SQUARES:.*]] = arith.mulf %[[Q]], %[[Q]]
    // CHECK: %[[OWN:.*]] = nn.reduce sum %[[SQUARES]] [2]
    // CHECK: %[[ALL:.*]] = dist.all_reduce %[[OWN]] over ["tp"] : tensor<2x10xf32>
    // CHECK: arith.constant dense<3.200000e+01>
    // CHECK: math.sqrt
    %n = nn.rms_norm %q scale %scale eps 1.0e-6 : tensor<2x10x32xf32>, tensor<32xf32>
    %n4 = nn.reshape %n : tensor<2x10x32xf32> -> tensor<2x10x4x8xf32>
    %nt = nn.transpose %n4 [0, 2, 1, 3] : tensor<2x10x4x8xf32> -> tensor<2x4x10x8xf32>
    // CHECK: nn.attention {{.*}} -> tensor<2x2x10x8xf32>
    %a, %lse = nn.attention %nt, %nt, %nt scale 0.5 : tensor<2x4x10x8xf32>, tensor<2x4x10x8xf32>, tensor<2x4x10x8xf32> -> tensor<2x4x10x8xf32>, tensor<2x4x10xf32>
    %at = nn.transpose %a [0, 2, 1, 3] : tensor<2x4x10x8xf32> -> tensor<2x10x4x8xf32>
    %a3 = nn.reshape %at : tensor<2x10x4x8xf32> -> tensor<2x10x32xf32>
    %y = nn.matmul %a3, %wo {transpose_rhs} : tensor<2x10x32xf32>, tensor<32x32xf32> -> tensor<2x10x32xf32>
    // Both sums of the backward move together.
    // CHECK: dist.all_reduce {{.*}} : tensor<2x2x10xf32>
    // CHECK: pipe.accumulate @norm, %{{.*}} : tensor<16xf32>
    // CHECK: dist.all_reduce {{.*}} : tensor<2x10x32xf32>
    // CHECK-NEXT: return
    %dq, %dscale = nn.rms_norm_grad %q scale %scale cotangent %dn eps 1.0e-6 : tensor<2x10x32xf32>, tensor<32xf32>, tensor<2x10x32xf32> -> tensor<2x10x32xf32>, tensor<32xf32>
    pipe.accumulate @norm, %dscale : tensor<32xf32>
    return %y : tensor<2x10x32xf32>
  }
}

// -----

// Attention spelled out, with a learned bias per head and distance: its table is cut
// by heads, and so is its gradient.
// CHECK: pipe.parameter @qk : tensor<32x32xf32> {{.*}} sharding <{{\[\[}}], ["tp"]]>
// CHECK: pipe.parameter @distances : tensor<16x4xf32> {{.*}} sharding <{{\[\[}}], ["tp"]]>
// CHECK: pipe.parameter @o : tensor<32x32xf32> {{.*}} sharding <{{\[\[}}"tp"], []]>
// CHECK-LABEL: func @micro_step
module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  pipe.parameter @qk : tensor<32x32xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @distances : tensor<16x4xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  pipe.parameter @o : tensor<32x32xf32> from [#pipe.source<"c", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%x: tensor<10x32xf32>, %far: tensor<10x10xi64>) -> tensor<10x32xf32> {
    %w = pipe.read @qk : tensor<32x32xf32>
    %o = pipe.read @o : tensor<32x32xf32>
    %table = pipe.read @distances : tensor<16x4xf32>
    %q = nn.matmul %x, %w : tensor<10x32xf32>, tensor<32x32xf32> -> tensor<10x32xf32>
    %q3 = nn.reshape %q : tensor<10x32xf32> -> tensor<10x4x8xf32>
    %qt = nn.transpose %q3 [1, 0, 2] : tensor<10x4x8xf32> -> tensor<4x10x8xf32>
    // CHECK: nn.matmul {{.*}} : tensor<2x10x8xf32>, tensor<2x10x8xf32> -> tensor<2x10x10xf32>
    %scores = nn.matmul %qt, %qt {transpose_rhs} : tensor<4x10x8xf32>, tensor<4x10x8xf32> -> tensor<4x10x10xf32>
    // CHECK: nn.gather {{.*}} -> tensor<10x10x2xf32>
    %bias = nn.gather %table[%far] : tensor<16x4xf32>, tensor<10x10xi64> -> tensor<10x10x4xf32>
    %bt = nn.transpose %bias [2, 0, 1] : tensor<10x10x4xf32> -> tensor<4x10x10xf32>
    %sum = arith.addf %scores, %bt : tensor<4x10x10xf32>
    %p = nn.softmax %sum : tensor<4x10x10xf32>
    %a = nn.matmul %p, %qt : tensor<4x10x10xf32>, tensor<4x10x8xf32> -> tensor<4x10x8xf32>
    %at = nn.transpose %a [1, 0, 2] : tensor<4x10x8xf32> -> tensor<10x4x8xf32>
    %a2 = nn.reshape %at : tensor<10x4x8xf32> -> tensor<10x32xf32>
    // CHECK: %[[Y:.*]] = nn.matmul {{.*}} : tensor<10x16xf32>, tensor<16x32xf32>
    %y = nn.matmul %a2, %o : tensor<10x32xf32>, tensor<32x32xf32> -> tensor<10x32xf32>
    %back = nn.transpose %p [1, 2, 0] : tensor<4x10x10xf32> -> tensor<10x10x4xf32>
    %zeros = arith.constant dense<0.0> : tensor<16x4xf32>
    // CHECK: nn.scatter add {{.*}} : tensor<10x10x2xf32>, tensor<16x2xf32>, tensor<10x10xi64>
    // CHECK-NEXT: pipe.accumulate @distances
    // CHECK-NEXT: dist.all_reduce %[[Y]]
    // CHECK-NEXT: return
    %dtable = nn.scatter add %back into %zeros[%far] : tensor<10x10x4xf32>, tensor<16x4xf32>, tensor<10x10xi64> -> tensor<16x4xf32>
    pipe.accumulate @distances, %dtable : tensor<16x4xf32>
    return %y : tensor<10x32xf32>
  }
}
