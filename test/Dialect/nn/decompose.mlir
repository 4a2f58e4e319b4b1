// RUN: moire-opt %s --nn-decompose | FileCheck %s
// RUN: moire-opt %s --nn-decompose=only=nn.rms_norm | FileCheck %s --check-prefix=ONLY

// y * (dy - sum(y * dy)).
// CHECK-LABEL: func.func @softmax_grad(
// CHECK-SAME: %[[Y:.*]]: tensor<2x3xf32>, %[[DY:.*]]: tensor<2x3xf32>
func.func @softmax_grad(%y: tensor<2x3xf32>, %dy: tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: %[[PRODUCT:.*]] = arith.mulf %[[Y]], %[[DY]]
  // CHECK: %[[SUM:.*]] = nn.reduce sum %[[PRODUCT]] [1]
  // CHECK: %[[ROWS:.*]] = nn.broadcast %[[SUM]] [0]
  // CHECK: %[[DIFFERENCE:.*]] = arith.subf %[[DY]], %[[ROWS]]
  // CHECK: %[[RESULT:.*]] = arith.mulf %[[Y]], %[[DIFFERENCE]]
  // CHECK: return %[[RESULT]]
  // ONLY: nn.softmax_grad
  %0 = nn.softmax_grad %y, %dy : tensor<2x3xf32>, tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}

// x / sqrt(mean(x * x) + eps) * scale.
// CHECK-LABEL: func.func @rms_norm(
// CHECK-SAME: %[[X:.*]]: tensor<2x4xf32>, %[[SCALE:.*]]: tensor<4xf32>
func.func @rms_norm(%x: tensor<2x4xf32>, %scale: tensor<4xf32>) -> tensor<2x4xf32> {
  // CHECK: %[[SQUARE:.*]] = arith.mulf %[[X]], %[[X]]
  // CHECK: %[[SUM:.*]] = nn.reduce sum %[[SQUARE]] [1]
  // CHECK: %[[QUARTER:.*]] = arith.constant dense<2.500000e-01>
  // CHECK: %[[MEAN:.*]] = arith.mulf %[[SUM]], %[[QUARTER]]
  // CHECK: %[[EPS:.*]] = arith.constant dense<5.000000e-01>
  // CHECK: %[[SHIFTED:.*]] = arith.addf %[[MEAN]], %[[EPS]]
  // CHECK: %[[ROOT:.*]] = math.sqrt %[[SHIFTED]]
  // CHECK: %[[ROWS:.*]] = nn.broadcast %[[ROOT]] [0]
  // CHECK: %[[NORMAL:.*]] = arith.divf %[[X]], %[[ROWS]]
  // CHECK: %[[COLUMNS:.*]] = nn.broadcast %[[SCALE]] [1]
  // CHECK: arith.mulf %[[NORMAL]], %[[COLUMNS]]
  // ONLY-NOT: nn.rms_norm
  %0 = nn.rms_norm %x scale %scale eps 0.5 : tensor<2x4xf32>, tensor<4xf32>
  return %0 : tensor<2x4xf32>
}

// No composite op is left.
// CHECK-LABEL: func.func @all
// CHECK-NOT: nn.{{softmax|attention|cross_entropy|router|layer_norm|rope}}
func.func @all(%q: tensor<2x4x3x8xf32>, %k: tensor<2x2x3x8xf32>, %t: tensor<2x3x4xf32>,
               %l: tensor<4x9xf32>, %y: tensor<4xi64>, %x: tensor<2x3xf32>) {
  %0 = nn.softmax %l : tensor<4x9xf32>
  %1 = nn.rope %q, %t, %t : tensor<2x4x3x8xf32>, tensor<2x3x4xf32>, tensor<2x3x4xf32>
  %2, %3 = nn.attention %1, %k, %k scale 1.0 {causal} : tensor<2x4x3x8xf32>, tensor<2x2x3x8xf32>, tensor<2x2x3x8xf32> -> tensor<2x4x3x8xf32>, tensor<2x4x3xf32>
  %4, %5, %6 = nn.attention_grad %1, %k, %k output %2 lse %3 cotangent %q scale 1.0 {causal}
    : tensor<2x4x3x8xf32>, tensor<2x2x3x8xf32>, tensor<2x2x3x8xf32>, tensor<2x4x3x8xf32>, tensor<2x4x3xf32>, tensor<2x4x3x8xf32>
    -> tensor<2x4x3x8xf32>, tensor<2x2x3x8xf32>, tensor<2x2x3x8xf32>
  %7, %8 = nn.cross_entropy %l, %y : tensor<4x9xf32>, tensor<4xi64> -> tensor<4xf32>, tensor<4xf32>
  %9 = nn.cross_entropy_grad %l, %y, %8, %7 : tensor<4x9xf32>, tensor<4xi64>, tensor<4xf32>, tensor<4xf32>
  %10, %11 = nn.router softmax %l k 2 {normalize} : tensor<4x9xf32> -> tensor<4x2xf32>, tensor<4x2xi64>
  %12 = nn.router_grad softmax %l, %11, %10 {normalize} : tensor<4x9xf32>, tensor<4x2xi64>, tensor<4x2xf32>
  %13 = nn.layer_norm %x eps 0.5 : tensor<2x3xf32>
  %14, %15, %16 = nn.layer_norm_grad %x cotangent %x eps 0.5 : tensor<2x3xf32>, tensor<2x3xf32> -> tensor<2x3xf32>, tensor<3xf32>, tensor<3xf32>
  // CHECK: return
  return
}
