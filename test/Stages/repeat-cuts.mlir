// Cuts of another sequence length, whose ops need not be the same: between nodes of moire.stage_ends
// that are there.
// RUN: split-file %s %t
// RUN: cat %t/ends.mlir %t/step.mlir %t/close.mlir > %t/repeated.mlir
// RUN: moire-opt %t/repeated.mlir --cut-stages="stages=2 rates=flops=0.001,overhead=0" | FileCheck %s
// RUN: moire-opt %t/step.mlir --cut-stages="stages=2 rates=flops=0.001,overhead=0" | FileCheck %s --check-prefix=LEFT
// RUN: cat %t/crossed.mlir %t/step.mlir %t/close.mlir > %t/wrong.mlir
// RUN: not moire-opt %t/wrong.mlir --cut-stages="stages=2" 2>&1 | FileCheck %s --check-prefix=CROSSED
// RUN: cat %t/ends.mlir %t/step.mlir %t/close.mlir > %t/many.mlir
// RUN: not moire-opt %t/many.mlir --cut-stages="stages=3" 2>&1 | FileCheck %s --check-prefix=MANY

// By itself the pass cuts behind g; it leaves what tells the place.
// LEFT: moire.stage_ends = [{before = ["g", "h"], behind = ["y", "e", "p", "s", "loss"]}]
// CHECK-LABEL: func.func @stage0_forward(
// CHECK: %[[H:.*]] = nn.matmul
// CHECK-NOT: nn.matmul
// CHECK: return %[[H]]
// CROSSED: error: the pipeline of the longest sequences is cut between 'g' and 'h', where no one tensor crosses with other lengths; name the cuts by --stages
// MANY: error: moire.stage_ends has 1 cuts, but the pipeline has 3 stages

//--- ends.mlir
module attributes {moire.stage_ends = [{before = ["h", "fused_away"], behind = ["also_gone", "g"]}]} {
//--- crossed.mlir
module attributes {moire.stage_ends = [{before = ["g"], behind = ["h"]}]} {
//--- close.mlir
}
//--- step.mlir
pipe.parameter @w : tensor<8x8xf32> from [#pipe.source<"w", "m", 0, 256, f32, same, 0>]
pipe.parameter @b : tensor<8x8xf32> from [#pipe.source<"b", "m", 256, 256, f32, same, 0>]

func.func @micro_step(%x: tensor<4x8xf32>, %t: tensor<4x8xf32>, %scale: tensor<f32>) -> tensor<f32> {
  %n = arith.negf %x : tensor<4x8xf32> loc("n")
  %w = pipe.read @w : tensor<8x8xf32> loc("w")
  %h = nn.matmul %n, %w : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32> loc("h")
  %b = pipe.read @b : tensor<8x8xf32> loc("b")
  %g = nn.matmul %h, %b : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32> loc("g")
  %y = nn.matmul %g, %w {transpose_rhs} : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32> loc("y")
  %e = arith.subf %y, %t : tensor<4x8xf32> loc("e")
  %p = arith.mulf %e, %e : tensor<4x8xf32> loc("p")
  %s = nn.reduce sum %p [0, 1] : tensor<4x8xf32> -> tensor<f32> loc("s")
  %loss = arith.mulf %s, %scale : tensor<f32> loc("loss")
  %ds = nn.broadcast %scale [] : tensor<f32> -> tensor<4x8xf32> loc("ds")
  %de = arith.mulf %ds, %e : tensor<4x8xf32> loc("de")
  %dy = arith.addf %de, %de : tensor<4x8xf32> loc("dy")
  %dg = nn.matmul %dy, %w : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32> loc("dg")
  %dw1 = nn.matmul %dy, %g {transpose_lhs} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32> loc("dw1")
  %dh = nn.matmul %dg, %b {transpose_rhs} : tensor<4x8xf32>, tensor<8x8xf32> -> tensor<4x8xf32> loc("dh")
  %db = nn.matmul %h, %dg {transpose_lhs} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32> loc("db")
  pipe.accumulate @b, %db : tensor<8x8xf32>
  %dw0 = nn.matmul %n, %dh {transpose_lhs} : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32> loc("dw0")
  %dw = arith.addf %dw1, %dw0 : tensor<8x8xf32> loc("dw")
  pipe.accumulate @w, %dw : tensor<8x8xf32>
  return %loss : tensor<f32>
}
