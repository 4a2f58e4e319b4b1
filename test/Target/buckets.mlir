// All sums of a step's end are in the program's tables, begun early or not: a row for each
// pipe.reduce_grads, with the gradients' places in their block, where each begins at a multiple of
// 16. Neighbours are one range, with the padding between them; pieces stay apart.
// RUN: moire-opt %s --lower-to-exec --pack-arena | moire-translate --exec-to-cpp | FileCheck %s
// RUN: moire-opt %s --start-reductions --lower-to-exec --pack-arena | moire-translate --exec-to-cpp | FileCheck %s --check-prefixes=EARLY,CHECK

module attributes {dist.mesh = #dist.mesh<dp = 2>, moire.loss = "mse", moire.labels = "as-is", moire.count = "all"} {
  pipe.parameter @a : tensor<20xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @b : tensor<40xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  pipe.parameter @c : tensor<4xf32> from [#pipe.source<"c", "", 0, 0, f32, same, 0>] zero 1 over ["dp"]
  pipe.parameter @d : tensor<40xf32> from [#pipe.source<"d", "", 0, 0, f32, same, 0>] zero 1 over ["dp"]
  pipe.parameter @e : tensor<8xf32> from [#pipe.source<"e", "", 0, 0, f32, same, 0>]

  // EARLY: startReduce(ctx, 2)
  // CHECK: {{^}}static const RangeInfo ranges0[] = {{[{][{]}}80, 84, 16}, {96, 136, 32}};
  // CHECK: {{^}}static const RangeInfo ranges1[] = {{[{][{]}}144, 152, 0}};
  // CHECK: {{^}}static const RangeInfo ranges2[] = {{[{][{]}}0, 72, 0}};
  // CHECK: BucketInfo buckets[] = {
  // CHECK-NEXT: {0, 2, ranges0},
  // CHECK-NEXT: {0, 1, ranges1},
  // CHECK-NEXT: {0, 1, ranges2},
  // CHECK: .numBuckets = 3,
  func.func @micro_step(%x: tensor<40xf32> {onnx.name = "x", moire.role = "data"}) -> tensor<f32> {
    pipe.accumulate @b, %x : tensor<40xf32>
    %y = nn.slice %x starts [0] limits [20] strides [1] : tensor<40xf32> -> tensor<20xf32>
    pipe.accumulate @a, %y : tensor<20xf32>
    %loss = nn.reduce sum %x [0] : tensor<40xf32> -> tensor<f32>
    return %loss : tensor<f32>
  }
  func.func @reduce_gradients() {
    pipe.reduce_grads [@c, @d] over ["dp"] scatter
    pipe.reduce_grads [@e] over ["dp"]
    pipe.reduce_grads [@b, @a] over ["dp"]
    return
  }
  func.func @optimizer_step() {
    pipe.update @a with sgd
    pipe.update @b with sgd
    pipe.update @c with sgd
    pipe.update @d with sgd
    pipe.update @e with sgd
    pipe.gather [@c, @d] over ["dp"]
    return
  }
}
