// RUN: moire-opt %s | moire-opt | FileCheck %s
module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 2>} {
  // CHECK: pipe.parameter @a : tensor<10x4xf32> from [{{.*}}] zero 1 over ["dp", "ep"]
  pipe.parameter @a : tensor<10x4xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>] zero 1 over ["dp", "ep"]
  // CHECK: pipe.parameter @b : tensor<4x10xf32> from [{{.*}}] sharding <{{.*}}> zero 2 over ["dp"]
  pipe.parameter @b : tensor<4x10xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>] sharding #dist.sharding<[["ep"], []]> zero 2 over ["dp"]
  // CHECK: pipe.parameter @c : tensor<40xf32> from [{{.*}}] zero 3 over ["dp", "ep"]
  pipe.parameter @c : tensor<40xf32> from [#pipe.source<"c", "", 0, 0, f32, same, 0>] zero 3 over ["dp", "ep"]
  func.func @f(%a: tensor<10x4xf32>, %b: tensor<16xf32>) {
    // CHECK: pipe.read @a : tensor<10x4xf32>
    %0 = pipe.read @a : tensor<10x4xf32>
    // CHECK: pipe.read @b : tensor<2x10xf32>
    %1 = pipe.read @b : tensor<2x10xf32>
    // CHECK: pipe.read @c : tensor<16xf32>
    %2 = pipe.read @c : tensor<16xf32>
    pipe.accumulate @a, %a : tensor<10x4xf32>
    // CHECK: pipe.accumulate @b, %{{.*}} : tensor<16xf32>
    pipe.accumulate @b, %b : tensor<16xf32>
    pipe.accumulate @c, %2 : tensor<16xf32>
    // CHECK: pipe.reduce_grads [@a] over ["dp", "ep"] scatter
    pipe.reduce_grads [@a] over ["dp", "ep"] scatter
    // CHECK: pipe.gather [@a] over ["dp", "ep"]
    pipe.gather [@a] over ["dp", "ep"]
    // CHECK: pipe.gather [@b] over ["dp"]
    pipe.gather [@b] over ["dp"]
    return
  }
}
