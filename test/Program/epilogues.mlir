// RUN: moire-opt %s -fuse-epilogues -split-input-file | FileCheck %s

// GELU in its tanh form, with x³ by products. What it is taken of is read again
// (by the backward), so the product keeps it.
exec.kernel @gelu(%x: f32) {
  %half = arith.constant 5.0e-01 : f32
  %one = arith.constant 1.0 : f32
  %a = arith.constant 4.471500e-02 : f32
  %b = arith.constant 0.797884583 : f32
  %0 = arith.mulf %x, %x : f32
  %1 = arith.mulf %0, %x : f32
  %2 = arith.mulf %1, %a : f32
  %3 = arith.addf %x, %2 : f32
  %4 = arith.mulf %3, %b : f32
  %5 = math.tanh %4 : f32
  %6 = arith.addf %5, %one : f32
  %7 = arith.mulf %x, %half : f32
  %8 = arith.mulf %7, %6 : f32
  exec.yield %8 : f32
}
// CHECK-LABEL: func.func @micro_step
// CHECK-SAME: (%[[A:.*]]: memref<20x32xf32>, %[[W:.*]]: memref<32x96xf32>, %[[B:.*]]: memref<96xf32>
func.func @micro_step(%a: memref<20x32xf32>, %w: memref<32x96xf32>, %b: memref<96xf32>, %loss: memref<f32>) {
  // CHECK: %[[Z:.*]] = exec.buffer : memref<20x96xf32>
  // CHECK: %[[Y:.*]] = exec.buffer : memref<2x10x96xf32>
  // CHECK: %[[Y2:.*]] = exec.view %[[Y]] : memref<2x10x96xf32> to memref<20x96xf32>
  // CHECK: exec.gemm %[[A]], %[[W]] bias %[[B]] gelu to %[[Y2]] aux %[[Z]] :
  // CHECK-NOT: exec.launch @gelu
  // CHECK: exec.reduce sum %[[Z]]
  %z = exec.buffer : memref<20x96xf32>
  exec.gemm %a, %w bias %b to %z : memref<20x32xf32>, memref<32x96xf32>, memref<96xf32> to memref<20x96xf32>
  %flat = exec.view %z : memref<20x96xf32> to memref<1920xf32>
  %y = exec.buffer : memref<2x10x96xf32>
  %yflat = exec.view %y : memref<2x10x96xf32> to memref<1920xf32>
  exec.launch @gelu ins(%flat : memref<1920xf32>) outs(%yflat : memref<1920xf32>)
  exec.reduce sum %z [0, 1] to %loss : memref<20x96xf32> to memref<f32>
  exec.reduce sum %y [0, 1, 2] to %loss : memref<2x10x96xf32> to memref<f32>
  return
}

// -----

// The same in bf16 by a power; nobody reads the sums again.
exec.kernel @gelu(%x: bf16) {
  %half = arith.constant 5.0e-01 : f32
  %one = arith.constant 1.0 : f32
  %three = arith.constant 3.0 : f32
  %a = arith.constant 4.471500e-02 : f32
  %b = arith.constant 0.797884583 : f32
  %0 = arith.extf %x : bf16 to f32
  %1 = math.powf %0, %three : f32
  %2 = arith.mulf %1, %a : f32
  %3 = arith.addf %0, %2 : f32
  %4 = arith.mulf %3, %b : f32
  %5 = math.tanh %4 : f32
  %6 = arith.addf %5, %one : f32
  %7 = arith.mulf %0, %half : f32
  %8 = arith.mulf %7, %6 : f32
  %9 = arith.truncf %8 : f32 to bf16
  exec.yield %9 : bf16
}
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%a: memref<20x32xbf16>, %w: memref<32x96xbf16>, %out: memref<96xf32>) {
  // CHECK: exec.gemm %{{.*}}, %{{.*}} gelu to %[[Y:.*]] : memref<20x32xbf16>, memref<32x96xbf16> to memref<20x96xbf16>
  // CHECK-NEXT: exec.reduce sum %[[Y]]
  %z = exec.buffer : memref<20x96xbf16>
  %y = exec.buffer : memref<20x96xbf16>
  exec.gemm %a, %w to %z : memref<20x32xbf16>, memref<32x96xbf16> to memref<20x96xbf16>
  exec.launch @gelu ins(%z : memref<20x96xbf16>) outs(%y : memref<20x96xbf16>)
  exec.reduce sum %y [0] to %out : memref<20x96xbf16> to memref<96xf32>
  return
}

// -----

// GELU with erf is another function, however close.
exec.kernel @gelu(%x: f32) {
  %half = arith.constant 5.0e-01 : f32
  %one = arith.constant 1.0 : f32
  %root = arith.constant 0.707106781 : f32
  %0 = arith.mulf %x, %root : f32
  %1 = math.erf %0 : f32
  %2 = arith.addf %1, %one : f32
  %3 = arith.mulf %x, %half : f32
  %4 = arith.mulf %3, %2 : f32
  exec.yield %4 : f32
}
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%a: memref<20x32xf32>, %w: memref<32x96xf32>, %out: memref<96xf32>) {
  // CHECK: exec.gemm %{{.*}}, %{{.*}} to %[[Z:.*]] :
  // CHECK: exec.launch @gelu ins(%[[Z]]
  %z = exec.buffer : memref<20x96xf32>
  %y = exec.buffer : memref<20x96xf32>
  exec.gemm %a, %w to %z : memref<20x32xf32>, memref<32x96xf32> to memref<20x96xf32>
  exec.launch @gelu ins(%z : memref<20x96xf32>) outs(%y : memref<20x96xf32>)
  exec.reduce sum %y [0] to %out : memref<20x96xf32> to memref<96xf32>
  return
}

// -----

// The sum before a normalization: the product makes it, the norm reads it.
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%a: memref<20x32xf32>, %w: memref<32x16xf32>, %b: memref<16xf32>, %g: memref<16xf32>, %out: memref<16xf32>) {
  // CHECK: %[[X:.*]] = exec.buffer : memref<20x16xf32>
  // CHECK: %[[S:.*]] = exec.buffer : memref<20x16xf32>
  // CHECK: exec.gemm %{{.*}}, %{{.*}} bias %{{.*}} residual %[[X]] to %[[S]] : memref<20x32xf32>, memref<32x16xf32>, memref<16xf32> residual memref<20x16xf32> to memref<20x16xf32>
  // CHECK: exec.rms_norm %[[S]] scale %{{.*}} eps {{.*}} to %{{[^ ]*}} : memref<20x16xf32>
  // CHECK: exec.reduce sum %[[S]]
  %x = exec.buffer : memref<20x16xf32>
  exec.fill %x with 1.0 : f32 : memref<20x16xf32>
  %z = exec.buffer : memref<20x16xf32>
  %s = exec.buffer : memref<20x16xf32>
  %y = exec.buffer : memref<20x16xf32>
  exec.gemm %a, %w bias %b to %z : memref<20x32xf32>, memref<32x16xf32>, memref<16xf32> to memref<20x16xf32>
  exec.rms_norm %z scale %g residual %x eps 1.0e-05 to %y sum %s : memref<20x16xf32> scale memref<16xf32> residual memref<20x16xf32> to memref<20x16xf32> sum memref<20x16xf32>
  exec.reduce sum %s [0] to %out : memref<20x16xf32> to memref<16xf32>
  exec.reduce sum %y [0] to %out : memref<20x16xf32> to memref<16xf32>
  return
}

// -----

// A sum by itself, into the place of the residual: the product is stored once, as f32.
exec.kernel @add(%x: f32, %y: bf16) {
  %0 = arith.extf %y : bf16 to f32
  %1 = arith.addf %x, %0 : f32
  exec.yield %1 : f32
}
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%a: memref<20x32xbf16>, %w: memref<32x16xbf16>, %out: memref<16xf32>) {
  // CHECK: exec.fill %[[X:.*]] with
  // CHECK-NEXT: exec.gemm %{{.*}}, %{{.*}} residual %[[X]] to %[[X]] : memref<20x32xbf16>, memref<32x16xbf16> residual memref<20x16xf32> to memref<20x16xf32>
  // CHECK-NOT: exec.launch
  %x = exec.buffer : memref<20x16xf32>
  exec.fill %x with 1.0 : f32 : memref<20x16xf32>
  %z = exec.buffer : memref<20x16xbf16>
  exec.gemm %a, %w to %z : memref<20x32xbf16>, memref<32x16xbf16> to memref<20x16xbf16>
  exec.launch @add ins(%x, %z : memref<20x16xf32>, memref<20x16xbf16>) outs(%x : memref<20x16xf32>)
  exec.reduce sum %x [0] to %out : memref<20x16xf32> to memref<16xf32>
  return
}

// -----

// In between somebody reads what the sum would overwrite.
exec.kernel @add(%x: f32, %y: f32) {
  %0 = arith.addf %x, %y : f32
  exec.yield %0 : f32
}
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%a: memref<20x32xf32>, %w: memref<32x16xf32>, %out: memref<16xf32>) {
  // CHECK-NOT: residual
  // CHECK: exec.launch @add
  %x = exec.buffer : memref<20x16xf32>
  exec.fill %x with 1.0 : f32 : memref<20x16xf32>
  %z = exec.buffer : memref<20x16xf32>
  exec.gemm %a, %w to %z : memref<20x32xf32>, memref<32x16xf32> to memref<20x16xf32>
  exec.reduce sum %x [0] to %out : memref<20x16xf32> to memref<16xf32>
  exec.launch @add ins(%x, %z : memref<20x16xf32>, memref<20x16xf32>) outs(%x : memref<20x16xf32>)
  exec.reduce sum %x [0] to %out mode add : memref<20x16xf32> to memref<16xf32>
  return
}

// -----

// The product itself is read again: its value must be there.
exec.kernel @add(%x: f32, %y: f32) {
  %0 = arith.addf %x, %y : f32
  exec.yield %0 : f32
}
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%a: memref<20x32xf32>, %w: memref<32x16xf32>, %out: memref<16xf32>) {
  // CHECK-NOT: residual
  // CHECK: exec.launch @add
  %x = exec.buffer : memref<20x16xf32>
  exec.fill %x with 1.0 : f32 : memref<20x16xf32>
  %z = exec.buffer : memref<20x16xf32>
  %s = exec.buffer : memref<20x16xf32>
  exec.gemm %a, %w to %z : memref<20x32xf32>, memref<32x16xf32> to memref<20x16xf32>
  exec.launch @add ins(%x, %z : memref<20x16xf32>, memref<20x16xf32>) outs(%s : memref<20x16xf32>)
  exec.reduce sum %s [0] to %out : memref<20x16xf32> to memref<16xf32>
  exec.reduce sum %z [0] to %out mode add : memref<20x16xf32> to memref<16xf32>
  return
}

// -----

// SwiGLU of the halves of an expert's product, gate first.
exec.kernel @swiglu(%gate: f32, %up: f32) {
  %one = arith.constant 1.0 : f32
  %0 = arith.negf %gate : f32
  %1 = math.exp %0 : f32
  %2 = arith.addf %one, %1 : f32
  %3 = arith.divf %gate, %2 : f32
  %4 = arith.mulf %3, %up : f32
  exec.yield %4 : f32
}
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%x: memref<40x32xf32>, %w: memref<8x96x32xf32>, %ids: memref<20x2xi64>, %out: memref<48xf32>) {
  // CHECK: exec.grouped_gemm %{{.*}}, %{{.*}}, %{{.*}} to %[[Y:.*]] swiglu %[[H:.*]] {transpose_weight} :
  // CHECK: exec.launch @swiglu ins(%[[U:.*]], %[[G:.*]] : {{.*}}) outs(%{{.*}} : memref<40x48xf32>)
  // CHECK-NOT: exec.launch
  %memory = exec.buffer : memref<112xi32>
  %r = exec.routing %memory : memref<112xi32> to !nn.routing<tokens = 20, k = 2, experts = 8>
  exec.route %ids to %r : memref<20x2xi64> to !nn.routing<tokens = 20, k = 2, experts = 8>
  %y = exec.buffer : memref<40x96xf32>
  %h = exec.buffer : memref<40x48xf32>
  exec.grouped_gemm %x, %w, %r to %y {transpose_weight} : memref<40x32xf32>, memref<8x96x32xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> to memref<40x96xf32>
  %gate = exec.view %y : memref<40x96xf32> to memref<40x48xf32, strided<[96, 1]>>
  %up = exec.view %y at 48 : memref<40x96xf32> to memref<40x48xf32, strided<[96, 1]>>
  exec.launch @swiglu ins(%gate, %up : memref<40x48xf32, strided<[96, 1]>>, memref<40x48xf32, strided<[96, 1]>>) outs(%h : memref<40x48xf32>)
  exec.reduce sum %h [0] to %out : memref<40x48xf32> to memref<48xf32>
  // The other way round it is a launch.
  %y2 = exec.buffer : memref<40x96xf32>
  exec.grouped_gemm %x, %w, %r to %y2 {transpose_weight} : memref<40x32xf32>, memref<8x96x32xf32>, !nn.routing<tokens = 20, k = 2, experts = 8> to memref<40x96xf32>
  %up2 = exec.view %y2 : memref<40x96xf32> to memref<40x48xf32, strided<[96, 1]>>
  %gate2 = exec.view %y2 at 48 : memref<40x96xf32> to memref<40x48xf32, strided<[96, 1]>>
  exec.launch @swiglu ins(%gate2, %up2 : memref<40x48xf32, strided<[96, 1]>>, memref<40x48xf32, strided<[96, 1]>>) outs(%h : memref<40x48xf32>)
  exec.reduce sum %h [0] to %out mode add : memref<40x48xf32> to memref<48xf32>
  return
}

// -----

// What ranks add up is not the product that stands before the sum; and a residual that is on its way
// when the product begins is not there yet.
exec.kernel @sum(%x: f32, %y: f32) {
  %0 = arith.addf %x, %y : f32
  exec.yield %0 : f32
}
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%a: memref<20x32xf32>, %w: memref<32x96xf32>, %r: memref<20x96xf32>, %loss: memref<f32>) {
  // CHECK-COUNT-2: exec.launch @sum
  %z = exec.buffer : memref<20x96xf32>
  %residual = exec.buffer : memref<20x96xf32>
  %y = exec.buffer : memref<20x96xf32>
  %v = exec.buffer : memref<20x96xf32>
  exec.copy %r to %residual : memref<20x96xf32> to memref<20x96xf32>
  exec.gemm %a, %w to %z : memref<20x32xf32>, memref<32x96xf32> to memref<20x96xf32>
  exec.async 0 {
    exec.all_reduce %z over ["tp"] to %z : memref<20x96xf32> to memref<20x96xf32>
  }
  exec.wait 0
  exec.launch @sum ins(%z, %residual : memref<20x96xf32>, memref<20x96xf32>) outs(%y : memref<20x96xf32>)
  exec.async 1 {
    exec.all_reduce %residual over ["tp"] to %residual : memref<20x96xf32> to memref<20x96xf32>
  }
  exec.gemm %a, %w to %v : memref<20x32xf32>, memref<32x96xf32> to memref<20x96xf32>
  exec.wait 1
  exec.launch @sum ins(%v, %residual : memref<20x96xf32>, memref<20x96xf32>) outs(%y : memref<20x96xf32>)
  exec.reduce sum %y [0, 1] to %loss : memref<20x96xf32> to memref<f32>
  return
}

// -----

// In a stage of a pipeline: what lies in the slot is kept for the backward, which no statement
// here tells, so a product writes the sums that GELU is taken of as well; and it cannot leave
// a sum out that is kept.
exec.kernel @gelu(%x: f32) {
  %half = arith.constant 5.0e-01 : f32
  %one = arith.constant 1.0 : f32
  %a = arith.constant 4.471500e-02 : f32
  %b = arith.constant 0.797884583 : f32
  %0 = arith.mulf %x, %x : f32
  %1 = arith.mulf %0, %x : f32
  %2 = arith.mulf %1, %a : f32
  %3 = arith.addf %x, %2 : f32
  %4 = arith.mulf %3, %b : f32
  %5 = math.tanh %4 : f32
  %6 = arith.addf %5, %one : f32
  %7 = arith.mulf %x, %half : f32
  %8 = arith.mulf %7, %6 : f32
  exec.yield %8 : f32
}
exec.kernel @sum(%x: f32, %y: f32) {
  %0 = arith.addf %x, %y : f32
  exec.yield %0 : f32
}
// CHECK-LABEL: func.func @stage0_forward
func.func @stage0_forward(%a: memref<20x32xf32>, %w: memref<32x96xf32>) {
  // CHECK: %[[Z:.*]] = exec.kept "pipe.residual" 0
  // CHECK: %[[Y:.*]] = exec.buffer
  // CHECK: exec.gemm %{{.*}}, %{{.*}} gelu to %[[Y]] aux %[[Z]] :
  // CHECK-NOT: exec.launch @gelu
  %z = exec.kept "pipe.residual" 0 : memref<20x96xf32>
  exec.gemm %a, %w to %z : memref<20x32xf32>, memref<32x96xf32> to memref<20x96xf32>
  %y = exec.buffer : memref<20x96xf32>
  exec.launch @gelu ins(%z : memref<20x96xf32>) outs(%y : memref<20x96xf32>)
  // CHECK: %[[IN:.*]] = exec.kept "pipe.input" 0
  // CHECK: %[[OUT:.*]] = exec.kept "pipe.output" 0
  // CHECK: exec.gemm %{{.*}}, %{{.*}} residual %[[IN]] to %[[OUT]]
  // CHECK-NOT: exec.launch @sum
  %in = exec.kept "pipe.input" 0 : memref<20x96xf32>
  %sums = exec.buffer : memref<20x96xf32>
  exec.gemm %a, %w to %sums : memref<20x32xf32>, memref<32x96xf32> to memref<20x96xf32>
  %out = exec.kept "pipe.output" 0 : memref<20x96xf32>
  exec.launch @sum ins(%sums, %in : memref<20x96xf32>, memref<20x96xf32>) outs(%out : memref<20x96xf32>)
  // CHECK: %[[KEPT:.*]] = exec.kept "pipe.residual" 1
  // CHECK: exec.gemm %{{[^ ]*}}, %{{[^ ]*}} to %[[KEPT]]
  // CHECK: exec.launch @sum
  %kept = exec.kept "pipe.residual" 1 : memref<20x96xf32>
  exec.gemm %a, %w to %kept : memref<20x32xf32>, memref<32x96xf32> to memref<20x96xf32>
  exec.launch @sum ins(%kept, %y : memref<20x96xf32>, memref<20x96xf32>) outs(%y : memref<20x96xf32>)
  // What has no result is not what was fused away.
  // CHECK: exec.publish %[[OUT]]
  exec.publish %out : memref<20x96xf32>
  return
}

// -----

// A product cannot write where it still reads.
exec.kernel @sum(%x: f32, %y: f32) {
  %0 = arith.addf %x, %y : f32
  exec.yield %0 : f32
}
// CHECK-LABEL: func.func @micro_step
func.func @micro_step(%w: memref<32x32xf32>, %in: memref<20x32xf32>, %loss: memref<f32>) {
  // CHECK: exec.gemm %[[X:.*]], %{{.*}} to %[[Z:.*]] :
  // CHECK: exec.launch @sum ins(%[[Z]], %[[X]] {{.*}} outs(%[[X]]
  %x = exec.buffer : memref<20x32xf32>
  exec.copy %in to %x : memref<20x32xf32> to memref<20x32xf32>
  %z = exec.buffer : memref<20x32xf32>
  exec.gemm %x, %w to %z : memref<20x32xf32>, memref<32x32xf32> to memref<20x32xf32>
  exec.launch @sum ins(%z, %x : memref<20x32xf32>, memref<20x32xf32>) outs(%x : memref<20x32xf32>)
  exec.reduce sum %x [0, 1] to %loss : memref<20x32xf32> to memref<f32>
  return
}
