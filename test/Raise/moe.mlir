// RUN: moire-opt %s --raise-moe --canonicalize --cse --split-input-file | FileCheck %s

// Mixtral with batched experts: ids clipped and flattened, one copy of the
// token per choice, matrices gathered, SwiGLU, weights, sum over the choices.
// CHECK-LABEL: @mixtral
// CHECK-SAME:    (%[[X:[^ ]*]]: tensor<6x4xf32>, %[[L:[^ ]*]]: tensor<6x8xf32>)
// CHECK-DAG:     %[[WU:.*]] = pipe.read @up
// CHECK-DAG:     %[[WD:.*]] = pipe.read @down
// CHECK:         %[[W:.*]], %[[I:.*]] = nn.router softmax_selected %[[L]] k 2
// CHECK:         %[[R:.*]] = nn.route %[[I]] : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 8>
// CHECK:         %[[D:.*]] = nn.dispatch %[[X]], %[[R]]
// CHECK:         %[[U:.*]] = nn.grouped_matmul %[[D]], %[[WU]], %[[R]] {transpose_weight} : {{.*}} -> tensor<12x10xf32>
// CHECK:         %[[G:.*]] = nn.slice %[[U]] starts [0, 0] limits [12, 5]
// CHECK:         %[[S:.*]] = nn.sigmoid %[[G]]
// CHECK:         %[[A:.*]] = arith.mulf %[[G]], %[[S]]
// CHECK:         %[[V:.*]] = nn.slice %[[U]] starts [0, 5] limits [12, 10]
// CHECK:         %[[H:.*]] = arith.mulf %[[A]], %[[V]]
// CHECK:         %[[Y:.*]] = nn.grouped_matmul %[[H]], %[[WD]], %[[R]] {transpose_weight}
// CHECK:         %[[C:.*]] = nn.combine %[[Y]] weights %[[W]], %[[R]]
// CHECK-NEXT:    return %[[C]]
pipe.parameter @up : tensor<8x10x4xf32> from [#pipe.source<"up", "m.onnx", 0, 1280, f32, same, 0>]
pipe.parameter @down : tensor<8x4x5xf32> from [#pipe.source<"down", "m.onnx", 0, 640, f32, same, 0>]
func.func @mixtral(%x: tensor<6x4xf32>, %logits: tensor<6x8xf32>) -> tensor<6x4xf32> {
  %up = pipe.read @up : tensor<8x10x4xf32>
  %down = pipe.read @down : tensor<8x4x5xf32>
  %p = nn.softmax %logits : tensor<6x8xf32>
  %w, %ids = nn.top_k %p k 2 : tensor<6x8xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
  %sum = nn.reduce sum %w [1] : tensor<6x2xf32> -> tensor<6xf32>
  %sumb = nn.broadcast %sum [0] : tensor<6xf32> -> tensor<6x2xf32>
  %wn = arith.divf %w, %sumb : tensor<6x2xf32>
  %xb = nn.broadcast %x [0, 2] : tensor<6x4xf32> -> tensor<6x2x4xf32>
  %xr = nn.reshape %xb : tensor<6x2x4xf32> -> tensor<12x4xf32>
  %flat = nn.reshape %ids : tensor<6x2xi64> -> tensor<12xi64>
  %seven = arith.constant dense<7> : tensor<12xi64>
  %over = arith.cmpi sgt, %flat, %seven : tensor<12xi64>
  %at = arith.select %over, %seven, %flat : tensor<12xi1>, tensor<12xi64>
  %wu = nn.gather %up[%at] : tensor<8x10x4xf32>, tensor<12xi64> -> tensor<12x10x4xf32>
  %xc = nn.reshape %xr : tensor<12x4xf32> -> tensor<12x4x1xf32>
  %u1 = nn.matmul %wu, %xc : tensor<12x10x4xf32>, tensor<12x4x1xf32> -> tensor<12x10x1xf32>
  %u = nn.reshape %u1 : tensor<12x10x1xf32> -> tensor<12x10xf32>
  %g = nn.slice %u starts [0, 0] limits [12, 5] strides [1, 1] : tensor<12x10xf32> -> tensor<12x5xf32>
  %v = nn.slice %u starts [0, 5] limits [12, 10] strides [1, 1] : tensor<12x10xf32> -> tensor<12x5xf32>
  %s = nn.sigmoid %g : tensor<12x5xf32>
  %silu = arith.mulf %g, %s : tensor<12x5xf32>
  %h = arith.mulf %silu, %v : tensor<12x5xf32>
  %wd = nn.gather %down[%at] : tensor<8x4x5xf32>, tensor<12xi64> -> tensor<12x4x5xf32>
  %hc = nn.reshape %h : tensor<12x5xf32> -> tensor<12x5x1xf32>
  %y1 = nn.matmul %wd, %hc : tensor<12x4x5xf32>, tensor<12x5x1xf32> -> tensor<12x4x1xf32>
  %y = nn.reshape %y1 : tensor<12x4x1xf32> -> tensor<12x4xf32>
  %wf = nn.reshape %wn : tensor<6x2xf32> -> tensor<12xf32>
  %wb = nn.broadcast %wf [0] : tensor<12xf32> -> tensor<12x4xf32>
  %yw = arith.mulf %y, %wb : tensor<12x4xf32>
  %yk = nn.reshape %yw : tensor<12x4xf32> -> tensor<6x2x4xf32>
  %out = nn.reduce sum %yk [1] : tensor<6x2x4xf32> -> tensor<6x4xf32>
  return %out : tensor<6x4xf32>
}

// -----

// GPT-OSS: weights [E, in, out], biases, softmax over the chosen logits, gate
// and up interleaved, clamped above and on both sides.
// CHECK-LABEL: @gpt_oss
// CHECK-SAME:    (%[[X:[^ ]*]]: tensor<6x4xf32>, %[[L:[^ ]*]]: tensor<6x8xf32>)
// CHECK:         %[[W:.*]], %[[I:.*]] = nn.router softmax_selected %[[L]] k 2
// CHECK:         %[[R:.*]] = nn.route %[[I]]
// CHECK:         %[[D:.*]] = nn.dispatch %[[X]], %[[R]]
// CHECK:         %[[M:.*]] = nn.grouped_matmul %[[D]], %{{[^ ]*}}, %[[R]] : {{.*}} -> tensor<12x10xf32>
// CHECK:         %[[P:.*]] = nn.per_expert %{{.*}}, %[[R]]
// CHECK:         %[[U:.*]] = arith.addf %[[M]], %[[P]]
// CHECK-DAG:     nn.slice %[[U]] starts [0, 0] limits [12, 9] strides [1, 2]
// CHECK-DAG:     nn.slice %[[U]] starts [0, 1] limits [12, 10] strides [1, 2]
// CHECK:         %[[Y:.*]] = nn.grouped_matmul %{{[^ ]*}}, %{{[^ ]*}}, %[[R]] : {{.*}} -> tensor<12x4xf32>
// CHECK:         nn.combine %[[Y]] weights %[[W]], %[[R]]
pipe.parameter @up : tensor<8x4x10xf32> from [#pipe.source<"up", "m.onnx", 0, 1280, f32, same, 0>]
pipe.parameter @bias : tensor<8x10xf32> from [#pipe.source<"bias", "m.onnx", 0, 320, f32, same, 0>]
pipe.parameter @down : tensor<8x5x4xf32> from [#pipe.source<"down", "m.onnx", 0, 640, f32, same, 0>]
func.func @gpt_oss(%x: tensor<6x4xf32>, %logits: tensor<6x8xf32>) -> tensor<6x4xf32> {
  %up = pipe.read @up : tensor<8x4x10xf32>
  %bias = pipe.read @bias : tensor<8x10xf32>
  %down = pipe.read @down : tensor<8x5x4xf32>
  %top, %ids = nn.top_k %logits k 2 : tensor<6x8xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
  %w = nn.softmax %top : tensor<6x2xf32>
  %xb = nn.broadcast %x [0, 2] : tensor<6x4xf32> -> tensor<6x2x4xf32>
  %flat = nn.reshape %ids : tensor<6x2xi64> -> tensor<12xi64>
  %wu = nn.gather %up[%flat] : tensor<8x4x10xf32>, tensor<12xi64> -> tensor<12x4x10xf32>
  %bu = nn.gather %bias[%flat] : tensor<8x10xf32>, tensor<12xi64> -> tensor<12x10xf32>
  %xc = nn.reshape %xb : tensor<6x2x4xf32> -> tensor<12x1x4xf32>
  %u1 = nn.matmul %xc, %wu : tensor<12x1x4xf32>, tensor<12x4x10xf32> -> tensor<12x1x10xf32>
  %u0 = nn.reshape %u1 : tensor<12x1x10xf32> -> tensor<12x10xf32>
  %u = arith.addf %u0, %bu : tensor<12x10xf32>
  %g0 = nn.slice %u starts [0, 0] limits [12, 10] strides [1, 2] : tensor<12x10xf32> -> tensor<12x5xf32>
  %v0 = nn.slice %u starts [0, 1] limits [12, 10] strides [1, 2] : tensor<12x10xf32> -> tensor<12x5xf32>
  %limit = arith.constant dense<7.0> : tensor<12x5xf32>
  %high = arith.cmpf ogt, %g0, %limit : tensor<12x5xf32>
  %g = arith.select %high, %limit, %g0 : tensor<12x5xi1>, tensor<12x5xf32>
  %s = nn.sigmoid %g : tensor<12x5xf32>
  %silu = arith.mulf %g, %s : tensor<12x5xf32>
  %h = arith.mulf %silu, %v0 : tensor<12x5xf32>
  %wd = nn.gather %down[%flat] : tensor<8x5x4xf32>, tensor<12xi64> -> tensor<12x5x4xf32>
  %hc = nn.reshape %h : tensor<12x5xf32> -> tensor<12x1x5xf32>
  %y1 = nn.matmul %hc, %wd : tensor<12x1x5xf32>, tensor<12x5x4xf32> -> tensor<12x1x4xf32>
  %wf = nn.reshape %w : tensor<6x2xf32> -> tensor<12x1xf32>
  %wf0 = nn.reshape %wf : tensor<12x1xf32> -> tensor<12xf32>
  %wb = nn.broadcast %wf0 [0] : tensor<12xf32> -> tensor<12x4xf32>
  %y = nn.reshape %y1 : tensor<12x1x4xf32> -> tensor<12x4xf32>
  %yw = arith.mulf %y, %wb : tensor<12x4xf32>
  %yk = nn.reshape %yw : tensor<12x4xf32> -> tensor<6x2x4xf32>
  %out = nn.reduce sum %yk [1] : tensor<6x2x4xf32> -> tensor<6x4xf32>
  return %out : tensor<6x4xf32>
}

// -----

// A sigmoid router with a bias for the choice, scaled; the sum as a product
// [1, K] x [K, H]; one linear layer for an expert.
// CHECK-LABEL: @sigmoid_bias
// CHECK-SAME:    (%[[X:[^ ]*]]: tensor<6x4xf32>, %[[L:[^ ]*]]: tensor<6x8xf32>, %[[B:[^ ]*]]: tensor<8xf32>, %[[E:[^ ]*]]: tensor<8x4x4xf32>)
// CHECK:         %[[W:.*]], %[[I:.*]] = nn.router sigmoid %[[L]] bias %[[B]] k 2 {epsilon = {{.*}}, normalize, scale = 2.500000e+00 : f64}
// CHECK:         %[[R:.*]] = nn.route %[[I]]
// CHECK:         %[[Y:.*]] = nn.grouped_matmul
// CHECK:         nn.combine %[[Y]] weights %[[W]], %[[R]]
func.func @sigmoid_bias(%x: tensor<6x4xf32>, %logits: tensor<6x8xf32>, %bias: tensor<8xf32>, %e: tensor<8x4x4xf32>) -> tensor<6x1x4xf32> {
  %p = nn.sigmoid %logits : tensor<6x8xf32>
  %bb = nn.broadcast %bias [1] : tensor<8xf32> -> tensor<6x8xf32>
  %ranked = arith.addf %p, %bb : tensor<6x8xf32>
  %unused, %ids = nn.top_k %ranked k 2 : tensor<6x8xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
  %w = nn.gather_elements %p[%ids] axis 1 : tensor<6x8xf32>, tensor<6x2xi64> -> tensor<6x2xf32>
  %sum = nn.reduce sum %w [1] : tensor<6x2xf32> -> tensor<6xf32>
  %tiny = arith.constant dense<1.0e-20> : tensor<6xf32>
  %sume = arith.addf %sum, %tiny : tensor<6xf32>
  %sumb = nn.broadcast %sume [0] : tensor<6xf32> -> tensor<6x2xf32>
  %wn = arith.divf %w, %sumb : tensor<6x2xf32>
  %factor = arith.constant dense<2.5> : tensor<6x2xf32>
  %ws = arith.mulf %wn, %factor : tensor<6x2xf32>
  %m = nn.gather %e[%ids] : tensor<8x4x4xf32>, tensor<6x2xi64> -> tensor<6x2x4x4xf32>
  %xb = nn.broadcast %x [0, 3] : tensor<6x4xf32> -> tensor<6x2x1x4xf32>
  %y1 = nn.matmul %xb, %m : tensor<6x2x1x4xf32>, tensor<6x2x4x4xf32> -> tensor<6x2x1x4xf32>
  %y = nn.reshape %y1 : tensor<6x2x1x4xf32> -> tensor<6x2x4xf32>
  %w1 = nn.reshape %ws : tensor<6x2xf32> -> tensor<6x1x2xf32>
  %out = nn.matmul %w1, %y : tensor<6x1x2xf32>, tensor<6x2x4xf32> -> tensor<6x1x4xf32>
  return %out : tensor<6x1x4xf32>
}

// -----

// A router that chooses within groups stays as it is; its experts do not.
// CHECK-LABEL: @grouped_choice
// CHECK:         %{{.*}}, %[[I:.*]] = nn.top_k %{{.*}} k 2
// CHECK:         %[[W:.*]] = nn.gather_elements
// CHECK:         %[[R:.*]] = nn.route %[[I]]
// CHECK:         %[[Y:.*]] = nn.grouped_matmul
// CHECK:         nn.combine %[[Y]] weights %[[W]], %[[R]]
func.func @grouped_choice(%x: tensor<6x4xf32>, %logits: tensor<6x8xf32>, %allowed: tensor<6x8xi1>, %e: tensor<8x4x4xf32>) -> tensor<6x4xf32> {
  %p = nn.sigmoid %logits : tensor<6x8xf32>
  %no = arith.constant dense<0xFF800000> : tensor<6x8xf32>
  %ranked = arith.select %allowed, %p, %no : tensor<6x8xi1>, tensor<6x8xf32>
  %unused, %ids = nn.top_k %ranked k 2 : tensor<6x8xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
  %w = nn.gather_elements %p[%ids] axis 1 : tensor<6x8xf32>, tensor<6x2xi64> -> tensor<6x2xf32>
  %m = nn.gather %e[%ids] : tensor<8x4x4xf32>, tensor<6x2xi64> -> tensor<6x2x4x4xf32>
  %xb = nn.broadcast %x [0, 3] : tensor<6x4xf32> -> tensor<6x2x1x4xf32>
  %y1 = nn.matmul %xb, %m : tensor<6x2x1x4xf32>, tensor<6x2x4x4xf32> -> tensor<6x2x1x4xf32>
  %y = nn.reshape %y1 : tensor<6x2x1x4xf32> -> tensor<6x2x4xf32>
  %wb = nn.broadcast %w [0, 1] : tensor<6x2xf32> -> tensor<6x2x4xf32>
  %yw = arith.mulf %y, %wb : tensor<6x2x4xf32>
  %out = nn.reduce sum %yw [1] : tensor<6x2x4xf32> -> tensor<6x4xf32>
  return %out : tensor<6x4xf32>
}

// -----

// Weights on the experts' input, and a norm over each expert's hidden row.
// CHECK-LABEL: @weighted_input
// CHECK-SAME:    (%[[X:[^ ]*]]: tensor<6x4xf32>, %[[L:[^ ]*]]: tensor<6x8xf32>, %[[E:[^ ]*]]: tensor<8x4x4xf32>)
// CHECK:         %[[W:.*]], %[[I:.*]] = nn.top_k %[[L]] k 2
// CHECK:         %[[R:.*]] = nn.route %[[I]] : tensor<6x2xi64> -> <tokens = 6, k = 2, experts = 8>
// CHECK:         %[[P:.*]] = nn.route %{{.*}} : tensor<12x1xi64> -> <tokens = 12, k = 1, experts = 8>
// CHECK:         %[[D:.*]] = nn.dispatch %{{.*}}, %[[P]]
// CHECK:         %[[G:.*]] = nn.grouped_matmul %[[D]], %[[E]], %[[R]]
// CHECK:         %[[N:.*]] = nn.rms_norm %[[G]]
// CHECK:         nn.combine %[[N]], %[[R]]
func.func @weighted_input(%x: tensor<6x4xf32>, %logits: tensor<6x8xf32>, %e: tensor<8x4x4xf32>) -> tensor<6x4xf32> {
  %w, %ids = nn.top_k %logits k 2 : tensor<6x8xf32> -> tensor<6x2xf32>, tensor<6x2xi64>
  %m = nn.gather %e[%ids] : tensor<8x4x4xf32>, tensor<6x2xi64> -> tensor<6x2x4x4xf32>
  %xb = nn.broadcast %x [0, 2] : tensor<6x4xf32> -> tensor<6x2x4xf32>
  %wb = nn.broadcast %w [0, 1] : tensor<6x2xf32> -> tensor<6x2x4xf32>
  %xw = arith.mulf %xb, %wb : tensor<6x2x4xf32>
  %x1 = nn.reshape %xw : tensor<6x2x4xf32> -> tensor<6x2x1x4xf32>
  %y1 = nn.matmul %x1, %m : tensor<6x2x1x4xf32>, tensor<6x2x4x4xf32> -> tensor<6x2x1x4xf32>
  %y = nn.reshape %y1 : tensor<6x2x1x4xf32> -> tensor<6x2x4xf32>
  %n = nn.rms_norm %y eps 1.0e-5 : tensor<6x2x4xf32>
  %out = nn.reduce sum %n [1] : tensor<6x2x4xf32> -> tensor<6x4xf32>
  return %out : tensor<6x4xf32>
}
