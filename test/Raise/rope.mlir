// RUN: moire-opt %s --raise-rope --canonicalize --cse --split-input-file | FileCheck %s

// rotate_half; both halves of the tables are one by concat(f, f).
// CHECK-LABEL: @rotate_half
// CHECK-SAME:    (%[[X:.*]]: tensor<2x4x10x8xf32>, %[[F:.*]]: tensor<2x10x4xf32>)
// CHECK-DAG:     %[[C:.*]] = math.cos %[[F]]
// CHECK-DAG:     %[[S:.*]] = math.sin %[[F]]
// CHECK:         %[[Y:.*]] = nn.rope %[[X]], %[[C]], %[[S]] : tensor<2x4x10x8xf32>, tensor<2x10x4xf32>, tensor<2x10x4xf32>
// CHECK-NEXT:    return %[[Y]]
func.func @rotate_half(%x: tensor<2x4x10x8xf32>, %f: tensor<2x10x4xf32>) -> tensor<2x4x10x8xf32> {
  %ff = nn.concat %f, %f dim 2 : tensor<2x10x4xf32>, tensor<2x10x4xf32> -> tensor<2x10x8xf32>
  %cos = math.cos %ff : tensor<2x10x8xf32>
  %sin = math.sin %ff : tensor<2x10x8xf32>
  %cb = nn.broadcast %cos [0, 2, 3] : tensor<2x10x8xf32> -> tensor<2x4x10x8xf32>
  %sb = nn.broadcast %sin [0, 2, 3] : tensor<2x10x8xf32> -> tensor<2x4x10x8xf32>
  %x1 = nn.slice %x starts [0, 0, 0, 0] limits [2, 4, 10, 4] strides [1, 1, 1, 1] : tensor<2x4x10x8xf32> -> tensor<2x4x10x4xf32>
  %x2 = nn.slice %x starts [0, 0, 0, 4] limits [2, 4, 10, 8] strides [1, 1, 1, 1] : tensor<2x4x10x8xf32> -> tensor<2x4x10x4xf32>
  %n = arith.negf %x2 : tensor<2x4x10x4xf32>
  %r = nn.concat %n, %x1 dim 3 : tensor<2x4x10x4xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x8xf32>
  %a = arith.mulf %x, %cb : tensor<2x4x10x8xf32>
  %b = arith.mulf %r, %sb : tensor<2x4x10x8xf32>
  %y = arith.addf %a, %b : tensor<2x4x10x8xf32>
  return %y : tensor<2x4x10x8xf32>
}

// -----

// Two products and a concat, on [B, S, H, D]; the tables are shared by all rows.
// CHECK-LABEL: @two_products
// CHECK-SAME:    %[[X:.*]]: tensor<2x10x4x8xf32>, %[[C:.*]]: tensor<10x4xf32>, %[[S:.*]]: tensor<10x4xf32>
// CHECK-DAG:     %[[T:.*]] = nn.transpose %[[X]] [0, 2, 1, 3]
// CHECK-DAG:     %[[C1:.*]] = nn.reshape %[[C]] : tensor<10x4xf32> -> tensor<1x10x4xf32>
// CHECK-DAG:     %[[S1:.*]] = nn.reshape %[[S]] : tensor<10x4xf32> -> tensor<1x10x4xf32>
// CHECK:         %[[Y:.*]] = nn.rope %[[T]], %[[C1]], %[[S1]]
// CHECK:         nn.transpose %[[Y]] [0, 2, 1, 3]
func.func @two_products(%x: tensor<2x10x4x8xf32>, %cos: tensor<10x4xf32>, %sin: tensor<10x4xf32>) -> tensor<2x10x4x8xf32> {
  %cb = nn.broadcast %cos [1, 3] : tensor<10x4xf32> -> tensor<2x10x4x4xf32>
  %sb = nn.broadcast %sin [1, 3] : tensor<10x4xf32> -> tensor<2x10x4x4xf32>
  %x1 = nn.slice %x starts [0, 0, 0, 0] limits [2, 10, 4, 4] strides [1, 1, 1, 1] : tensor<2x10x4x8xf32> -> tensor<2x10x4x4xf32>
  %x2 = nn.slice %x starts [0, 0, 0, 4] limits [2, 10, 4, 8] strides [1, 1, 1, 1] : tensor<2x10x4x8xf32> -> tensor<2x10x4x4xf32>
  %x1c = arith.mulf %x1, %cb : tensor<2x10x4x4xf32>
  %x2s = arith.mulf %x2, %sb : tensor<2x10x4x4xf32>
  %x2c = arith.mulf %x2, %cb : tensor<2x10x4x4xf32>
  %x1s = arith.mulf %x1, %sb : tensor<2x10x4x4xf32>
  %a = arith.subf %x1c, %x2s : tensor<2x10x4x4xf32>
  %b = arith.addf %x2c, %x1s : tensor<2x10x4x4xf32>
  %y = nn.concat %a, %b dim 3 : tensor<2x10x4x4xf32>, tensor<2x10x4x4xf32> -> tensor<2x10x4x8xf32>
  return %y : tensor<2x10x4x8xf32>
}

// -----

// Even and odd entries in, halves out (DeepSeek): the pairs are sorted apart first.
// CHECK-LABEL: @deinterleave
// CHECK-SAME:    %[[X:.*]]: tensor<2x4x10x8xf32>
// CHECK-DAG:     %[[P:.*]] = nn.reshape %[[X]] : tensor<2x4x10x8xf32> -> tensor<2x4x10x4x2xf32>
// CHECK-DAG:     %[[Q:.*]] = nn.transpose %[[P]] [0, 1, 2, 4, 3]
// CHECK-DAG:     %[[R:.*]] = nn.reshape %[[Q]] : tensor<2x4x10x2x4xf32> -> tensor<2x4x10x8xf32>
// CHECK:         nn.rope %[[R]], %{{[^ ]*}}, %{{[^ ]*}} : tensor
func.func @deinterleave(%x: tensor<2x4x10x8xf32>, %cos: tensor<2x10x4xf32>, %sin: tensor<2x10x4xf32>) -> tensor<2x4x10x8xf32> {
  %cb = nn.broadcast %cos [0, 2, 3] : tensor<2x10x4xf32> -> tensor<2x4x10x4xf32>
  %sb = nn.broadcast %sin [0, 2, 3] : tensor<2x10x4xf32> -> tensor<2x4x10x4xf32>
  %x1 = nn.slice %x starts [0, 0, 0, 0] limits [2, 4, 10, 8] strides [1, 1, 1, 2] : tensor<2x4x10x8xf32> -> tensor<2x4x10x4xf32>
  %x2 = nn.slice %x starts [0, 0, 0, 1] limits [2, 4, 10, 8] strides [1, 1, 1, 2] : tensor<2x4x10x8xf32> -> tensor<2x4x10x4xf32>
  %x1c = arith.mulf %x1, %cb : tensor<2x4x10x4xf32>
  %x2s = arith.mulf %x2, %sb : tensor<2x4x10x4xf32>
  %x2c = arith.mulf %x2, %cb : tensor<2x4x10x4xf32>
  %x1s = arith.mulf %x1, %sb : tensor<2x4x10x4xf32>
  %a = arith.subf %x1c, %x2s : tensor<2x4x10x4xf32>
  %b = arith.addf %x2c, %x1s : tensor<2x4x10x4xf32>
  %y = nn.concat %a, %b dim 3 : tensor<2x4x10x4xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x8xf32>
  return %y : tensor<2x4x10x8xf32>
}

// -----

// GPT-J: rotate_every_two, tables repeated per pair, a partial width.
// CHECK-LABEL: @every_two
// CHECK-SAME:    %[[X:.*]]: tensor<2x4x10x16xf32>, %[[C:.*]]: tensor<10x4xf32>
// CHECK:         %[[H:.*]] = nn.slice %[[X]] starts [0, 0, 0, 0] limits [2, 4, 10, 8]
// CHECK:         %[[Y:.*]] = nn.rope %[[H]], %{{.*}}, %{{.*}} {interleaved}
// CHECK:         nn.concat %[[Y]], %{{.*}} dim 3
func.func @every_two(%whole: tensor<2x4x10x16xf32>, %cos: tensor<10x4xf32>, %sin: tensor<10x4xf32>) -> tensor<2x4x10x16xf32> {
  %x = nn.slice %whole starts [0, 0, 0, 0] limits [2, 4, 10, 8] strides [1, 1, 1, 1] : tensor<2x4x10x16xf32> -> tensor<2x4x10x8xf32>
  %pass = nn.slice %whole starts [0, 0, 0, 8] limits [2, 4, 10, 16] strides [1, 1, 1, 1] : tensor<2x4x10x16xf32> -> tensor<2x4x10x8xf32>
  %c2 = nn.broadcast %cos [0, 1] : tensor<10x4xf32> -> tensor<10x4x2xf32>
  %c8 = nn.reshape %c2 : tensor<10x4x2xf32> -> tensor<10x8xf32>
  %cb = nn.broadcast %c8 [2, 3] : tensor<10x8xf32> -> tensor<2x4x10x8xf32>
  %s2 = nn.broadcast %sin [0, 1] : tensor<10x4xf32> -> tensor<10x4x2xf32>
  %s8 = nn.reshape %s2 : tensor<10x4x2xf32> -> tensor<10x8xf32>
  %sb = nn.broadcast %s8 [2, 3] : tensor<10x8xf32> -> tensor<2x4x10x8xf32>
  %x1 = nn.slice %x starts [0, 0, 0, 0] limits [2, 4, 10, 8] strides [1, 1, 1, 2] : tensor<2x4x10x8xf32> -> tensor<2x4x10x4xf32>
  %x2 = nn.slice %x starts [0, 0, 0, 1] limits [2, 4, 10, 8] strides [1, 1, 1, 2] : tensor<2x4x10x8xf32> -> tensor<2x4x10x4xf32>
  %n = arith.negf %x2 : tensor<2x4x10x4xf32>
  %n1 = nn.reshape %n : tensor<2x4x10x4xf32> -> tensor<2x4x10x4x1xf32>
  %p1 = nn.reshape %x1 : tensor<2x4x10x4xf32> -> tensor<2x4x10x4x1xf32>
  %st = nn.concat %n1, %p1 dim 4 : tensor<2x4x10x4x1xf32>, tensor<2x4x10x4x1xf32> -> tensor<2x4x10x4x2xf32>
  %r = nn.reshape %st : tensor<2x4x10x4x2xf32> -> tensor<2x4x10x8xf32>
  %a = arith.mulf %x, %cb : tensor<2x4x10x8xf32>
  %b = arith.mulf %r, %sb : tensor<2x4x10x8xf32>
  %y = arith.addf %a, %b : tensor<2x4x10x8xf32>
  %out = nn.concat %y, %pass dim 3 : tensor<2x4x10x8xf32>, tensor<2x4x10x8xf32> -> tensor<2x4x10x16xf32>
  return %out : tensor<2x4x10x16xf32>
}

// -----

// Pairs stacked along a dim of their own; the negative angle.
// CHECK-LABEL: @stacked_inverse
// CHECK:         nn.rope %{{.*}}, %{{.*}}, %{{.*}} {interleaved, inverse}
func.func @stacked_inverse(%x: tensor<2x4x10x8xf32>, %cos: tensor<2x10x4xf32>, %sin: tensor<2x10x4xf32>) -> tensor<2x4x10x4x2xf32> {
  %cb = nn.broadcast %cos [0, 2, 3] : tensor<2x10x4xf32> -> tensor<2x4x10x4xf32>
  %sb = nn.broadcast %sin [0, 2, 3] : tensor<2x10x4xf32> -> tensor<2x4x10x4xf32>
  %x1 = nn.slice %x starts [0, 0, 0, 0] limits [2, 4, 10, 8] strides [1, 1, 1, 2] : tensor<2x4x10x8xf32> -> tensor<2x4x10x4xf32>
  %x2 = nn.slice %x starts [0, 0, 0, 1] limits [2, 4, 10, 8] strides [1, 1, 1, 2] : tensor<2x4x10x8xf32> -> tensor<2x4x10x4xf32>
  %x1c = arith.mulf %x1, %cb : tensor<2x4x10x4xf32>
  %x2s = arith.mulf %x2, %sb : tensor<2x4x10x4xf32>
  %x2c = arith.mulf %x2, %cb : tensor<2x4x10x4xf32>
  %x1s = arith.mulf %x1, %sb : tensor<2x4x10x4xf32>
  %a = arith.addf %x1c, %x2s : tensor<2x4x10x4xf32>
  %b = arith.subf %x2c, %x1s : tensor<2x4x10x4xf32>
  %a1 = nn.reshape %a : tensor<2x4x10x4xf32> -> tensor<2x4x10x4x1xf32>
  %b1 = nn.reshape %b : tensor<2x4x10x4xf32> -> tensor<2x4x10x4x1xf32>
  %y = nn.concat %a1, %b1 dim 4 : tensor<2x4x10x4x1xf32>, tensor<2x4x10x4x1xf32> -> tensor<2x4x10x4x2xf32>
  return %y : tensor<2x4x10x4x2xf32>
}

// -----

// Tables of full width whose halves may differ.
// CHECK-LABEL: @unproven_table
// CHECK-NOT:     nn.rope
func.func @unproven_table(%x: tensor<2x4x10x8xf32>, %cos: tensor<2x10x8xf32>, %sin: tensor<2x10x8xf32>) -> tensor<2x4x10x8xf32> {
  %cb = nn.broadcast %cos [0, 2, 3] : tensor<2x10x8xf32> -> tensor<2x4x10x8xf32>
  %sb = nn.broadcast %sin [0, 2, 3] : tensor<2x10x8xf32> -> tensor<2x4x10x8xf32>
  %x1 = nn.slice %x starts [0, 0, 0, 0] limits [2, 4, 10, 4] strides [1, 1, 1, 1] : tensor<2x4x10x8xf32> -> tensor<2x4x10x4xf32>
  %x2 = nn.slice %x starts [0, 0, 0, 4] limits [2, 4, 10, 8] strides [1, 1, 1, 1] : tensor<2x4x10x8xf32> -> tensor<2x4x10x4xf32>
  %n = arith.negf %x2 : tensor<2x4x10x4xf32>
  %r = nn.concat %n, %x1 dim 3 : tensor<2x4x10x4xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x8xf32>
  %a = arith.mulf %x, %cb : tensor<2x4x10x8xf32>
  %b = arith.mulf %r, %sb : tensor<2x4x10x8xf32>
  %y = arith.addf %a, %b : tensor<2x4x10x8xf32>
  return %y : tensor<2x4x10x8xf32>
}

// -----

// Angles that are trained need a derivative.
// CHECK-LABEL: @trained_table
// CHECK-NOT:     nn.rope
pipe.parameter @angles : tensor<10x4xf32> from [#pipe.source<"angles", "m.onnx", 0, 160, f32, same, 0>]
func.func @trained_table(%x: tensor<2x4x10x8xf32>) -> tensor<2x4x10x8xf32> {
  %f = pipe.read @angles : tensor<10x4xf32>
  %cos = math.cos %f : tensor<10x4xf32>
  %sin = math.sin %f : tensor<10x4xf32>
  %cb = nn.broadcast %cos [2, 3] : tensor<10x4xf32> -> tensor<2x4x10x4xf32>
  %sb = nn.broadcast %sin [2, 3] : tensor<10x4xf32> -> tensor<2x4x10x4xf32>
  %x1 = nn.slice %x starts [0, 0, 0, 0] limits [2, 4, 10, 4] strides [1, 1, 1, 1] : tensor<2x4x10x8xf32> -> tensor<2x4x10x4xf32>
  %x2 = nn.slice %x starts [0, 0, 0, 4] limits [2, 4, 10, 8] strides [1, 1, 1, 1] : tensor<2x4x10x8xf32> -> tensor<2x4x10x4xf32>
  %x1c = arith.mulf %x1, %cb : tensor<2x4x10x4xf32>
  %x2s = arith.mulf %x2, %sb : tensor<2x4x10x4xf32>
  %x2c = arith.mulf %x2, %cb : tensor<2x4x10x4xf32>
  %x1s = arith.mulf %x1, %sb : tensor<2x4x10x4xf32>
  %a = arith.subf %x1c, %x2s : tensor<2x4x10x4xf32>
  %b = arith.addf %x2c, %x1s : tensor<2x4x10x4xf32>
  %y = nn.concat %a, %b dim 3 : tensor<2x4x10x4xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x8xf32>
  return %y : tensor<2x4x10x8xf32>
}

// -----

// Both signs alike: a reflection, not a rotation.
// CHECK-LABEL: @reflection
// CHECK-NOT:     nn.rope
func.func @reflection(%x: tensor<2x4x10x8xf32>, %cos: tensor<2x10x4xf32>, %sin: tensor<2x10x4xf32>) -> tensor<2x4x10x8xf32> {
  %cb = nn.broadcast %cos [0, 2, 3] : tensor<2x10x4xf32> -> tensor<2x4x10x4xf32>
  %sb = nn.broadcast %sin [0, 2, 3] : tensor<2x10x4xf32> -> tensor<2x4x10x4xf32>
  %x1 = nn.slice %x starts [0, 0, 0, 0] limits [2, 4, 10, 4] strides [1, 1, 1, 1] : tensor<2x4x10x8xf32> -> tensor<2x4x10x4xf32>
  %x2 = nn.slice %x starts [0, 0, 0, 4] limits [2, 4, 10, 8] strides [1, 1, 1, 1] : tensor<2x4x10x8xf32> -> tensor<2x4x10x4xf32>
  %x1c = arith.mulf %x1, %cb : tensor<2x4x10x4xf32>
  %x2s = arith.mulf %x2, %sb : tensor<2x4x10x4xf32>
  %x2c = arith.mulf %x2, %cb : tensor<2x4x10x4xf32>
  %x1s = arith.mulf %x1, %sb : tensor<2x4x10x4xf32>
  %a = arith.addf %x1c, %x2s : tensor<2x4x10x4xf32>
  %b = arith.addf %x2c, %x1s : tensor<2x4x10x4xf32>
  %y = nn.concat %a, %b dim 3 : tensor<2x4x10x4xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x8xf32>
  return %y : tensor<2x4x10x8xf32>
}
