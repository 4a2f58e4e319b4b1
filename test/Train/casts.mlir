// RUN: moire-opt %s --train-casts --split-input-file | FileCheck %s

// A parameter is rounded as a whole, once for all its readers; the product rounds
// what it stores.
pipe.parameter @w : tensor<6x4xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
// CHECK-LABEL: @weight
// CHECK: %[[W:.*]] = pipe.read @w
// CHECK: %[[B:.*]] = arith.truncf %[[W]] : tensor<6x4xf32> to tensor<6x4xbf16>
// CHECK: %[[T:.*]] = nn.transpose %[[B]] [1, 0]
// CHECK: %[[S:.*]] = nn.slice %[[B]]
// CHECK: nn.matmul %arg0, %[[T]] : tensor<2x4xbf16>, tensor<4x6xbf16> -> tensor<2x6xbf16>
// CHECK: nn.matmul %arg0, %[[S]] {transpose_rhs} : tensor<2x4xbf16>, tensor<3x4xbf16> -> tensor<2x3xf32>
// CHECK-NOT: truncf
func.func @weight(%x: tensor<2x4xbf16>) -> (tensor<2x6xbf16>, tensor<2x3xf32>) {
  %w = pipe.read @w : tensor<6x4xf32>
  %t = nn.transpose %w [1, 0] : tensor<6x4xf32> -> tensor<4x6xf32>
  %s = nn.slice %w starts [0, 0] limits [3, 4] strides [1, 1] : tensor<6x4xf32> -> tensor<3x4xf32>
  %tb = arith.truncf %t : tensor<4x6xf32> to tensor<4x6xbf16>
  %sb = arith.truncf %s : tensor<3x4xf32> to tensor<3x4xbf16>
  %y = nn.matmul %x, %tb : tensor<2x4xbf16>, tensor<4x6xbf16> -> tensor<2x6xf32>
  %z = nn.matmul %x, %sb {transpose_rhs} : tensor<2x4xbf16>, tensor<3x4xbf16> -> tensor<2x3xf32>
  %yb = arith.truncf %y : tensor<2x6xf32> to tensor<2x6xbf16>
  return %yb, %z : tensor<2x6xbf16>, tensor<2x3xf32>
}

// -----

// Widening moves down to the arithmetic, and meets a rounding on the way.
// CHECK-LABEL: @views
// CHECK-DAG: %[[R:.*]] = nn.reshape %arg0 : tensor<2x12xbf16> -> tensor<2x3x4xbf16>
// CHECK-DAG: %[[S:.*]] = nn.slice %arg0 {{.*}} -> tensor<2x4xbf16>
// CHECK-DAG: %[[F:.*]] = arith.extf %[[S]] : tensor<2x4xbf16> to tensor<2x4xf32>
// CHECK-DAG: math.exp %[[F]]
// CHECK: return %[[R]]
func.func @views(%x: tensor<2x12xbf16>) -> (tensor<2x3x4xbf16>, tensor<2x4xf32>) {
  %f = arith.extf %x : tensor<2x12xbf16> to tensor<2x12xf32>
  %r = nn.reshape %f : tensor<2x12xf32> -> tensor<2x3x4xf32>
  %s = nn.slice %f starts [0, 4] limits [2, 8] strides [1, 1] : tensor<2x12xf32> -> tensor<2x4xf32>
  %b = arith.truncf %r : tensor<2x3x4xf32> to tensor<2x3x4xbf16>
  %e = math.exp %s : tensor<2x4xf32>
  return %b, %e : tensor<2x3x4xbf16>, tensor<2x4xf32>
}

// -----

// Part of a value that is wanted in f32 is rounded alone; rows are rounded before
// they are copied to experts.
// CHECK-LABEL: @moves
// CHECK: %[[E:.*]] = math.exp %arg0
// CHECK-DAG: %[[S:.*]] = nn.slice %[[E]] {{.*}} -> tensor<2x4xf32>
// CHECK: arith.truncf %[[S]]
// CHECK: %[[X:.*]] = arith.truncf %[[E]] : tensor<2x8xf32> to tensor<2x8xbf16>
// CHECK: nn.dispatch %[[X]], %arg1 : tensor<2x8xbf16>
func.func @moves(%x: tensor<2x8xf32>, %r: !nn.routing<tokens = 2, k = 2, experts = 3>) -> (tensor<2x4xbf16>, tensor<4x8xbf16>) {
  %e = math.exp %x : tensor<2x8xf32>
  %s = nn.slice %e starts [0, 4] limits [2, 8] strides [1, 1] : tensor<2x8xf32> -> tensor<2x4xf32>
  %b = arith.truncf %s : tensor<2x4xf32> to tensor<2x4xbf16>
  %d = nn.dispatch %e, %r : tensor<2x8xf32>, !nn.routing<tokens = 2, k = 2, experts = 3> -> tensor<4x8xf32>
  %db = arith.truncf %d : tensor<4x8xf32> to tensor<4x8xbf16>
  return %b, %db : tensor<2x4xbf16>, tensor<4x8xbf16>
}

// -----

// Normalizations round what they give unless someone reads it wide, and take
// their cotangents rounded.
// CHECK-LABEL: @norms
// CHECK: %[[Y:.*]] = nn.rms_norm %arg0 eps 1.000000e-05 : tensor<2x4xf32> -> tensor<2x4xbf16>
// CHECK: %[[Z:.*]] = nn.layer_norm %arg0 eps 1.000000e-05 : tensor<2x4xf32>{{$}}
// CHECK: %[[ZB:.*]] = arith.truncf %[[Z]]
// CHECK: nn.rms_norm_grad %arg0 cotangent %arg1 {{.*}} : tensor<2x4xf32>, tensor<2x4xbf16> -> tensor<2x4xf32>, tensor<4xf32>
// CHECK: nn.reduce  sum %arg1 [0] : tensor<2x4xbf16> -> tensor<4xf32>
func.func @norms(%x: tensor<2x4xf32>, %c: tensor<2x4xbf16>) -> (tensor<2x4xbf16>, tensor<2x4xbf16>, tensor<2x4xf32>, tensor<2x4xf32>, tensor<4xf32>) {
  %y = nn.rms_norm %x eps 1.0e-05 : tensor<2x4xf32>
  %yb = arith.truncf %y : tensor<2x4xf32> to tensor<2x4xbf16>
  %z = nn.layer_norm %x eps 1.0e-05 : tensor<2x4xf32>
  %zb = arith.truncf %z : tensor<2x4xf32> to tensor<2x4xbf16>
  %cf = arith.extf %c : tensor<2x4xbf16> to tensor<2x4xf32>
  %dx, %ds = nn.rms_norm_grad %x cotangent %cf eps 1.0e-05 : tensor<2x4xf32>, tensor<2x4xf32> -> tensor<2x4xf32>, tensor<4xf32>
  %sum = nn.reduce sum %cf [0] : tensor<2x4xf32> -> tensor<4xf32>
  return %yb, %zb, %z, %dx, %sum : tensor<2x4xbf16>, tensor<2x4xbf16>, tensor<2x4xf32>, tensor<2x4xf32>, tensor<4xf32>
}

// -----

// A norm of narrow rows, forward and backward (Qwen's norm of queries).
// CHECK-LABEL: @narrow_norm
// CHECK: nn.rms_norm %arg0 eps 1.000000e-05 : tensor<2x4xbf16>{{$}}
// CHECK: nn.rms_norm_grad %arg0 cotangent %arg1 {{.*}} : tensor<2x4xbf16>, tensor<2x4xbf16> -> tensor<2x4xbf16>, tensor<4xf32>
// CHECK-NOT: arith
func.func @narrow_norm(%x: tensor<2x4xbf16>, %c: tensor<2x4xbf16>) -> (tensor<2x4xbf16>, tensor<2x4xbf16>) {
  %f = arith.extf %x : tensor<2x4xbf16> to tensor<2x4xf32>
  %y = nn.rms_norm %f eps 1.0e-05 : tensor<2x4xf32>
  %yb = arith.truncf %y : tensor<2x4xf32> to tensor<2x4xbf16>
  %cf = arith.extf %c : tensor<2x4xbf16> to tensor<2x4xf32>
  %dx, %ds = nn.rms_norm_grad %f cotangent %cf eps 1.0e-05 : tensor<2x4xf32>, tensor<2x4xf32> -> tensor<2x4xf32>, tensor<4xf32>
  %dxb = arith.truncf %dx : tensor<2x4xf32> to tensor<2x4xbf16>
  return %yb, %dxb : tensor<2x4xbf16>, tensor<2x4xbf16>
}

// -----

// A bias's gradient sums what is stored for the product anyway.
// CHECK-LABEL: @bias
// CHECK: %[[D:.*]] = arith.mulf
// CHECK: %[[B:.*]] = arith.truncf %[[D]]
// CHECK: %[[V:.*]] = nn.reshape %[[B]] : tensor<2x3x4xbf16> -> tensor<6x4xbf16>
// CHECK: nn.reduce  sum %[[V]] [0] : tensor<6x4xbf16> -> tensor<4xf32>
func.func @bias(%x: tensor<2x3x4xf32>) -> (tensor<4xf32>, tensor<2x3x4xbf16>) {
  %d = arith.mulf %x, %x : tensor<2x3x4xf32>
  %v = nn.reshape %d : tensor<2x3x4xf32> -> tensor<6x4xf32>
  %s = nn.reduce sum %v [0] : tensor<6x4xf32> -> tensor<4xf32>
  %b = arith.truncf %d : tensor<2x3x4xf32> to tensor<2x3x4xbf16>
  return %s, %b : tensor<4xf32>, tensor<2x3x4xbf16>
}

// -----

// Narrow parts are joined narrow.
// CHECK-LABEL: @joined
// CHECK: nn.concat %arg0, %arg1 dim 1 : tensor<2x3xbf16>, tensor<2x3xbf16> -> tensor<2x6xbf16>
// CHECK-NOT: arith.truncf
func.func @joined(%a: tensor<2x3xbf16>, %b: tensor<2x3xbf16>) -> (tensor<2x6xbf16>, tensor<6xf32>) {
  %af = arith.extf %a : tensor<2x3xbf16> to tensor<2x3xf32>
  %bf = arith.extf %b : tensor<2x3xbf16> to tensor<2x3xf32>
  %c = nn.concat %af, %bf dim 1 : tensor<2x3xf32>, tensor<2x3xf32> -> tensor<2x6xf32>
  %s = nn.reduce sum %c [0] : tensor<2x6xf32> -> tensor<6xf32>
  %n = arith.truncf %c : tensor<2x6xf32> to tensor<2x6xbf16>
  return %n, %s : tensor<2x6xbf16>, tensor<6xf32>
}
