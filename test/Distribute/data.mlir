// Gradients are summed over the ranks with other tokens that hold the same shard, in buckets, in
// the order in which the backward completes them.
// RUN: moire-opt %s --distribute-data | FileCheck %s
// RUN: moire-opt %s --distribute-data=bucket-bytes=64 | FileCheck %s --check-prefix=SMALL
// RUN: sed 's/@column : tensor<8xf32>/& group "g"/' %s | moire-opt --distribute-data | FileCheck %s --check-prefix=GROUP

module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 4, tp = 2>} {
  pipe.parameter @first : tensor<8xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @experts : tensor<8x4xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>] sharding #dist.sharding<[["ep"], []]>
  pipe.parameter @column : tensor<8xf32> from [#pipe.source<"c", "", 0, 0, f32, same, 0>] sharding #dist.sharding<[["tp"]]>
  pipe.parameter @last : tensor<8xf32> from [#pipe.source<"d", "", 0, 0, f32, same, 0>]
  pipe.parameter @buffer : tensor<8xf32> frozen from [#pipe.source<"e", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%g: tensor<8xf32>, %e: tensor<2x4xf32>, %c: tensor<4xf32>) -> tensor<8xf32> {
    pipe.accumulate @last, %g : tensor<8xf32>
    pipe.accumulate @column, %c : tensor<4xf32>
    pipe.accumulate @experts, %e : tensor<2x4xf32>
    // Tied: complete with its last use.
    pipe.accumulate @first, %g : tensor<8xf32>
    return %g : tensor<8xf32>
  }
}

// CHECK-LABEL: @reduce_gradients
// CHECK-NEXT: pipe.reduce_grads [@last, @column, @first] over ["dp", "ep"]
// CHECK-NEXT: pipe.reduce_grads [@experts] over ["dp"]
// CHECK-NEXT: return

// SMALL-LABEL: @reduce_gradients
// SMALL-NEXT: pipe.reduce_grads [@last, @column] over ["dp", "ep"]
// SMALL-NEXT: pipe.reduce_grads [@first] over ["dp", "ep"]
// SMALL-NEXT: pipe.reduce_grads [@experts] over ["dp"]

// What rests together has buckets of its own.
// GROUP-LABEL: @reduce_gradients
// GROUP-NEXT: pipe.reduce_grads [@last, @first] over ["dp", "ep"]
// GROUP-NEXT: pipe.reduce_grads [@column] over ["dp", "ep"]
// GROUP-NEXT: pipe.reduce_grads [@experts] over ["dp"]
