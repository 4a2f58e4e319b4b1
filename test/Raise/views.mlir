// RUN: moire-opt %s --raise-views --canonicalize --split-input-file | FileCheck %s

// A transposition of matrices by way of three dims.
// CHECK-LABEL: @detour
// CHECK-NEXT:    nn.transpose %{{.*}} [0, 1, 3, 2]
// CHECK-NEXT:    return
func.func @detour(%x: tensor<2x4x10x8xf32>) -> tensor<2x4x8x10xf32> {
  %a = nn.reshape %x : tensor<2x4x10x8xf32> -> tensor<8x10x8xf32>
  %b = nn.transpose %a [0, 2, 1] : tensor<8x10x8xf32> -> tensor<8x8x10xf32>
  %c = nn.reshape %b : tensor<8x8x10xf32> -> tensor<2x4x8x10xf32>
  return %c : tensor<2x4x8x10xf32>
}

// -----

// attention_mask[b, k] for all b and k, through linear row numbers.
// CHECK-LABEL: @lookup
// CHECK-SAME:    %[[M:.*]]: tensor<2x10xi1>
// CHECK-NEXT:    %[[R:.*]] = nn.reshape %[[M]] : tensor<2x10xi1> -> tensor<2x1x1x10xi1>
// CHECK-NEXT:    return %[[R]]
func.func @lookup(%mask: tensor<2x10xi1>) -> tensor<2x1x1x10xi1> {
  %zero = arith.constant dense<0> : tensor<2x1x1x10xi64>
  %ten = arith.constant dense<10> : tensor<2x1x1x10xi64>
  %b = nn.iota 0 : tensor<2x1x1x10xi64>
  %k = nn.iota 3 : tensor<2x1x1x10xi64>
  %row = arith.muli %b, %ten : tensor<2x1x1x10xi64>
  %at = arith.addi %row, %k : tensor<2x1x1x10xi64>
  // Counted from the end where negative, as ONNX allows; none is.
  %end = arith.constant dense<20> : tensor<2x1x1x10xi64>
  %negative = arith.cmpi slt, %at, %zero : tensor<2x1x1x10xi64>
  %fromEnd = arith.addi %at, %end : tensor<2x1x1x10xi64>
  %safe = arith.select %negative, %fromEnd, %at : tensor<2x1x1x10xi1>, tensor<2x1x1x10xi64>
  %flat = nn.reshape %mask : tensor<2x10xi1> -> tensor<20xi1>
  %y = nn.gather %flat[%safe] : tensor<20xi1>, tensor<2x1x1x10xi64> -> tensor<2x1x1x10xi1>
  return %y : tensor<2x1x1x10xi1>
}

// -----

// Constant positions: a slice of the table, here with every second row.
// CHECK-LABEL: @positions
// CHECK-NEXT:    nn.slice %{{.*}} starts [1, 0] limits [6, 8] strides [2, 1]
func.func @positions(%table: tensor<10x8xf32>) -> tensor<3x8xf32> {
  %at = arith.constant dense<[1, 3, 5]> : tensor<3xi64>
  %y = nn.gather %table[%at] : tensor<10x8xf32>, tensor<3xi64> -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// -----

// Rows known only at run time, and constant rows in no order, stay gathers.
// CHECK-LABEL: @embedding
// CHECK:         nn.gather
// CHECK:         nn.gather
func.func @embedding(%table: tensor<10x8xf32>, %ids: tensor<2x5xi64>) -> (tensor<2x5x8xf32>, tensor<4x8xf32>) {
  %y = nn.gather %table[%ids] : tensor<10x8xf32>, tensor<2x5xi64> -> tensor<2x5x8xf32>
  %at = arith.constant dense<[3, 1, 4, 1]> : tensor<4xi64>
  %z = nn.gather %table[%at] : tensor<10x8xf32>, tensor<4xi64> -> tensor<4x8xf32>
  return %y, %z : tensor<2x5x8xf32>, tensor<4x8xf32>
}

// -----

// The half of a concat is the tensor that was put there.
// CHECK-LABEL: @half
// CHECK-SAME:    %{{.*}}: tensor<2x4xf32>, %[[B:.*]]: tensor<2x4xf32>
// CHECK-NEXT:    return %[[B]]
func.func @half(%a: tensor<2x4xf32>, %b: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %c = nn.concat %a, %b dim 1 : tensor<2x4xf32>, tensor<2x4xf32> -> tensor<2x8xf32>
  %s = nn.slice %c starts [0, 4] limits [2, 8] strides [1, 1] : tensor<2x8xf32> -> tensor<2x4xf32>
  return %s : tensor<2x4xf32>
}

// -----

// What is short already stays as it is.
// CHECK-LABEL: @heads
// CHECK-NEXT:    nn.reshape
// CHECK-NEXT:    nn.transpose
// CHECK-NEXT:    return
func.func @heads(%x: tensor<2x10x32xf32>) -> tensor<2x4x10x8xf32> {
  %a = nn.reshape %x : tensor<2x10x32xf32> -> tensor<2x10x4x8xf32>
  %b = nn.transpose %a [0, 2, 1, 3] : tensor<2x10x4x8xf32> -> tensor<2x4x10x8xf32>
  return %b : tensor<2x4x10x8xf32>
}
