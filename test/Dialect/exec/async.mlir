// RUN: moire-opt %s --pack-arena --verify-arena | FileCheck %s

// What an async touches lives until its wait: the three buffers do not share bytes, though
// the last statement before the wait reads none of the first two.
// CHECK: exec.arena_bytes = 4096
module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  exec.kernel @copy(%x: f32) {
    exec.yield %x : f32
  }
  func.func @micro_step(%x: memref<256xf32>) {
    %a = exec.buffer : memref<256xf32>
    %b = exec.buffer : memref<256xf32>
    %c = exec.buffer : memref<256xf32>
    %d = exec.buffer : memref<256xf32>
    exec.launch @copy ins(%x : memref<256xf32>) outs(%a : memref<256xf32>)
    // CHECK: exec.async 0 {
    // CHECK-NEXT: exec.all_reduce
    // CHECK-NEXT: }
    exec.async 0 {
      exec.all_reduce %a over ["dp"] to %b : memref<256xf32> to memref<256xf32>
    }
    exec.launch @copy ins(%x : memref<256xf32>) outs(%c : memref<256xf32>)
    exec.launch @copy ins(%c : memref<256xf32>) outs(%d : memref<256xf32>)
    // CHECK: exec.wait 0
    exec.wait 0
    exec.launch @copy ins(%b : memref<256xf32>) outs(%d : memref<256xf32>)
    return
  }
}
