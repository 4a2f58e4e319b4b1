// RUN: moire-opt %s --split-input-file --verify-arena --verify-diagnostics

// expected-error @+1 {{has no exec.arena_bytes; run pack-arena first}}
module {
}

// -----

module attributes {exec.arena_bytes = 64 : i64} {
  func.func @micro_step(%x: memref<16xf32>) {
    // expected-error @+1 {{has no offset; run pack-arena first}}
    %a = exec.buffer : memref<16xf32>
    exec.copy %x to %a : memref<16xf32> to memref<16xf32>
    return
  }
}

// -----

module attributes {exec.arena_bytes = 64 : i64} {
  func.func @micro_step(%x: memref<16xf32>) {
    // expected-error @+1 {{ends at byte 128 but the arena has 64}}
    %a = exec.buffer at 64 : memref<16xf32>
    exec.copy %x to %a : memref<16xf32> to memref<16xf32>
    return
  }
}

// -----

module attributes {exec.arena_bytes = 192 : i64} {
  func.func @micro_step(%x: memref<16xf32>, %y: memref<32xf32>, %z: memref<32xf32>) {
    // expected-note @+1 {{the other buffer}}
    %a = exec.buffer at 64 : memref<16xf32>
    // expected-error @+1 {{shares bytes with a buffer that lives at the same time}}
    %b = exec.buffer at 0 : memref<32xf32>
    exec.copy %x to %a : memref<16xf32> to memref<16xf32>
    exec.copy %y to %b : memref<32xf32> to memref<32xf32>
    exec.copy %a to %x : memref<16xf32> to memref<16xf32>
    exec.copy %b to %z : memref<32xf32> to memref<32xf32>
    return
  }
}

// -----

module attributes {exec.arena_bytes = 64 : i64} {
  func.func @micro_step(%x: memref<16xf32>) {
    %a = exec.buffer at 0 : memref<16xf32>
    // expected-error @+1 {{reads a buffer that nothing has written}}
    exec.copy %a to %x : memref<16xf32> to memref<16xf32>
    return
  }
}

// -----

module attributes {exec.arena_bytes = 64 : i64} {
  func.func @micro_step(%x: memref<16xf32>) {
    %a = exec.buffer at 0 : memref<16xf32>
    // expected-error @+1 {{reads a buffer that nothing has written}}
    exec.copy %x to %a mode add : memref<16xf32> to memref<16xf32>
    return
  }
}
