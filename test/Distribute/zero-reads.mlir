// A parameter in pieces is gathered before it is used: once for uses that are near each other,
// again where more than it is gathered between. What changes its form alone is repeated.
// RUN: moire-opt %s --distribute-data --distribute-zero=level=3 | FileCheck %s

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  // CHECK: pipe.parameter @a {{.*}} zero 3 over ["dp"]
  pipe.parameter @a : tensor<8x8xf32> from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
  pipe.parameter @b : tensor<8x8xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  pipe.parameter @c : tensor<40xf32> from [#pipe.source<"c", "", 0, 0, f32, same, 0>]

  // CHECK-LABEL: @micro_step
  // CHECK-SAME: %[[X:.*]]: tensor<4x8xf32>, %[[V:.*]]: tensor<40xf32>
  func.func @micro_step(%x: tensor<4x8xf32>, %v: tensor<40xf32>) -> tensor<4x8xf32> {
    // CHECK: %[[A:.*]] = pipe.read @a : tensor<32xf32>
    // CHECK: %[[ROUND:.*]] = arith.truncf %[[A]] : tensor<32xf32> to tensor<32xbf16>
    // CHECK: %[[ALL:.*]] = dist.all_gather %[[ROUND]] dim 0 over ["dp"] : tensor<32xbf16> -> tensor<64xbf16>
    // CHECK: %[[W:.*]] = nn.reshape %[[ALL]] : tensor<64xbf16> -> tensor<8x8xbf16>
    // CHECK: %[[T:.*]] = nn.transpose %[[W]] [1, 0]
    // CHECK: nn.matmul %{{.*}}, %[[T]]
    %a = pipe.read @a : tensor<8x8xf32>
    %aw = arith.truncf %a : tensor<8x8xf32> to tensor<8x8xbf16>
    %at = nn.transpose %aw [1, 0] : tensor<8x8xbf16> -> tensor<8x8xbf16>
    %xw = arith.truncf %x : tensor<4x8xf32> to tensor<4x8xbf16>
    %h = nn.matmul %xw, %at : tensor<4x8xbf16>, tensor<8x8xbf16> -> tensor<4x8xf32>
    // 40 elements take pieces of 32, of which the last 24 are nobody's.
    // CHECK: %[[C:.*]] = pipe.read @c : tensor<32xf32>
    // CHECK: %[[CALL:.*]] = dist.all_gather %[[C]] dim 0 over ["dp"] : tensor<32xf32> -> tensor<64xf32>
    // CHECK: nn.slice %[[CALL]] starts [0] limits [40] strides [1]
    %c = pipe.read @c : tensor<40xf32>
    %cv = arith.addf %c, %v : tensor<40xf32>
    // CHECK: pipe.read @b
    // CHECK: dist.all_gather
    // CHECK: nn.matmul
    %b = pipe.read @b : tensor<8x8xf32>
    %y = nn.matmul %h, %b : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    // Nothing was gathered between.
    // CHECK-NOT: dist.all_gather
    // CHECK: nn.matmul
    %g = nn.matmul %y, %b : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32>
    // CHECK: %[[AGAIN:.*]] = dist.all_gather %[[ROUND]]
    // CHECK: %[[W2:.*]] = nn.reshape %[[AGAIN]]
    // CHECK: %[[T2:.*]] = nn.transpose %[[W2]]
    // CHECK: nn.matmul %{{.*}}, %[[T2]]
    %gw = arith.truncf %g : tensor<4x8xf32> to tensor<4x8xbf16>
    %z = nn.matmul %gw, %at : tensor<4x8xbf16>, tensor<8x8xbf16> -> tensor<4x8xf32>
    %da = nn.matmul %z, %g {transpose_lhs} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
    // CHECK: dist.reduce_scatter
    // CHECK-NEXT: pipe.accumulate @a, %{{.*}} : tensor<32xf32>
    pipe.accumulate @a, %da : tensor<8x8xf32>
    pipe.accumulate @b, %da : tensor<8x8xf32>
    pipe.accumulate @c, %cv : tensor<40xf32>
    return %z : tensor<4x8xf32>
  }
  // CHECK-LABEL: @optimizer_step
  // CHECK-NOT: pipe.gather
  func.func @optimizer_step() {
    pipe.update @a with adamw matrix
    pipe.update @b with adamw matrix
    pipe.update @c with adamw
    return
  }
  // CHECK-LABEL: @reduce_gradients
  // CHECK-NEXT: return
}
