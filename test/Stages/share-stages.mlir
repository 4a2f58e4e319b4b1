// Stages that are equal up to their parameters share functions, as statements, too.
// RUN: moire-opt %s --cut-stages="stages=4 rates=flops=0.001,overhead=0" --share-stages --pipe-schedule="kind=dualpipe microbatches=8" --mlir-print-debuginfo -o %t.mlir
// RUN: FileCheck %s < %t.mlir
// RUN: moire-opt %t.mlir --sum-copies --overlap-pairs --mlir-print-debuginfo -o %t.pairs.mlir
// RUN: FileCheck %s --check-prefix=PAIRS < %t.pairs.mlir
// RUN: moire-opt %t.pairs.mlir --lower-to-exec --pack-arena --pack-slots --verify-arena -o %t.exec.mlir
// RUN: FileCheck %s --check-prefix=EXEC < %t.exec.mlir
// RUN: moire-opt %t.pairs.mlir --lower-to-exec --pack-arena --pack-slots --mlir-print-debuginfo | moire-translate --exec-to-cpp > %t.cpp
// RUN: FileCheck %s --check-prefix=CPP < %t.cpp
// RUN: FileCheck %s --check-prefix=TABLES < %t.cpp
// RUN: sed 's/b = @c/b = @d/' %t.mlir | not moire-opt --sum-copies -o /dev/null 2>&1 | FileCheck %s --check-prefix=TYPE
// RUN: sed 's/b = @c/b = @e/' %t.mlir | not moire-opt --sum-copies -o /dev/null 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: sed 's/parameter @c : tensor<8x8xf32>/& group "g"/' %t.mlir | not moire-opt --sum-copies -o /dev/null 2>&1 | FileCheck %s --check-prefix=GROUP
// RUN: sed 's/parameter @c : tensor<8x8xf32>/& group "g"/' %s | moire-opt --cut-stages="stages=4 rates=flops=0.001,overhead=0" --share-stages | FileCheck %s --check-prefix=OWN

// TYPE: error: 'pipe.stage' op has @d of type 'tensor<8x6xf32>' for @b, which is 'tensor<8x8xf32>'; they must be of one type
// GROUP: error: 'pipe.stage' op has @c for @b, which rests in other steps; they must be of one group, or of none
// What rests in other steps leaves out other statements.
// OWN: func.func @stage2_forward
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

// Slots of both have one layout. A pair says which of its parameters are the second task's.
// EXEC-LABEL: func.func @stage1_forward(
// EXEC: exec.kept "pipe.input" 0 at [[X:[0-9]+]] :
// EXEC-LABEL: func.func @stage1_forward_and_stage1_backward
// EXEC-DAG: exec.param @b :
// EXEC-DAG: exec.param @b {pipe.second} :
// EXEC-DAG: exec.grad @b {pipe.second} :
// EXEC-DAG: exec.kept "pipe.input" 0 at [[X]] :
// EXEC-DAG: exec.kept "pipe.input" 0 at [[X]] {pipe.second} :
// EXEC: pipe.stage @stage1 {{.*}}exec.slot_bytes = [[BYTES:[0-9]+]] : i64
// EXEC-NOT: func.func @stage2_
// EXEC: pipe.stage @stage2 {{.*}}forward @stage1_forward {{.*}}exec.slot_bytes = [[BYTES]] : i64, {{.*}}pipe.parameters = {b = @c}

// The program finds parameters in a table of the stage that runs.
// CPP:      stages 1 and 2 have theirs
// CPP-NEXT: namespace stage1 {
// CPP-NEXT: enum : int64_t {
// CPP-NEXT:   b,
// CPP-NEXT: };
// CPP-NOT: stage2_
// CPP-LABEL: src/stage0.cpp
// CPP: ctx.param(at::a)
// CPP-LABEL: src/stage1.cpp
// CPP:      // Of stages 1 and 2; nodes are named as in stage 1.
// CPP-NEXT: void stage1_forward1(Context &ctx) {
// CPP-NEXT:   node(ctx, "second");
// CPP-NEXT:   gemm({{.*}}ctx.param(ctx.own[stage1::b].param),
// CPP-LABEL: void stage1_backward1(Context &ctx) {
// CPP: ctx.grad(ctx.own[stage1::b].grad)
// CPP-LABEL: src/pairs.cpp
// CPP:      // Of stages 1 and 2; nodes are named as in stage 1.
// CPP-NEXT: // The second task is of stages 1 and 2, as in stage 1.
// CPP-NEXT: void stage1_forward_and_stage1_backward1(Context &ctx) {
// CPP: ctx.param(ctx.own[stage1::b].param)
// CPP: ctx.grad(ctx.second.own[stage1::b].grad)
// CPP: ctx.param(ctx.second.own[stage1::b].param)

// TABLES:      StageParameter own1[] = {
// TABLES-NEXT:   {at::b, grads::b, -1}};
// TABLES:      StageParameter own2[] = {
// TABLES-NEXT:   {at::c, grads::c, -1}};
// TABLES:      StageInfo stages[] = {
// TABLES-NEXT: stage0_forward, {{.*}} nullptr},
// TABLES-NEXT: stage1_forward, {{.*}} own1, nullptr},
// TABLES-NEXT: stage1_forward, {{.*}} own2, nullptr},
module attributes {moire.loss = "mse", moire.labels = "as-is", moire.count = "all"} {
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
  func.func @optimizer_step() {
    pipe.update @a with sgd
    pipe.update @b with sgd
    pipe.update @c with sgd
    pipe.update @d with sgd
    return
  }
}
