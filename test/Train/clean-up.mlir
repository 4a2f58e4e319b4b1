// RUN: moire-opt %s --train-clean-up | FileCheck %s

// CHECK-LABEL: func.func @parts
func.func @parts(%a: tensor<2x3xf32>, %b: tensor<2x1xf32>, %c: tensor<2x2xf32>, %d: tensor<2x7xf32>) -> tensor<2x7xf32> {
  // CHECK-DAG: %[[GAP:.*]] = arith.constant dense<0.000000e+00> : tensor<2x1xf32>
  // CHECK: %[[ALL:.*]] = nn.concat %arg0, %[[GAP]], %arg1, %arg2 dim 1
  // CHECK: %[[SUM:.*]] = arith.addf %[[ALL]], %arg3
  // CHECK: return %[[SUM]]
  %0 = nn.pad %c low [0, 5] high [0, 0] interior [0, 0] : tensor<2x2xf32> -> tensor<2x7xf32>
  %1 = nn.pad %a low [0, 0] high [0, 4] interior [0, 0] : tensor<2x3xf32> -> tensor<2x7xf32>
  %2 = nn.pad %b low [0, 4] high [0, 2] interior [0, 0] : tensor<2x1xf32> -> tensor<2x7xf32>
  %3 = arith.addf %0, %1 : tensor<2x7xf32>
  %4 = arith.addf %3, %d : tensor<2x7xf32>
  %5 = arith.addf %4, %2 : tensor<2x7xf32>
  return %5 : tensor<2x7xf32>
}

// CHECK-LABEL: func.func @alternating
func.func @alternating(%a: tensor<2x3xf32>, %b: tensor<2x3xf32>) -> tensor<2x6xf32> {
  // CHECK: %[[A:.*]] = nn.reshape %arg0 : tensor<2x3xf32> -> tensor<2x3x1xf32>
  // CHECK: %[[B:.*]] = nn.reshape %arg1
  // CHECK: %[[ALL:.*]] = nn.concat %[[A]], %[[B]] dim 2
  // CHECK: nn.reshape %[[ALL]] : tensor<2x3x2xf32> -> tensor<2x6xf32>
  %0 = nn.pad %a low [0, 0] high [0, 1] interior [0, 1] : tensor<2x3xf32> -> tensor<2x6xf32>
  %1 = nn.pad %b low [0, 1] high [0, 0] interior [0, 1] : tensor<2x3xf32> -> tensor<2x6xf32>
  %2 = arith.addf %0, %1 : tensor<2x6xf32>
  return %2 : tensor<2x6xf32>
}

// Overlapping windows stay a sum.
// CHECK-LABEL: func.func @overlap
func.func @overlap(%a: tensor<3xf32>, %b: tensor<3xf32>) -> tensor<5xf32> {
  // CHECK-NOT: nn.concat
  %0 = nn.pad %a low [0] high [2] interior [0] : tensor<3xf32> -> tensor<5xf32>
  %1 = nn.pad %b low [2] high [0] interior [0] : tensor<3xf32> -> tensor<5xf32>
  %2 = arith.addf %0, %1 : tensor<5xf32>
  return %2 : tensor<5xf32>
}

// A tied embedding: the lookup's gradient goes straight into the head's.
// CHECK-LABEL: func.func @tied
func.func @tied(%head: tensor<7x4xf32>, %ids: tensor<3xi64>, %rows: tensor<3x4xf32>) -> tensor<7x4xf32> {
  // CHECK: %[[SUM:.*]] = nn.scatter add %arg2 into %arg0[%arg1]
  // CHECK: return %[[SUM]]
  %zero = arith.constant dense<0.0> : tensor<7x4xf32>
  %0 = nn.scatter add %rows into %zero[%ids] : tensor<3x4xf32>, tensor<7x4xf32>, tensor<3xi64> -> tensor<7x4xf32>
  %1 = arith.addf %head, %0 : tensor<7x4xf32>
  return %1 : tensor<7x4xf32>
}

// CHECK-LABEL: func.func @product
func.func @product(%a: tensor<2x3x4xf32>, %b: tensor<2x5x4xf32>) -> tensor<2x5x3xf32> {
  // CHECK: nn.matmul %arg1, %arg0 {transpose_rhs}
  %0 = nn.matmul %a, %b {transpose_rhs} : tensor<2x3x4xf32>, tensor<2x5x4xf32> -> tensor<2x3x5xf32>
  %1 = nn.transpose %0 [0, 2, 1] : tensor<2x3x5xf32> -> tensor<2x5x3xf32>
  return %1 : tensor<2x5x3xf32>
}
