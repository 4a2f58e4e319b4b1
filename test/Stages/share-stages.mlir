// Stages that are equal up to their parameters share functions; each gets its own again before the program.
// RUN: moire-opt %s --cut-stages="stages=4 rates=flops=0.001,overhead=0" --share-stages --pipe-schedule="kind=dualpipe microbatches=8" --mlir-print-debuginfo -o %t.mlir
// RUN: FileCheck %s < %t.mlir
// RUN: moire-opt %t.mlir --sum-copies --overlap-pairs --mlir-print-debuginfo -o %t.pairs.mlir
// RUN: FileCheck %s --check-prefix=PAIRS < %t.pairs.mlir
// RUN: moire-opt %t.pairs.mlir --unshare-stages --mlir-print-debuginfo --mlir-pretty-debuginfo | FileCheck %s --check-prefix=OWN
// RUN: sed 's/b = @c/b = @d/' %t.mlir | not moire-opt --sum-copies -o /dev/null 2>&1 | FileCheck %s --check-prefix=TYPE
// RUN: sed 's/b = @c/b = @e/' %t.mlir | not moire-opt --sum-copies -o /dev/null 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not moire-opt %t.mlir --sum-copies --lower-to-exec -o /dev/null 2>&1 | FileCheck %s --check-prefix=LOWER

// LOWER: error: 'pipe.stage' op has the functions of another stage, and statements need addresses of its own parameters; run unshare-stages first
// TYPE: error: 'pipe.stage' op has @d of type 'tensor<8x6xf32>' for @b, which is 'tensor<8x8xf32>'; they must be of one type
// NONE: error: 'pipe.stage' op has @e for @b; both must be parameters

// CHECK-LABEL: func.func @stage1_forward
// CHECK: pipe.read @b
// CHECK-NOT: func.func @stage2_
// CHECK: pipe.stage @stage2 index 2 {{.*}}forward @stage1_forward backward @stage1_backward backward_input @stage1_backward_input backward_weight @stage1_backward_weight attributes {pipe.nodes = {second = "third"}, pipe.parameters = {b = @c}}
// CHECK-NOT: pipe.parameters

// The ends of the pipeline pair with each other, the two in the middle are one and the same pair. In it
// what is of the second task says so.
// PAIRS-LABEL: func.func @stage1_forward_and_stage1_backward
// PAIRS: pipe.read @b : tensor<8x8xf32>
// PAIRS: pipe.accumulate @b, %{{.*}} {pipe.second}
// PAIRS: pipe.read @b {pipe.second}
// PAIRS-NOT: func.func @stage2_

// OWN-DAG: func.func @stage2_forward_and_stage1_backward({{.*}}attributes {pipe.pair = [@stage2_forward, @stage1_backward]}
// OWN-DAG: func.func @stage1_forward_and_stage2_backward({{.*}}attributes {pipe.pair = [@stage1_forward, @stage2_backward]}
// OWN-NOT: @stage1_forward_and_stage1_backward
// OWN-LABEL: func.func @stage2_forward(
// OWN: pipe.read @c {{.*}}"third"
// OWN-LABEL: func.func @stage2_backward(
// OWN: pipe.accumulate @c
// OWN: pipe.stage @stage2 index 2 {{.*}}forward @stage2_forward backward @stage2_backward backward_input @stage2_backward_input backward_weight @stage2_backward_weight
// OWN-NOT: pipe.parameters
module {
  pipe.parameter @a : tensor<4x8xf32> from [#pipe.source<"a", "m", 0, 128, f32, same, 0>]
  pipe.parameter @b : tensor<8x8xf32> from [#pipe.source<"b", "m", 128, 256, f32, same, 0>]
  pipe.parameter @c : tensor<8x8xf32> from [#pipe.source<"c", "m", 384, 256, f32, same, 0>]
  pipe.parameter @d : tensor<8x6xf32> from [#pipe.source<"d", "m", 640, 192, f32, same, 0>]
  pipe.parameter @s : tensor<4x4xf32> frozen from [#pipe.source<"s", "m", 832, 64, f32, same, 0>]
  func.func @micro_step(%x: tensor<4x4xf32> {moire.role = "data"}, %scale: tensor<f32> {moire.role = "scale"}) -> tensor<f32> {
    %a = pipe.read @a : tensor<4x8xf32> loc("first")
    %s = pipe.read @s : tensor<4x4xf32> loc("first")
    %y = arith.mulf %x, %s : tensor<4x4xf32> loc("first")
    %h = nn.matmul %y, %a : tensor<4x4xf32>, tensor<4x8xf32> -> tensor<4x8xf32> loc("first")
    %b = pipe.read @b : tensor<8x8xf32> loc("second")
    %i = nn.matmul %h, %b : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32> loc("second")
    %c = pipe.read @c : tensor<8x8xf32> loc("third")
    %j = nn.matmul %i, %c : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32> loc("third")
    %d = pipe.read @d : tensor<8x6xf32> loc("fourth")
    %k = nn.matmul %j, %d : tensor<4x8xf32>, tensor<8x6xf32> -> tensor<4x6xf32> loc("fourth")
    %loss = nn.reduce sum %k [0, 1] : tensor<4x6xf32> -> tensor<f32> loc("loss")
    %dk = nn.broadcast %scale [] : tensor<f32> -> tensor<4x6xf32> loc("loss")
    %dd = nn.matmul %j, %dk {transpose_lhs} : tensor<4x8xf32>, tensor<4x6xf32> -> tensor<8x6xf32> loc("fourth")
    pipe.accumulate @d, %dd : tensor<8x6xf32> loc("fourth")
    %dj = nn.matmul %dk, %d {transpose_rhs} : tensor<4x6xf32>, tensor<8x6xf32> -> tensor<4x8xf32> loc("fourth")
    %dc = nn.matmul %i, %dj {transpose_lhs} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32> loc("third")
    pipe.accumulate @c, %dc : tensor<8x8xf32> loc("third")
    %di = nn.matmul %dj, %c {transpose_rhs} : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32> loc("third")
    %db = nn.matmul %h, %di {transpose_lhs} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32> loc("second")
    pipe.accumulate @b, %db : tensor<8x8xf32> loc("second")
    %dh = nn.matmul %di, %b {transpose_rhs} : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32> loc("second")
    %da = nn.matmul %y, %dh {transpose_lhs} : tensor<4x4xf32>, tensor<4x8xf32> -> tensor<4x8xf32> loc("first")
    pipe.accumulate @a, %da : tensor<4x8xf32> loc("first")
    return %loss : tensor<f32>
  }
}
