// RUN: moire-opt %s --mixed-precision --cse | FileCheck %s
// RUN: moire-opt %s --mixed-precision='overrides=^m\.head=f32,node_f=f32' --cse | FileCheck %s --check-prefix=SOME
// RUN: moire-opt %s --mixed-precision='policy=f32 overrides=node_mix=bf16' --cse | FileCheck %s --check-prefix=ONE
// RUN: moire-opt %s --mixed-precision=policy=f32 | FileCheck %s --check-prefix=NONE
// RUN: not moire-opt %s --mixed-precision=policy=fp8 2>&1 | FileCheck %s --check-prefix=POLICY
// RUN: not moire-opt %s --mixed-precision=overrides=fc 2>&1 | FileCheck %s --check-prefix=FORM
// RUN: not moire-opt %s --mixed-precision='overrides="*a=f32"' 2>&1 | FileCheck %s --check-prefix=SYNTAX
// RUN: not moire-opt %s --mixed-precision=overrides=fc=f16 2>&1 | FileCheck %s --check-prefix=OTHER
// RUN: not moire-opt %s --mixed-precision=overrides=zebra=f32 2>&1 | FileCheck %s --check-prefix=NAME

// CHECK: module attributes {moire.precision = "bf16"}
// NONE-NOT: bf16
pipe.parameter @fc.w : tensor<4x6xf32> torch "m.fc.weight" from [#pipe.source<"a", "", 0, 0, f32, same, 0>]
pipe.parameter @fc.b : tensor<6xf32> torch "m.fc.bias" from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
pipe.parameter @head.w : tensor<5x4xf32> torch "m.head.weight" from [#pipe.source<"c", "", 0, 0, f32, same, 0>]
pipe.parameter @proj.w : tensor<6x4xf32> torch "m.proj.weight" from [#pipe.source<"d", "", 0, 0, f32, same, 0>]


// CHECK-LABEL: func.func @micro_step
// SOME-LABEL: func.func @micro_step
// ONE-LABEL: func.func @micro_step
func.func @micro_step(%x: tensor<3x4xf32>, %labels: tensor<3xi64>, %freq: tensor<3x1xf32>) -> tensor<f32> {
  %fc = pipe.read @fc.w : tensor<4x6xf32>
  %b = pipe.read @fc.b : tensor<6xf32>
  // What a product gives is rounded behind its bias, and read rounded.
  // CHECK-DAG: %[[X:.*]] = arith.truncf %arg0 : tensor<3x4xf32> to tensor<3x4xbf16>
  // CHECK-DAG: %[[W:.*]] = arith.truncf %{{.*}} : tensor<4x6xf32> to tensor<4x6xbf16>
  // CHECK: %[[H:.*]] = nn.matmul %[[X]], %[[W]] : tensor<3x4xbf16>, tensor<4x6xbf16> -> tensor<3x6xf32>
  // CHECK: %[[HB:.*]] = arith.addf %[[H]], %{{.*}} : tensor<3x6xf32>
  // CHECK: %[[STORED:.*]] = arith.truncf %[[HB]] : tensor<3x6xf32> to tensor<3x6xbf16>
  // CHECK: %[[READ:.*]] = arith.extf %[[STORED]] : tensor<3x6xbf16> to tensor<3x6xf32>
  // CHECK: math.tanh %[[READ]] : tensor<3x6xf32>
  // SOME: nn.matmul {{.*}} -> tensor<3x6xf32>
  // SOME-NOT: truncf
  // SOME: math.tanh
  %h = nn.matmul %x, %fc : tensor<3x4xf32>, tensor<4x6xf32> -> tensor<3x6xf32> loc("node_fc")
  %bias = nn.broadcast %b [1] : tensor<6xf32> -> tensor<3x6xf32>
  %hb = arith.addf %h, %bias : tensor<3x6xf32>
  %a = math.tanh %hb : tensor<3x6xf32>
  %proj = pipe.read @proj.w : tensor<6x4xf32>
  // What is only added to the residual stream is not rounded.
  // CHECK: %[[P:.*]] = nn.matmul {{.*}} : tensor<3x6xbf16>, tensor<6x4xbf16> -> tensor<3x4xf32>
  // SOME: nn.matmul {{.*}} : tensor<3x6xbf16>, tensor<6x4xbf16> -> tensor<3x4xf32>
  %p = nn.matmul %a, %proj : tensor<3x6xf32>, tensor<6x4xf32> -> tensor<3x4xf32> loc("node_proj")
  // Nor is what depends on no parameter: angles of positions.
  // CHECK: nn.matmul %arg2, %arg2 {transpose_rhs} : tensor<3x1xf32>, tensor<3x1xf32> -> tensor<3x3xf32>
  %angles = nn.matmul %freq, %freq {transpose_rhs} : tensor<3x1xf32>, tensor<3x1xf32> -> tensor<3x3xf32> loc("node_angles")
  // CHECK: arith.addf %arg0, %[[P]]
  // CHECK: nn.softmax %{{.*}} : tensor<3x4xf32>
  %r = arith.addf %x, %p : tensor<3x4xf32>
  %s = nn.softmax %r : tensor<3x4xf32>
  // CHECK: nn.matmul {{.*}} : tensor<3x3xbf16>, tensor<3x4xbf16> -> tensor<3x4xf32>
  // ONE-NOT: truncf
  // ONE: nn.softmax
  // ONE: nn.matmul {{.*}} : tensor<3x3xbf16>, tensor<3x4xbf16> -> tensor<3x4xf32>
  %m = nn.matmul %angles, %s : tensor<3x3xf32>, tensor<3x4xf32> -> tensor<3x4xf32> loc("node_mix")
  %head = pipe.read @head.w : tensor<5x4xf32>
  // CHECK: %[[L:.*]] = nn.matmul {{.*}} {transpose_rhs} : tensor<3x4xbf16>, tensor<5x4xbf16> -> tensor<3x5xf32>
  // CHECK: %[[LOGITS:.*]] = arith.truncf %[[L]] : tensor<3x5xf32> to tensor<3x5xbf16>
  // CHECK: nn.cross_entropy %[[LOGITS]], %arg1 : tensor<3x5xbf16>, tensor<3xi64> -> tensor<3xf32>, tensor<3xf32>
  // SOME: nn.matmul {{.*}} {transpose_rhs} : tensor<3x4xf32>, tensor<5x4xf32> -> tensor<3x5xf32>
  %l = nn.matmul %m, %head {transpose_rhs} : tensor<3x4xf32>, tensor<5x4xf32> -> tensor<3x5xf32> loc("node_head")
  %losses, %lse = nn.cross_entropy %l, %labels : tensor<3x5xf32>, tensor<3xi64> -> tensor<3xf32>, tensor<3xf32>
  %sum = nn.reduce sum %losses [0] : tensor<3xf32> -> tensor<f32>
  return %sum : tensor<f32>
}

// POLICY: error: --precision 'fp8' is not a policy; use f32 or bf16
// FORM: error: --precision-override 'fc' must be REGEX=POLICY
// SYNTAX: error: --precision-override '*a' is not a regular expression: repetition-operator operand invalid
// OTHER: error: --precision-override 'f16' is not a policy; use f32 or bf16
// NAME: error: --precision-override 'zebra=f32' matches no op whose precision can be chosen; they have names like 'node_fc'
