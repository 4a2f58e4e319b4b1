// RUN: moire-opt %s --raise-attention --canonicalize --cse --split-input-file | FileCheck %s

// scaled_dot_product_attention as PyTorch's dynamo exporter takes it apart:
// the root of the scale on both sides, repeated key heads, k transposed
// through three dims, the mask looked up at [b, k], a guard against NaN.
// CHECK-LABEL: @dynamo
// CHECK-SAME:    (%[[Q:[^ ]*]]: tensor<2x4x10x8xf32>, %[[K:[^ ]*]]: tensor<2x2x10x8xf32>, %[[V:[^ ]*]]: tensor<2x2x10x8xf32>, %[[A:[^ ]*]]: tensor<2x10xi64>)
// CHECK-DAG:     %[[B:.*]] = arith.cmpi ne, %[[A]], %{{.*}} : tensor<2x10xi64>
// CHECK-DAG:     %[[M:.*]] = nn.reshape %[[B]] : tensor<2x10xi1> -> tensor<2x1x1x10xi1>
// CHECK:         %[[Y:.*]], %{{.*}} = nn.attention %[[Q]], %[[K]], %[[V]] mask %[[M]] scale 0.353{{[0-9]*}} {causal}
// CHECK-NEXT:    return %[[Y]]
func.func @dynamo(%q: tensor<2x4x10x8xf32>, %k: tensor<2x2x10x8xf32>, %v: tensor<2x2x10x8xf32>, %am: tensor<2x10xi64>) -> tensor<2x4x10x8xf32> {
  // The mask: causal and attention_mask[b, k].
  %zero = arith.constant dense<0> : tensor<2x10xi64>
  %ten = arith.constant dense<10> : tensor<2x1x1x10xi64>
  %true = arith.constant dense<true> : tensor<1x1x10x10xi1>
  %bool = arith.cmpi ne, %am, %zero : tensor<2x10xi64>
  %kpos = nn.iota 3 : tensor<1x1x10x10xi64>
  %qpos = nn.iota 2 : tensor<1x1x10x10xi64>
  %le = arith.cmpi sle, %kpos, %qpos : tensor<1x1x10x10xi64>
  %and = arith.andi %true, %le : tensor<1x1x10x10xi1>
  %b = nn.iota 0 : tensor<2x1x1x10xi64>
  %k1 = nn.iota 3 : tensor<2x1x1x10xi64>
  %b10 = arith.muli %b, %ten : tensor<2x1x1x10xi64>
  %at = arith.addi %b10, %k1 : tensor<2x1x1x10xi64>
  %flat = nn.reshape %bool : tensor<2x10xi1> -> tensor<20xi1>
  %pad = nn.gather %flat[%at] : tensor<20xi1>, tensor<2x1x1x10xi64> -> tensor<2x1x1x10xi1>
  %pad3 = nn.reshape %pad : tensor<2x1x1x10xi1> -> tensor<2x1x10xi1>
  %padb = nn.broadcast %pad3 [0, 1, 3] : tensor<2x1x10xi1> -> tensor<2x1x10x10xi1>
  %and3 = nn.reshape %and : tensor<1x1x10x10xi1> -> tensor<1x10x10xi1>
  %andb = nn.broadcast %and3 [1, 2, 3] : tensor<1x10x10xi1> -> tensor<2x1x10x10xi1>
  %mask = arith.andi %andb, %padb : tensor<2x1x10x10xi1>
  // repeat_kv.
  %k5 = nn.broadcast %k [0, 1, 3, 4] : tensor<2x2x10x8xf32> -> tensor<2x2x2x10x8xf32>
  %k4 = nn.reshape %k5 : tensor<2x2x2x10x8xf32> -> tensor<2x4x10x8xf32>
  %v5 = nn.broadcast %v [0, 1, 3, 4] : tensor<2x2x10x8xf32> -> tensor<2x2x2x10x8xf32>
  %v4 = nn.reshape %v5 : tensor<2x2x2x10x8xf32> -> tensor<2x4x10x8xf32>
  // scores.
  %k3 = nn.reshape %k4 : tensor<2x4x10x8xf32> -> tensor<8x10x8xf32>
  %kt3 = nn.transpose %k3 [0, 2, 1] : tensor<8x10x8xf32> -> tensor<8x8x10xf32>
  %kt = nn.reshape %kt3 : tensor<8x8x10xf32> -> tensor<2x4x8x10xf32>
  %c = arith.constant dense<0.594603539> : tensor<2x4x10x8xf32>
  %ct = arith.constant dense<0.594603539> : tensor<2x4x8x10xf32>
  %qs = arith.mulf %q, %c : tensor<2x4x10x8xf32>
  %ks = arith.mulf %kt, %ct : tensor<2x4x8x10xf32>
  %s = nn.matmul %qs, %ks : tensor<2x4x10x8xf32>, tensor<2x4x8x10xf32> -> tensor<2x4x10x10xf32>
  %0 = arith.constant dense<0.0> : tensor<2x1x10x10xf32>
  %min = arith.constant dense<-3.40282347E+38> : tensor<2x1x10x10xf32>
  %fm = arith.select %mask, %0, %min : tensor<2x1x10x10xi1>, tensor<2x1x10x10xf32>
  %fm3 = nn.reshape %fm : tensor<2x1x10x10xf32> -> tensor<2x10x10xf32>
  %fmb = nn.broadcast %fm3 [0, 2, 3] : tensor<2x10x10xf32> -> tensor<2x4x10x10xf32>
  %sm = arith.addf %s, %fmb : tensor<2x4x10x10xf32>
  %p = nn.softmax %sm : tensor<2x4x10x10xf32>
  %nan = arith.cmpf uno, %p, %p : tensor<2x4x10x10xf32>
  %z = arith.constant dense<0.0> : tensor<2x4x10x10xf32>
  %pz = arith.select %nan, %z, %p : tensor<2x4x10x10xi1>, tensor<2x4x10x10xf32>
  %y = nn.matmul %pz, %v4 : tensor<2x4x10x10xf32>, tensor<2x4x10x8xf32> -> tensor<2x4x10x8xf32>
  return %y : tensor<2x4x10x8xf32>
}

// -----

// No guard, a finite fill, and padding known only at run time: a row might be
// hidden entirely, and then the numbers matter. They are added as they are.
// CHECK-LABEL: @eager_padding
// CHECK:         %[[M:.*]] = arith.select %{{.*}} : tensor<2x1x10x10xi1>, tensor<2x1x10x10xf32>
// CHECK:         nn.attention %{{.*}} mask %[[M]] scale 5.000000e-01 : {{.*}}tensor<2x1x10x10xf32>
func.func @eager_padding(%q: tensor<2x4x10x4xf32>, %k: tensor<2x4x10x4xf32>, %v: tensor<2x4x10x4xf32>, %pad: tensor<2x10xi1>) -> tensor<2x4x10x4xf32> {
  %kpos = nn.iota 3 : tensor<2x1x10x10xi64>
  %qpos = nn.iota 2 : tensor<2x1x10x10xi64>
  %le = arith.cmpi sle, %kpos, %qpos : tensor<2x1x10x10xi64>
  %padb = nn.broadcast %pad [0, 3] : tensor<2x10xi1> -> tensor<2x1x10x10xi1>
  %mask = arith.andi %le, %padb : tensor<2x1x10x10xi1>
  %0 = arith.constant dense<0.0> : tensor<2x1x10x10xf32>
  %min = arith.constant dense<-3.40282347E+38> : tensor<2x1x10x10xf32>
  %fm = arith.select %mask, %0, %min : tensor<2x1x10x10xi1>, tensor<2x1x10x10xf32>
  %fm3 = nn.reshape %fm : tensor<2x1x10x10xf32> -> tensor<2x10x10xf32>
  %fmb = nn.broadcast %fm3 [0, 2, 3] : tensor<2x10x10xf32> -> tensor<2x4x10x10xf32>
  %s = nn.matmul %q, %k {transpose_rhs} : tensor<2x4x10x4xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x10xf32>
  %half = arith.constant dense<0.5> : tensor<2x4x10x10xf32>
  %ss = arith.mulf %s, %half : tensor<2x4x10x10xf32>
  %sm = arith.addf %ss, %fmb : tensor<2x4x10x10xf32>
  %p = nn.softmax %sm : tensor<2x4x10x10xf32>
  %y = nn.matmul %p, %v : tensor<2x4x10x10xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x4xf32>
  return %y : tensor<2x4x10x4xf32>
}

// -----

// GPT-2's own code: a constant triangle, scores replaced by finfo.min. Every
// row sees itself, so the triangle is the causal flag. Division by the root.
// CHECK-LABEL: @gpt2_eager
// CHECK-SAME:    (%[[Q:[^ ]*]]: tensor<2x4x3x4xf32>, %[[K:[^ ]*]]: tensor<2x4x3x4xf32>, %[[V:[^ ]*]]: tensor<2x4x3x4xf32>)
// CHECK-NEXT:    nn.attention %[[Q]], %[[K]], %[[V]] scale 5.000000e-01 {causal}
func.func @gpt2_eager(%q: tensor<2x4x3x4xf32>, %k: tensor<2x4x3x4xf32>, %v: tensor<2x4x3x4xf32>) -> tensor<2x4x3x4xf32> {
  %tri = arith.constant dense<[[[[true, false, false], [true, true, false], [true, true, true]]]]> : tensor<1x1x3x3xi1>
  %tri2 = nn.reshape %tri : tensor<1x1x3x3xi1> -> tensor<3x3xi1>
  %trib = nn.broadcast %tri2 [2, 3] : tensor<3x3xi1> -> tensor<2x4x3x3xi1>
  %s = nn.matmul %q, %k {transpose_rhs} : tensor<2x4x3x4xf32>, tensor<2x4x3x4xf32> -> tensor<2x4x3x3xf32>
  %two = arith.constant dense<2.0> : tensor<2x4x3x3xf32>
  %ss = arith.divf %s, %two : tensor<2x4x3x3xf32>
  %min = arith.constant dense<-3.40282347E+38> : tensor<2x4x3x3xf32>
  %sm = arith.select %trib, %ss, %min : tensor<2x4x3x3xi1>, tensor<2x4x3x3xf32>
  %p = nn.softmax %sm : tensor<2x4x3x3xf32>
  %y = nn.matmul %p, %v : tensor<2x4x3x3xf32>, tensor<2x4x3x4xf32> -> tensor<2x4x3x4xf32>
  return %y : tensor<2x4x3x4xf32>
}

// -----

// A constant triangle of 0 and -inf, added; q and k straight from [B, S, H*D];
// batch and heads as one dim of a three-dim product.
// CHECK-LABEL: @three_dims
// CHECK-SAME:    (%[[Q:[^ ]*]]: tensor<2x3x16xf32>
// CHECK:         %[[Y:.*]], %{{.*}} = nn.attention %{{.*}} scale 1.000000e+00 {causal} : tensor<2x4x3x4xf32>, tensor<2x4x3x4xf32>, tensor<2x4x3x4xf32>
// CHECK-NEXT:    nn.reshape %[[Y]] : tensor<2x4x3x4xf32> -> tensor<8x3x4xf32>
func.func @three_dims(%q: tensor<2x3x16xf32>, %k: tensor<2x3x16xf32>, %v: tensor<2x3x16xf32>) -> tensor<8x3x4xf32> {
  %tri = arith.constant dense<[[0.0, 0xFF800000, 0xFF800000], [0.0, 0.0, 0xFF800000], [0.0, 0.0, 0.0]]> : tensor<3x3xf32>
  %q4 = nn.reshape %q : tensor<2x3x16xf32> -> tensor<2x3x4x4xf32>
  %qt = nn.transpose %q4 [0, 2, 1, 3] : tensor<2x3x4x4xf32> -> tensor<2x4x3x4xf32>
  %q3 = nn.reshape %qt : tensor<2x4x3x4xf32> -> tensor<8x3x4xf32>
  %k4 = nn.reshape %k : tensor<2x3x16xf32> -> tensor<2x3x4x4xf32>
  %kt = nn.transpose %k4 [0, 2, 3, 1] : tensor<2x3x4x4xf32> -> tensor<2x4x4x3xf32>
  %k3 = nn.reshape %kt : tensor<2x4x4x3xf32> -> tensor<8x4x3xf32>
  %v4 = nn.reshape %v : tensor<2x3x16xf32> -> tensor<2x3x4x4xf32>
  %vt = nn.transpose %v4 [0, 2, 1, 3] : tensor<2x3x4x4xf32> -> tensor<2x4x3x4xf32>
  %v3 = nn.reshape %vt : tensor<2x4x3x4xf32> -> tensor<8x3x4xf32>
  %s = nn.matmul %q3, %k3 : tensor<8x3x4xf32>, tensor<8x4x3xf32> -> tensor<8x3x3xf32>
  %trib = nn.broadcast %tri [1, 2] : tensor<3x3xf32> -> tensor<8x3x3xf32>
  %sm = arith.addf %s, %trib : tensor<8x3x3xf32>
  %p = nn.softmax %sm : tensor<8x3x3xf32>
  %y = nn.matmul %p, %v3 : tensor<8x3x3xf32>, tensor<8x3x4xf32> -> tensor<8x3x4xf32>
  return %y : tensor<8x3x4xf32>
}

// -----

// BERT's (1 - mask) * number of run-time integers stays a number per key.
// CHECK-LABEL: @bert_extended_mask
// CHECK:         nn.attention %{{.*}} mask %{{.*}} scale 1.000000e+00 : {{.*}}, tensor<2x1x1x10xf32>
func.func @bert_extended_mask(%q: tensor<2x4x10x4xf32>, %k: tensor<2x4x10x4xf32>, %v: tensor<2x4x10x4xf32>, %am: tensor<2x10xi64>) -> tensor<2x4x10x4xf32> {
  %one = arith.constant dense<1.0> : tensor<2x10xf32>
  %min = arith.constant dense<-3.40282347E+38> : tensor<2x10xf32>
  %f = arith.sitofp %am : tensor<2x10xi64> to tensor<2x10xf32>
  %i = arith.subf %one, %f : tensor<2x10xf32>
  %m = arith.mulf %i, %min : tensor<2x10xf32>
  %mb = nn.broadcast %m [0, 3] : tensor<2x10xf32> -> tensor<2x4x10x10xf32>
  %s = nn.matmul %q, %k {transpose_rhs} : tensor<2x4x10x4xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x10xf32>
  %sm = arith.addf %s, %mb : tensor<2x4x10x10xf32>
  %p = nn.softmax %sm : tensor<2x4x10x10xf32>
  %y = nn.matmul %p, %v : tensor<2x4x10x10xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x4xf32>
  return %y : tensor<2x4x10x4xf32>
}

// -----

// An Attention op of opset 23: heads repeated before, the mask's triangle inside.
// A sliding window depends on both positions and stays in the mask.
// CHECK-LABEL: @opset23
// CHECK-SAME:    (%[[Q:[^ ]*]]: tensor<2x4x10x8xf32>, %[[K:[^ ]*]]: tensor<2x2x10x8xf32>, %[[V:[^ ]*]]: tensor<2x2x10x8xf32>)
// CHECK:         %[[W:.*]] = arith.cmpi sge, %{{.*}} : tensor<1x1x10x10xi64>
// CHECK:         nn.attention %[[Q]], %[[K]], %[[V]] mask %[[W]] scale 1.000000e+00 {causal}
func.func @opset23(%q: tensor<2x4x10x8xf32>, %k: tensor<2x2x10x8xf32>, %v: tensor<2x2x10x8xf32>) -> tensor<2x4x10x8xf32> {
  %kpos = nn.iota 3 : tensor<2x1x10x10xi64>
  %qpos = nn.iota 2 : tensor<2x1x10x10xi64>
  %three = arith.constant dense<3> : tensor<2x1x10x10xi64>
  %le = arith.cmpi sle, %kpos, %qpos : tensor<2x1x10x10xi64>
  %first = arith.subi %qpos, %three : tensor<2x1x10x10xi64>
  %window = arith.cmpi sgt, %kpos, %first : tensor<2x1x10x10xi64>
  %mask = arith.andi %window, %le : tensor<2x1x10x10xi1>
  %k5 = nn.broadcast %k [0, 1, 3, 4] : tensor<2x2x10x8xf32> -> tensor<2x2x2x10x8xf32>
  %k4 = nn.reshape %k5 : tensor<2x2x2x10x8xf32> -> tensor<2x4x10x8xf32>
  %v5 = nn.broadcast %v [0, 1, 3, 4] : tensor<2x2x10x8xf32> -> tensor<2x2x2x10x8xf32>
  %v4 = nn.reshape %v5 : tensor<2x2x2x10x8xf32> -> tensor<2x4x10x8xf32>
  %y, %lse = nn.attention %q, %k4, %v4 mask %mask scale 1.0 : tensor<2x4x10x8xf32>, tensor<2x4x10x8xf32>, tensor<2x4x10x8xf32>, tensor<2x1x10x10xi1> -> tensor<2x4x10x8xf32>, tensor<2x4x10xf32>
  return %y : tensor<2x4x10x8xf32>
}

// -----

// A relative position bias is trained: nn.attention would lose its gradient.
// CHECK-LABEL: @trained_bias
// CHECK-NOT:     nn.attention
pipe.parameter @bias : tensor<4x10x10xf32> from [#pipe.source<"bias", "m.onnx", 0, 1600, f32, same, 0>]
func.func @trained_bias(%q: tensor<2x4x10x4xf32>, %k: tensor<2x4x10x4xf32>, %v: tensor<2x4x10x4xf32>) -> tensor<2x4x10x4xf32> {
  %bias = pipe.read @bias : tensor<4x10x10xf32>
  %bb = nn.broadcast %bias [1, 2, 3] : tensor<4x10x10xf32> -> tensor<2x4x10x10xf32>
  %s = nn.matmul %q, %k {transpose_rhs} : tensor<2x4x10x4xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x10xf32>
  %sm = arith.addf %s, %bb : tensor<2x4x10x10xf32>
  %p = nn.softmax %sm : tensor<2x4x10x10xf32>
  %y = nn.matmul %p, %v : tensor<2x4x10x10xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x4xf32>
  return %y : tensor<2x4x10x4xf32>
}

// -----

// Scores with a soft cap, and with a sink beside the keys.
// CHECK-LABEL: @cap_and_sink
// CHECK-NOT:     nn.attention
func.func @cap_and_sink(%q: tensor<2x4x10x4xf32>, %k: tensor<2x4x10x4xf32>, %v: tensor<2x4x10x4xf32>, %sink: tensor<2x4x10x1xf32>) -> (tensor<2x4x10x4xf32>, tensor<2x4x10x4xf32>) {
  %s = nn.matmul %q, %k {transpose_rhs} : tensor<2x4x10x4xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x10xf32>
  %t = math.tanh %s : tensor<2x4x10x10xf32>
  %p = nn.softmax %t : tensor<2x4x10x10xf32>
  %y = nn.matmul %p, %v : tensor<2x4x10x10xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x4xf32>
  %c = nn.concat %s, %sink dim 3 : tensor<2x4x10x10xf32>, tensor<2x4x10x1xf32> -> tensor<2x4x10x11xf32>
  %p2 = nn.softmax %c : tensor<2x4x10x11xf32>
  %p3 = nn.slice %p2 starts [0, 0, 0, 0] limits [2, 4, 10, 10] strides [1, 1, 1, 1] : tensor<2x4x10x11xf32> -> tensor<2x4x10x10xf32>
  %y2 = nn.matmul %p3, %v : tensor<2x4x10x10xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x4xf32>
  return %y, %y2 : tensor<2x4x10x4xf32>, tensor<2x4x10x4xf32>
}

// -----

// The probabilities are an output too; and a fill of -50 does not hide.
// CHECK-LABEL: @needed_elsewhere
// CHECK-NOT:     nn.attention
func.func @needed_elsewhere(%q: tensor<2x4x10x4xf32>, %k: tensor<2x4x10x4xf32>, %v: tensor<2x4x10x4xf32>, %m: tensor<2x4x10x10xi1>) -> (tensor<2x4x10x4xf32>, tensor<2x4x10x10xf32>, tensor<2x4x10x4xf32>) {
  %s = nn.matmul %q, %k {transpose_rhs} : tensor<2x4x10x4xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x10xf32>
  %p = nn.softmax %s : tensor<2x4x10x10xf32>
  %y = nn.matmul %p, %v : tensor<2x4x10x10xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x4xf32>
  %low = arith.constant dense<-5.0e+01> : tensor<2x4x10x10xf32>
  %sm = arith.select %m, %s, %low : tensor<2x4x10x10xi1>, tensor<2x4x10x10xf32>
  %p2 = nn.softmax %sm : tensor<2x4x10x10xf32>
  %y2 = nn.matmul %p2, %v : tensor<2x4x10x10xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x4xf32>
  return %y, %p, %y2 : tensor<2x4x10x4xf32>, tensor<2x4x10x10xf32>, tensor<2x4x10x4xf32>
}

// -----

// Transformers 4.4x: min * (k > position), filled with min where it and
// attention_mask sum to 0, added under the guard. The triangle becomes an attribute,
// what it leaves of the mask stays an operand.
// CHECK-LABEL: @update_causal_mask
// CHECK:         nn.attention %{{.*}} mask %{{.*}} scale 1.000000e+00 {causal} : {{.*}}, tensor<2x1x10x10xi1>
func.func @update_causal_mask(%q: tensor<2x4x10x4xf32>, %k: tensor<2x4x10x4xf32>, %v: tensor<2x4x10x4xf32>, %am: tensor<2x10xi64>) -> tensor<2x4x10x4xf32> {
  %0 = arith.constant dense<0.0> : tensor<2x1x10x10xf32>
  %min = arith.constant dense<-3.40282347E+38> : tensor<2x1x10x10xf32>
  %kpos = nn.iota 3 : tensor<2x1x10x10xi64>
  %qpos = nn.iota 2 : tensor<2x1x10x10xi64>
  %future = arith.cmpi sgt, %kpos, %qpos : tensor<2x1x10x10xi64>
  %f01 = arith.uitofp %future : tensor<2x1x10x10xi1> to tensor<2x1x10x10xf32>
  %causal = arith.mulf %min, %f01 : tensor<2x1x10x10xf32>
  %amf = arith.sitofp %am : tensor<2x10xi64> to tensor<2x10xf32>
  %amb = nn.broadcast %amf [0, 3] : tensor<2x10xf32> -> tensor<2x1x10x10xf32>
  %sum = arith.addf %causal, %amb : tensor<2x1x10x10xf32>
  %padding = arith.cmpf oeq, %sum, %0 : tensor<2x1x10x10xf32>
  %mask = arith.select %padding, %min, %causal : tensor<2x1x10x10xi1>, tensor<2x1x10x10xf32>
  %m3 = nn.reshape %mask : tensor<2x1x10x10xf32> -> tensor<2x10x10xf32>
  %mb = nn.broadcast %m3 [0, 2, 3] : tensor<2x10x10xf32> -> tensor<2x4x10x10xf32>
  %s = nn.matmul %q, %k {transpose_rhs} : tensor<2x4x10x4xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x10xf32>
  %sm = arith.addf %s, %mb : tensor<2x4x10x10xf32>
  %p = nn.softmax %sm : tensor<2x4x10x10xf32>
  %nan = arith.cmpf uno, %p, %p : tensor<2x4x10x10xf32>
  %z = arith.constant dense<0.0> : tensor<2x4x10x10xf32>
  %pz = arith.select %nan, %z, %p : tensor<2x4x10x10xi1>, tensor<2x4x10x10xf32>
  %y = nn.matmul %pz, %v : tensor<2x4x10x10xf32>, tensor<2x4x10x4xf32> -> tensor<2x4x10x4xf32>
  return %y : tensor<2x4x10x4xf32>
}

// -----

// One key head for all queries and a batch of one: a matrix for all products.
// CHECK-LABEL: @one_key_head
// CHECK-SAME:    (%[[Q:[^ ]*]]: tensor<1x4x10x8xf32>
// CHECK:         nn.attention %[[Q]], %{{.*}}, %{{.*}} scale 1.000000e+00 : tensor<1x4x10x8xf32>, tensor<1x1x10x8xf32>, tensor<1x1x10x8xf32>
func.func @one_key_head(%q: tensor<1x4x10x8xf32>, %k: tensor<10x8xf32>, %v: tensor<10x8xf32>) -> tensor<1x4x10x8xf32> {
  %s = nn.matmul %q, %k {transpose_rhs} : tensor<1x4x10x8xf32>, tensor<10x8xf32> -> tensor<1x4x10x10xf32>
  %p = nn.softmax %s : tensor<1x4x10x10xf32>
  %y = nn.matmul %p, %v : tensor<1x4x10x10xf32>, tensor<10x8xf32> -> tensor<1x4x10x8xf32>
  return %y : tensor<1x4x10x8xf32>
}
