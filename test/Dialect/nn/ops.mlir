// RUN: moire-opt %s | moire-opt | FileCheck %s
// RUN: moire-opt %s --mlir-print-op-generic | moire-opt | FileCheck %s

// CHECK-LABEL: func.func @movement
func.func @movement(%x: tensor<2x3xf32>, %v: tensor<3xf32>, %t: tensor<5x3xf32>,
                    %i: tensor<4xi64>, %u: tensor<4x3xf32>, %e: tensor<2x2xi64>) {
  // CHECK: nn.reshape %{{.*}} : tensor<2x3xf32> -> tensor<6x1xf32>
  %0 = nn.reshape %x : tensor<2x3xf32> -> tensor<6x1xf32>
  // CHECK: nn.transpose %{{.*}} [1, 0] : tensor<2x3xf32> -> tensor<3x2xf32>
  %1 = nn.transpose %x [1, 0] : tensor<2x3xf32> -> tensor<3x2xf32>
  // CHECK: nn.broadcast %{{.*}} [1] : tensor<3xf32> -> tensor<2x3xf32>
  %2 = nn.broadcast %v [1] : tensor<3xf32> -> tensor<2x3xf32>
  // CHECK: nn.slice %{{.*}} starts [0, 0] limits [2, 3] strides [1, 2] : tensor<2x3xf32> -> tensor<2x2xf32>
  %3 = nn.slice %x starts [0, 0] limits [2, 3] strides [1, 2] : tensor<2x3xf32> -> tensor<2x2xf32>
  // CHECK: nn.pad %{{.*}} low [1, 0] high [0, 2] interior [0, 1] : tensor<2x3xf32> -> tensor<3x7xf32>
  %4 = nn.pad %x low [1, 0] high [0, 2] interior [0, 1] : tensor<2x3xf32> -> tensor<3x7xf32>
  // CHECK: nn.pad %{{.*}} low [0] high [1] interior [0] {value = 2.000000e+00 : f64} : tensor<3xf32> -> tensor<4xf32>
  %5 = nn.pad %v low [0] high [1] interior [0] {value = 2.0 : f64} : tensor<3xf32> -> tensor<4xf32>
  // CHECK: nn.concat %{{.*}}, %{{.*}} dim 0 : tensor<2x3xf32>, tensor<5x3xf32> -> tensor<7x3xf32>
  %6 = nn.concat %x, %t dim 0 : tensor<2x3xf32>, tensor<5x3xf32> -> tensor<7x3xf32>
  // CHECK: nn.reverse %{{.*}} [0, 1] : tensor<2x3xf32> -> tensor<2x3xf32>
  %7 = nn.reverse %x [0, 1] : tensor<2x3xf32> -> tensor<2x3xf32>
  // CHECK: nn.iota 1 : tensor<2x3xi64>
  %8 = nn.iota 1 : tensor<2x3xi64>
  // CHECK: nn.gather %{{.*}}[%{{.*}}] : tensor<5x3xf32>, tensor<4xi64> -> tensor<4x3xf32>
  %9 = nn.gather %t[%i] : tensor<5x3xf32>, tensor<4xi64> -> tensor<4x3xf32>
  // CHECK: nn.scatter add %{{.*}} into %{{.*}}[%{{.*}}] : tensor<4x3xf32>, tensor<5x3xf32>, tensor<4xi64> -> tensor<5x3xf32>
  %10 = nn.scatter add %u into %t[%i] : tensor<4x3xf32>, tensor<5x3xf32>, tensor<4xi64> -> tensor<5x3xf32>
  // CHECK: nn.gather_elements %{{.*}}[%{{.*}}] axis 1 : tensor<2x3xf32>, tensor<2x2xi64> -> tensor<2x2xf32>
  %11 = nn.gather_elements %x[%e] axis 1 : tensor<2x3xf32>, tensor<2x2xi64> -> tensor<2x2xf32>
  // CHECK: nn.scatter_elements set %{{.*}} into %{{.*}}[%{{.*}}] axis 1 : tensor<2x2xf32>, tensor<2x3xf32>, tensor<2x2xi64> -> tensor<2x3xf32>
  %12 = nn.scatter_elements set %3 into %x[%e] axis 1 : tensor<2x2xf32>, tensor<2x3xf32>, tensor<2x2xi64> -> tensor<2x3xf32>
  return
}

// CHECK-LABEL: func.func @contractions
func.func @contractions(%x: tensor<4x2x3xf32>, %y: tensor<4x3x5xf32>, %w: tensor<5x3xf32>) {
  // CHECK: nn.matmul %{{.*}}, %{{.*}} : tensor<4x2x3xf32>, tensor<4x3x5xf32> -> tensor<4x2x5xf32>
  %0 = nn.matmul %x, %y : tensor<4x2x3xf32>, tensor<4x3x5xf32> -> tensor<4x2x5xf32>
  // CHECK: nn.matmul %{{.*}}, %{{.*}} {transpose_rhs} : tensor<4x2x3xf32>, tensor<5x3xf32> -> tensor<4x2x5xf32>
  %1 = nn.matmul %x, %w {transpose_rhs} : tensor<4x2x3xf32>, tensor<5x3xf32> -> tensor<4x2x5xf32>
  // CHECK: nn.matmul %{{.*}}, %{{.*}} {transpose_lhs} : tensor<5x3xf32>, tensor<5x3xf32> -> tensor<3x3xf32>
  %2 = nn.matmul %w, %w {transpose_lhs} : tensor<5x3xf32>, tensor<5x3xf32> -> tensor<3x3xf32>
  // CHECK: nn.reduce max %{{.*}} [0, 2] : tensor<4x2x3xf32> -> tensor<2xf32>
  %3 = nn.reduce max %x [0, 2] : tensor<4x2x3xf32> -> tensor<2xf32>
  // CHECK: nn.top_k %{{.*}} k 2 {smallest} : tensor<5x3xf32> -> tensor<5x2xf32>, tensor<5x2xi64>
  %4, %5 = nn.top_k %w k 2 {smallest} : tensor<5x3xf32> -> tensor<5x2xf32>, tensor<5x2xi64>
  // CHECK: nn.cumsum %{{.*}} axis 0 {exclusive, reverse} : tensor<5x3xf32> -> tensor<5x3xf32>
  %6 = nn.cumsum %w axis 0 {exclusive, reverse} : tensor<5x3xf32> -> tensor<5x3xf32>
  // CHECK: nn.sigmoid %{{.*}} : tensor<5x3xf32>
  %7 = nn.sigmoid %w : tensor<5x3xf32>
  return
}

// CHECK-LABEL: func.func @normalizations
func.func @normalizations(%x: tensor<2x3xf32>, %v: tensor<3xf32>) {
  // CHECK: nn.softmax %{{.*}} : tensor<2x3xf32>
  %0 = nn.softmax %x : tensor<2x3xf32>
  // CHECK: nn.softmax_grad %{{.*}}, %{{.*}} : tensor<2x3xf32>, tensor<2x3xf32>
  %1 = nn.softmax_grad %0, %x : tensor<2x3xf32>, tensor<2x3xf32>
  // CHECK: nn.layer_norm %{{.*}} scale %{{.*}} bias %{{.*}} eps 1.000000e-05 : tensor<2x3xf32>, tensor<3xf32>, tensor<3xf32>
  %2 = nn.layer_norm %x scale %v bias %v eps 1.0e-05 : tensor<2x3xf32>, tensor<3xf32>, tensor<3xf32>
  // CHECK: nn.layer_norm %{{.*}} eps 1.000000e-05 : tensor<2x3xf32>
  %3 = nn.layer_norm %x eps 1.0e-05 : tensor<2x3xf32>
  // CHECK: nn.layer_norm_grad %{{.*}} scale %{{.*}} cotangent %{{.*}} eps 1.000000e-05 : tensor<2x3xf32>, tensor<3xf32>, tensor<2x3xf32> -> tensor<2x3xf32>, tensor<3xf32>, tensor<3xf32>
  %4, %5, %6 = nn.layer_norm_grad %x scale %v cotangent %x eps 1.0e-05
    : tensor<2x3xf32>, tensor<3xf32>, tensor<2x3xf32> -> tensor<2x3xf32>, tensor<3xf32>, tensor<3xf32>
  // CHECK: nn.rms_norm %{{.*}} scale %{{.*}} eps 1.000000e-05 : tensor<2x3xf32>, tensor<3xf32>
  %7 = nn.rms_norm %x scale %v eps 1.0e-05 : tensor<2x3xf32>, tensor<3xf32>
  // CHECK: nn.rms_norm_grad %{{.*}} scale %{{.*}} cotangent %{{.*}} eps 1.000000e-05 : tensor<2x3xf32>, tensor<3xf32>, tensor<2x3xf32> -> tensor<2x3xf32>, tensor<3xf32>
  %8, %9 = nn.rms_norm_grad %x scale %v cotangent %x eps 1.0e-05
    : tensor<2x3xf32>, tensor<3xf32>, tensor<2x3xf32> -> tensor<2x3xf32>, tensor<3xf32>
  return
}

// CHECK-LABEL: func.func @attention
func.func @attention(%q: tensor<2x4x3x8xf32>, %k: tensor<2x2x3x8xf32>, %m: tensor<2x1x3x3xi1>,
                     %f: tensor<1x1x3x3xf32>, %t: tensor<1x3x4xf32>) {
  // CHECK: nn.rope %{{.*}}, %{{.*}}, %{{.*}} {interleaved, inverse} : tensor<2x4x3x8xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>
  %0 = nn.rope %q, %t, %t {interleaved, inverse} : tensor<2x4x3x8xf32>, tensor<1x3x4xf32>, tensor<1x3x4xf32>
  // CHECK: nn.attention %{{.*}}, %{{.*}}, %{{.*}} mask %{{.*}} scale 5.000000e-01 : tensor<2x4x3x8xf32>, tensor<2x2x3x8xf32>, tensor<2x2x3x8xf32>, tensor<2x1x3x3xi1> -> tensor<2x4x3x8xf32>, tensor<2x4x3xf32>
  %1, %2 = nn.attention %q, %k, %k mask %m scale 5.0e-01
    : tensor<2x4x3x8xf32>, tensor<2x2x3x8xf32>, tensor<2x2x3x8xf32>, tensor<2x1x3x3xi1> -> tensor<2x4x3x8xf32>, tensor<2x4x3xf32>
  // CHECK: nn.attention %{{.*}}, %{{.*}}, %{{.*}} scale 5.000000e-01 {causal} : tensor<2x4x3x8xf32>, tensor<2x2x3x8xf32>, tensor<2x2x3x8xf32> -> tensor<2x4x3x8xf32>, tensor<2x4x3xf32>
  %3, %4 = nn.attention %q, %k, %k scale 5.0e-01 {causal}
    : tensor<2x4x3x8xf32>, tensor<2x2x3x8xf32>, tensor<2x2x3x8xf32> -> tensor<2x4x3x8xf32>, tensor<2x4x3xf32>
  // CHECK: nn.attention_grad %{{.*}}, %{{.*}}, %{{.*}} mask %{{.*}} output %{{.*}} lse %{{.*}} cotangent %{{.*}} scale 5.000000e-01 {causal}
  %5, %6, %7 = nn.attention_grad %q, %k, %k mask %f output %3 lse %4 cotangent %q scale 5.0e-01 {causal}
    : tensor<2x4x3x8xf32>, tensor<2x2x3x8xf32>, tensor<2x2x3x8xf32>, tensor<1x1x3x3xf32>, tensor<2x4x3x8xf32>, tensor<2x4x3xf32>, tensor<2x4x3x8xf32>
    -> tensor<2x4x3x8xf32>, tensor<2x2x3x8xf32>, tensor<2x2x3x8xf32>
  return
}

// CHECK-LABEL: func.func @loss
func.func @loss(%x: tensor<4x9xf32>, %y: tensor<4xi64>) {
  // CHECK: nn.cross_entropy %{{.*}}, %{{.*}} : tensor<4x9xf32>, tensor<4xi64> -> tensor<4xf32>, tensor<4xf32>
  %0, %1 = nn.cross_entropy %x, %y : tensor<4x9xf32>, tensor<4xi64> -> tensor<4xf32>, tensor<4xf32>
  // CHECK: nn.cross_entropy_grad %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} {ignore_index = 0 : i64} : tensor<4x9xf32>, tensor<4xi64>, tensor<4xf32>, tensor<4xf32>
  %2 = nn.cross_entropy_grad %x, %y, %1, %0 {ignore_index = 0 : i64} : tensor<4x9xf32>, tensor<4xi64>, tensor<4xf32>, tensor<4xf32>
  return
}

// CHECK-LABEL: func.func @experts
func.func @experts(%x: tensor<4x8xf32>, %l: tensor<4x3xf32>, %b: tensor<3xf32>, %w: tensor<3x8x5xf32>,
                   %v: tensor<3x5xf32>) {
  // CHECK: nn.router softmax %{{.*}} bias %{{.*}} k 2 {epsilon = 2.500000e-01 : f64, normalize, scale = 2.500000e+00 : f64} : tensor<4x3xf32>, tensor<3xf32> -> tensor<4x2xf32>, tensor<4x2xi64>
  %p, %i = nn.router softmax %l bias %b k 2 {epsilon = 0.25 : f64, normalize, scale = 2.5 : f64}
    : tensor<4x3xf32>, tensor<3xf32> -> tensor<4x2xf32>, tensor<4x2xi64>
  // CHECK: nn.router_grad softmax_selected %{{.*}}, %{{.*}}, %{{.*}} {normalize} : tensor<4x3xf32>, tensor<4x2xi64>, tensor<4x2xf32>
  %0 = nn.router_grad softmax_selected %l, %i, %p {normalize} : tensor<4x3xf32>, tensor<4x2xi64>, tensor<4x2xf32>
  // CHECK: nn.route %{{.*}} : tensor<4x2xi64> -> <tokens = 4, k = 2, experts = 3>
  %r = nn.route %i : tensor<4x2xi64> -> !nn.routing<tokens = 4, k = 2, experts = 3>
  // CHECK: %[[COUNTS:.*]] = nn.choice_counts %{{.*}} : tensor<4x2xi64> -> tensor<2x3xf32>
  %counts = nn.choice_counts %i : tensor<4x2xi64> -> tensor<2x3xf32>
  // CHECK: nn.batch_sum %[[COUNTS]] : tensor<2x3xf32>
  %sum = nn.batch_sum %counts : tensor<2x3xf32>
  %all = nn.reshape %sum : tensor<2x3xf32> -> tensor<1x2x3xf32>
  %shard = arith.constant dense<0> : tensor<i64>
  // CHECK: nn.log_sum_exp %{{.*}} : tensor<4x3xf32> -> tensor<4xf32>
  %lse = nn.log_sum_exp %l : tensor<4x3xf32> -> tensor<4xf32>
  // CHECK: nn.capacity %{{.*}} counts %{{.*}} at %{{.*}} factor 1.250000e+00 choices_first : tensor<4x2xi64>, tensor<1x2x3xf32>, tensor<i64>
  %kept = nn.capacity %i counts %all at %shard factor 1.25 choices_first : tensor<4x2xi64>, tensor<1x2x3xf32>, tensor<i64>
  // CHECK: nn.dispatch %{{.*}}, %{{.*}} : tensor<4x8xf32>, <tokens = 4, k = 2, experts = 3> -> tensor<8x8xf32>
  %1 = nn.dispatch %x, %r : tensor<4x8xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x8xf32>
  // CHECK: nn.grouped_matmul %{{.*}}, %{{.*}}, %{{.*}} : tensor<8x8xf32>, tensor<3x8x5xf32>, <tokens = 4, k = 2, experts = 3> -> tensor<8x5xf32>
  %2 = nn.grouped_matmul %1, %w, %r : tensor<8x8xf32>, tensor<3x8x5xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x5xf32>
  // CHECK: nn.grouped_matmul %{{.*}}, %{{.*}}, %{{.*}} {transpose_weight} : tensor<8x5xf32>, tensor<3x8x5xf32>, <tokens = 4, k = 2, experts = 3> -> tensor<8x8xf32>
  %3 = nn.grouped_matmul %2, %w, %r {transpose_weight} : tensor<8x5xf32>, tensor<3x8x5xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x8xf32>
  // CHECK: nn.grouped_matmul_grad_weight %{{.*}}, %{{.*}}, %{{.*}} : tensor<8x8xf32>, tensor<8x5xf32>, <tokens = 4, k = 2, experts = 3> -> tensor<3x8x5xf32>
  %4 = nn.grouped_matmul_grad_weight %1, %2, %r : tensor<8x8xf32>, tensor<8x5xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<3x8x5xf32>
  // CHECK: nn.grouped_matmul %arg0, %{{.*}}, %{{.*}} {gather_rows} : tensor<4x8xf32>, tensor<3x8x5xf32>, <tokens = 4, k = 2, experts = 3> -> tensor<8x5xf32>
  %gathered = nn.grouped_matmul %x, %w, %r {gather_rows} : tensor<4x8xf32>, tensor<3x8x5xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x5xf32>
  // CHECK: nn.grouped_matmul_grad_weight %arg0, %{{.*}}, %{{.*}} {gather_lhs} : tensor<4x8xf32>, tensor<8x5xf32>, <tokens = 4, k = 2, experts = 3> -> tensor<3x8x5xf32>
  %left = nn.grouped_matmul_grad_weight %x, %2, %r {gather_lhs} : tensor<4x8xf32>, tensor<8x5xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<3x8x5xf32>
  // CHECK: nn.grouped_matmul_grad_weight %{{.*}}, %arg0, %{{.*}} {gather_rhs} : tensor<8x5xf32>, tensor<4x8xf32>, <tokens = 4, k = 2, experts = 3> -> tensor<3x5x8xf32>
  %right = nn.grouped_matmul_grad_weight %2, %x, %r {gather_rhs} : tensor<8x5xf32>, tensor<4x8xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<3x5x8xf32>
  // CHECK: nn.per_expert %{{.*}}, %{{.*}} : tensor<3x5xf32>, <tokens = 4, k = 2, experts = 3> -> tensor<8x5xf32>
  %5 = nn.per_expert %v, %r : tensor<3x5xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x5xf32>
  // CHECK: nn.per_expert_sum %{{.*}}, %{{.*}} : tensor<8x5xf32>, <tokens = 4, k = 2, experts = 3> -> tensor<3x5xf32>
  %6 = nn.per_expert_sum %2, %r : tensor<8x5xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<3x5xf32>
  // CHECK: nn.combine %{{.*}} weights %{{.*}}, %{{.*}} : tensor<8x8xf32>, tensor<4x2xf32>, <tokens = 4, k = 2, experts = 3> -> tensor<4x8xf32>
  %7 = nn.combine %3 weights %p, %r : tensor<8x8xf32>, tensor<4x2xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<4x8xf32>
  // CHECK: nn.combine %{{.*}}, %{{.*}} : tensor<8x8xf32>, <tokens = 4, k = 2, experts = 3> -> tensor<4x8xf32>
  %8 = nn.combine %3, %r : tensor<8x8xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<4x8xf32>
  // CHECK: nn.combine_grad %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : tensor<8x8xf32>, tensor<4x2xf32>, tensor<4x8xf32>, <tokens = 4, k = 2, experts = 3> -> tensor<8x8xf32>, tensor<4x2xf32>
  %9, %10 = nn.combine_grad %3, %p, %7, %r : tensor<8x8xf32>, tensor<4x2xf32>, tensor<4x8xf32>, !nn.routing<tokens = 4, k = 2, experts = 3> -> tensor<8x8xf32>, tensor<4x2xf32>
  return
}

// Elements of bf16: sums and statistics are f32, a result may be wide or narrow.
// CHECK-LABEL: @narrow
func.func @narrow(%x: tensor<4x3xbf16>, %w: tensor<3x5xbf16>, %wide: tensor<4x3xf32>, %s: tensor<3xf32>,
                  %q: tensor<1x2x3x4xbf16>, %labels: tensor<4xi64>) {
  // CHECK: nn.matmul {{.*}} : tensor<4x3xbf16>, tensor<3x5xbf16> -> tensor<4x5xbf16>
  %0 = nn.matmul %x, %w : tensor<4x3xbf16>, tensor<3x5xbf16> -> tensor<4x5xbf16>
  // CHECK: nn.matmul {{.*}} : tensor<4x3xbf16>, tensor<3x5xbf16> -> tensor<4x5xf32>
  %1 = nn.matmul %x, %w : tensor<4x3xbf16>, tensor<3x5xbf16> -> tensor<4x5xf32>
  // CHECK: nn.reduce  sum {{.*}} : tensor<4x3xbf16> -> tensor<3xf32>
  %2 = nn.reduce sum %x [0] : tensor<4x3xbf16> -> tensor<3xf32>
  // CHECK: nn.layer_norm {{.*}} : tensor<4x3xf32>, tensor<3xf32>, tensor<3xf32> -> tensor<4x3xbf16>
  %3 = nn.layer_norm %wide scale %s bias %s eps 1.0e-05 : tensor<4x3xf32>, tensor<3xf32>, tensor<3xf32> -> tensor<4x3xbf16>
  // CHECK: nn.rms_norm %{{.*}} eps 1.000000e-05 : tensor<4x3xf32> -> tensor<4x3xbf16>
  %4 = nn.rms_norm %wide eps 1.0e-05 : tensor<4x3xf32> -> tensor<4x3xbf16>
  // CHECK: nn.rms_norm %{{.*}} scale {{.*}} : tensor<4x3xbf16>, tensor<3xf32>{{$}}
  %5 = nn.rms_norm %x scale %s eps 1.0e-05 : tensor<4x3xbf16>, tensor<3xf32>
  // CHECK: nn.rms_norm_grad {{.*}} : tensor<4x3xf32>, tensor<4x3xbf16> -> tensor<4x3xf32>, tensor<3xf32>
  %6, %7 = nn.rms_norm_grad %wide cotangent %x eps 1.0e-05 : tensor<4x3xf32>, tensor<4x3xbf16> -> tensor<4x3xf32>, tensor<3xf32>
  // CHECK: nn.attention {{.*}} -> tensor<1x2x3x4xbf16>, tensor<1x2x3xf32>
  %8, %9 = nn.attention %q, %q, %q scale 0.5 : tensor<1x2x3x4xbf16>, tensor<1x2x3x4xbf16>, tensor<1x2x3x4xbf16> -> tensor<1x2x3x4xbf16>, tensor<1x2x3xf32>
  // CHECK: nn.cross_entropy {{.*}} : tensor<4x3xbf16>, tensor<4xi64> -> tensor<4xf32>, tensor<4xf32>
  %10, %11 = nn.cross_entropy %x, %labels : tensor<4x3xbf16>, tensor<4xi64> -> tensor<4xf32>, tensor<4xf32>
  return
}
