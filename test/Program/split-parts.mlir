// RUN: moire-opt %s --split-parts --verify-diagnostics | FileCheck %s
// RUN: moire-opt %s --split-parts --pack-arena --verify-arena -o %t.mlir
//
// Another part may be touched while one is on the way, not the same one, nor all.
// RUN: sed 's/part = array<i64: 1, 2, 0>/part = array<i64: 0, 2, 0>/' %t.mlir > %t.same.mlir
// RUN: not moire-opt %t.same.mlir --verify-arena 2>&1 | FileCheck %s --check-prefix=TOUCHES
// RUN: sed 's/{exec.part = array<i64: 0, 2, 0>, transpose/{transpose/' %t.mlir > %t.all.mlir
// RUN: not moire-opt %t.all.mlir --verify-arena 2>&1 | FileCheck %s --check-prefix=TOUCHES
// TOUCHES: error: touches what exec.async 1 works on and must wait for it

module attributes {dist.mesh = #dist.mesh<ep = 2>} {
  exec.kernel @k(%a: f32) {
    %0 = arith.negf %a : f32
    exec.yield %0 : f32
  }
  pipe.parameter @w : tensor<2x8x4xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]

  // CHECK-LABEL: @micro_step
  // CHECK: exec.async 0 {
  // CHECK-NEXT: exec.all_to_all_rows %[[A:.*]], %[[N:.*]] over ["ep"] to %[[X:.*]] {exec.part = array<i64: 0, 2, 0>}
  // CHECK: exec.async 1 {
  // CHECK-NEXT: exec.all_to_all_rows %[[A]], %[[N]] over ["ep"] to %[[X]] {exec.part = array<i64: 1, 2, 0>}
  // CHECK: exec.fill
  // CHECK: %[[W:.*]] = exec.param @w
  // CHECK: exec.wait 0
  // CHECK-NEXT: exec.grouped_gemm %[[X]], %[[W]], %[[R:.*]] to %[[Y:.*]] {exec.part = array<i64: 0, 2, 0>, transpose_weight}
  // CHECK-NEXT: exec.launch @k ins(%[[Y]] {{.*}} {exec.part = array<i64: 0, 2, 0>}
  // CHECK-NEXT: exec.async 2 {
  // CHECK-NEXT: exec.all_to_all_rows %[[Y]], %[[N]] over ["ep"] back to %[[B:.*]] {exec.part = array<i64: 0, 2, 0>}
  // CHECK: exec.wait 1
  // CHECK-NEXT: exec.grouped_gemm %[[X]], %[[W]], %[[R]] to %[[Y]] {exec.part = array<i64: 1, 2, 0>, transpose_weight}
  // CHECK-NEXT: exec.launch @k ins(%[[Y]] {{.*}} {exec.part = array<i64: 1, 2, 0>}
  // CHECK-NEXT: exec.async 3 {
  // CHECK-NEXT: exec.all_to_all_rows %[[Y]], %[[N]] over ["ep"] back to %[[B]] {exec.part = array<i64: 1, 2, 0>}
  // CHECK: exec.fill
  // CHECK: exec.wait 2
  // CHECK-NEXT: exec.wait 3
  //
  // A statement that is about all rows stands between, and then nothing at all: they move as a whole.
  // CHECK: exec.async 4 {
  // CHECK-NEXT: exec.all_to_all_rows %{{.*}} over ["ep"] to %{{.*}} : memref
  // CHECK: exec.async 5 {
  // CHECK-NEXT: exec.all_to_all_rows %{{.*}} over ["ep"] back to %{{.*}} : memref
  // CHECK-NOT: exec.part
  func.func @micro_step(%ids: memref<6x2xi64>) {
    %g = exec.buffer : memref<48xi32>
    %global = exec.routing %g : memref<48xi32> to !nn.routing<tokens = 6, k = 2, experts = 4>
    exec.route %ids to %global : memref<6x2xi64> to !nn.routing<tokens = 6, k = 2, experts = 4>
    %l = exec.buffer : memref<80xi32>
    %local = exec.routing %l : memref<80xi32> to !nn.routing<tokens = 24, k = 1, experts = 2>
    %n = exec.buffer : memref<9xi32>
    exec.exchange %global over ["ep"] to %local, %n : <tokens = 6, k = 2, experts = 4> to <tokens = 24, k = 1, experts = 2>, memref<9xi32>
    %a = exec.buffer : memref<12x4xf32>
    exec.fill %a with 1.0 : f32 : memref<12x4xf32>
    %x = exec.buffer : memref<24x4xf32>
    exec.async 0 {
      exec.all_to_all_rows %a, %n over ["ep"] to %x {exec.in_parts = 2 : i64} : memref<12x4xf32>, memref<9xi32> to memref<24x4xf32>
    }
    %other = exec.buffer : memref<4xf32>
    exec.fill %other with 0.0 : f32 : memref<4xf32>
    exec.wait 0
    %w = exec.param @w : memref<2x8x4xf32>
    %y = exec.buffer : memref<24x8xf32>
    exec.grouped_gemm %x, %w, %local to %y {transpose_weight} : memref<24x4xf32>, memref<2x8x4xf32>, !nn.routing<tokens = 24, k = 1, experts = 2> to memref<24x8xf32>
    exec.launch @k ins(%y : memref<24x8xf32>) rows(%local : !nn.routing<tokens = 24, k = 1, experts = 2>) outs(%y : memref<24x8xf32>)
    %b = exec.buffer : memref<12x8xf32>
    exec.async 1 {
      exec.all_to_all_rows %y, %n over ["ep"] back to %b {exec.in_parts = 2 : i64} : memref<24x8xf32>, memref<9xi32> to memref<12x8xf32>
    }
    exec.fill %other with 2.0 : f32 : memref<4xf32>
    exec.wait 1
    %z = exec.buffer : memref<24x8xf32>
    exec.async 2 {
      // expected-warning @+1 {{rows of experts were to move in 2 parts and move as a whole: exec.launch between their two ways is not about each expert's rows}}
      exec.all_to_all_rows %b, %n over ["ep"] to %z {exec.in_parts = 2 : i64} : memref<12x8xf32>, memref<9xi32> to memref<24x8xf32>
    }
    exec.wait 2
    exec.launch @k ins(%z : memref<24x8xf32>) outs(%z : memref<24x8xf32>)
    exec.async 3 {
      exec.all_to_all_rows %z, %n over ["ep"] back to %b {exec.in_parts = 2 : i64} : memref<24x8xf32>, memref<9xi32> to memref<12x8xf32>
    }
    exec.wait 3
    exec.async 4 {
      // expected-warning @+1 {{rows of experts were to move in 2 parts and move as a whole: nothing computes them between their two ways}}
      exec.all_to_all_rows %b, %n over ["ep"] to %z {exec.in_parts = 2 : i64} : memref<12x8xf32>, memref<9xi32> to memref<24x8xf32>
    }
    exec.wait 4
    exec.async 5 {
      exec.all_to_all_rows %z, %n over ["ep"] back to %b {exec.in_parts = 2 : i64} : memref<24x8xf32>, memref<9xi32> to memref<12x8xf32>
    }
    exec.wait 5
    return
  }
}
