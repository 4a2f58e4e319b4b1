// RUN: moire-opt %s --pack-arena --verify-arena | FileCheck %s

exec.kernel @copy(%x: f32) {
  exec.yield %x : f32
}

// Live together: the first two, then the last two.
// CHECK: module attributes {exec.arena_bytes = 2048 : i64}
func.func @micro_step(%x: memref<256xf32>) {
  // CHECK: %[[A:.*]] = exec.buffer at [[#OFFSET:]] : memref<256xf32>
  %a = exec.buffer : memref<256xf32>
  // CHECK: exec.buffer at [[#1024 - OFFSET]] : memref<256xf32>
  %b = exec.buffer : memref<256xf32>
  // CHECK: exec.buffer at [[#OFFSET]] : memref<16x16xf32>
  %c = exec.buffer : memref<16x16xf32>
  %window = exec.view %b : memref<256xf32> to memref<16x16xf32>
  exec.launch @copy ins(%x : memref<256xf32>) outs(%a : memref<256xf32>)
  exec.launch @copy ins(%a : memref<256xf32>) outs(%b : memref<256xf32>)
  // The window keeps %b alive.
  exec.launch @copy ins(%window : memref<16x16xf32>) outs(%c : memref<16x16xf32>)
  return
}
