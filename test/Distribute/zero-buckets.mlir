// What is small moves together: at most a quarter of the largest, here 1 kB of @e's 4 kB. Other
// types and other groups go their own way; @m takes more than half a bucket.
// RUN: moire-opt %s --bucket-pieces | FileCheck %s
// What is cut into stages later is left alone; then each stage's functions have their own.
// RUN: sed 's/mesh<dp = 2/mesh<pp = 2, dp = 2/' %s | moire-opt --bucket-pieces | FileCheck %s --check-prefix=LATER
// RUN: sed 's/mesh<dp = 2/mesh<pp = 2, dp = 2/; s/@micro_step/@stage0_forward/' %s | moire-opt --bucket-pieces | FileCheck %s --check-prefix=STAGE
// LATER-NOT: nn.concat
// What rests in other steps is gathered with the others, but not summed with them.
// RUN: sed 's/@b : tensor<60xf32>/& group "g"/' %s | moire-opt --bucket-pieces | FileCheck %s --check-prefix=GROUP
// GROUP: nn.concat {{.*}} dim 0
// GROUP-NOT: nn.concat
// STAGE-LABEL: @stage0_forward
// STAGE: nn.concat

module attributes {dist.mesh = #dist.mesh<dp = 2, ep = 2>} {
  pipe.parameter @a : tensor<32xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>] zero 3 over ["dp"]
  pipe.parameter @b : tensor<60xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>] zero 3 over ["dp"]
  pipe.parameter @m : tensor<192xf32> from [#pipe.source<"m", "", 0, 0, f32, same, 0>] zero 3 over ["dp"]
  pipe.parameter @o : tensor<64xf32> from [#pipe.source<"o", "", 0, 0, f32, same, 0>] zero 3 over ["dp", "ep"]
  pipe.parameter @e : tensor<1024xf32> from [#pipe.source<"e", "", 0, 0, f32, same, 0>] zero 3 over ["dp"]

  // CHECK-LABEL: @micro_step
  // CHECK-SAME: %[[X:.*]]: tensor<32xf32>, %[[Y:.*]]: tensor<64xf32>, %[[E:.*]]: tensor<1024xf32>
  func.func @micro_step(%x: tensor<32xf32>, %y: tensor<64xf32>, %e: tensor<1024xf32>, %m: tensor<192xf32>) -> (tensor<32xf32>, tensor<64xf32>, tensor<32xbf16>) {
    // Before the first use of one of them; put together where each was gathered.
    // CHECK: %[[PE:.*]] = pipe.read @e
    // CHECK: dist.all_gather %[[PE]] dim 0 over ["dp"] : tensor<512xf32> -> tensor<1024xf32>
    // CHECK: %[[PA:.*]] = pipe.read @a
    // CHECK: %[[PB:.*]] = pipe.read @b
    // CHECK: %[[P:.*]] = nn.concat %[[PA]], %[[PB]] dim 0 : tensor<16xf32>, tensor<32xf32> -> tensor<48xf32>
    // CHECK: %[[ROW:.*]] = nn.reshape %[[P]] : tensor<48xf32> -> tensor<1x48xf32>
    // CHECK: %[[ALL:.*]] = dist.all_gather %[[ROW]] dim 0 over ["dp"] : tensor<1x48xf32> -> tensor<2x48xf32>
    // CHECK: %[[SA:.*]] = nn.slice %[[ALL]] starts [0, 0] limits [2, 16] strides [1, 1]
    // CHECK: %[[A:.*]] = nn.reshape %[[SA]] : tensor<2x16xf32> -> tensor<32xf32>
    // CHECK: %[[H:.*]] = arith.mulf %[[X]], %[[A]]
    // CHECK: %[[SB:.*]] = nn.slice %[[ALL]] starts [0, 16] limits [2, 48] strides [1, 1]
    // CHECK: %[[B:.*]] = nn.reshape %[[SB]] : tensor<2x32xf32> -> tensor<64xf32>
    // CHECK: %[[K:.*]] = arith.mulf %[[Y]], %[[B]]
    %pe = pipe.read @e : tensor<512xf32>
    %we = dist.all_gather %pe dim 0 over ["dp"] : tensor<512xf32> -> tensor<1024xf32>
    %pa = pipe.read @a : tensor<16xf32>
    %wa = dist.all_gather %pa dim 0 over ["dp"] : tensor<16xf32> -> tensor<32xf32>
    %h = arith.mulf %x, %wa : tensor<32xf32>
    %pb = pipe.read @b : tensor<32xf32>
    %wb = dist.all_gather %pb dim 0 over ["dp"] : tensor<32xf32> -> tensor<64xf32>
    %k = arith.mulf %y, %wb : tensor<64xf32>
    // CHECK: dist.all_gather %{{.*}} dim 0 over ["dp"] : tensor<16xbf16> -> tensor<32xbf16>
    %ra = arith.truncf %pa : tensor<16xf32> to tensor<16xbf16>
    %na = dist.all_gather %ra dim 0 over ["dp"] : tensor<16xbf16> -> tensor<32xbf16>
    // CHECK: dist.all_gather %{{.*}} dim 0 over ["dp"] : tensor<96xf32> -> tensor<192xf32>
    %pm = pipe.read @m : tensor<96xf32>
    %wm = dist.all_gather %pm dim 0 over ["dp"] : tensor<96xf32> -> tensor<192xf32>
    // CHECK: dist.all_gather %{{.*}} dim 0 over ["dp", "ep"] : tensor<16xf32> -> tensor<64xf32>
    %po = pipe.read @o : tensor<16xf32>
    %wo = dist.all_gather %po dim 0 over ["dp", "ep"] : tensor<16xf32> -> tensor<64xf32>
    // Behind the last one.
    // CHECK-NOT: dist.reduce_scatter
    // CHECK: %[[ME:.*]] = dist.reduce_scatter %[[E]] dim 0 over ["dp"] : tensor<1024xf32> -> tensor<512xf32>
    // CHECK: pipe.accumulate @e, %[[ME]]
    // CHECK: %[[GA:.*]] = nn.reshape %[[H]] : tensor<32xf32> -> tensor<2x16xf32>
    // CHECK: %[[GB:.*]] = nn.reshape %[[K]] : tensor<64xf32> -> tensor<2x32xf32>
    // CHECK: %[[G:.*]] = nn.concat %[[GA]], %[[GB]] dim 1 : tensor<2x16xf32>, tensor<2x32xf32> -> tensor<2x48xf32>
    // CHECK: %[[S:.*]] = dist.reduce_scatter %[[G]] dim 0 over ["dp"] : tensor<2x48xf32> -> tensor<1x48xf32>
    // CHECK: %[[SA:.*]] = nn.slice %[[S]] starts [0, 0] limits [1, 16] strides [1, 1]
    // CHECK: %[[DA:.*]] = nn.reshape %[[SA]] : tensor<1x16xf32> -> tensor<16xf32>
    // CHECK: pipe.accumulate @a, %[[DA]]
    // CHECK: %[[SB:.*]] = nn.slice %[[S]] starts [0, 16] limits [1, 48] strides [1, 1]
    // CHECK: %[[DB:.*]] = nn.reshape %[[SB]] : tensor<1x32xf32> -> tensor<32xf32>
    // CHECK: pipe.accumulate @b, %[[DB]]
    %da = dist.reduce_scatter %h dim 0 over ["dp"] : tensor<32xf32> -> tensor<16xf32>
    pipe.accumulate @a, %da : tensor<16xf32>
    %de = dist.reduce_scatter %e dim 0 over ["dp"] : tensor<1024xf32> -> tensor<512xf32>
    pipe.accumulate @e, %de : tensor<512xf32>
    %db = dist.reduce_scatter %k dim 0 over ["dp"] : tensor<64xf32> -> tensor<32xf32>
    pipe.accumulate @b, %db : tensor<32xf32>
    // CHECK: dist.reduce_scatter %{{.*}} : tensor<192xf32> -> tensor<96xf32>
    %dm = dist.reduce_scatter %m dim 0 over ["dp"] : tensor<192xf32> -> tensor<96xf32>
    pipe.accumulate @m, %dm : tensor<96xf32>
    return %h, %k, %na : tensor<32xf32>, tensor<64xf32>, tensor<32xbf16>
  }
}
