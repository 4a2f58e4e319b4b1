// The layout of slots is proved: see pass verify-arena.
// RUN: moire-opt %s --split-input-file --verify-arena --verify-diagnostics

module attributes {exec.arena_bytes = 0 : i64} {
  func.func @f() {
    // expected-note @+1 {{the other tensor}}
    %0 = exec.kept "pipe.residual" 0 at 0 : memref<32xf32>
    // expected-error @+1 {{shares bytes with a tensor that the stage keeps at the same time}}
    %1 = exec.kept "pipe.residual" 1 at 64 : memref<16xf32>
    return
  }
  func.func @b() {
    %0 = exec.kept "pipe.residual" 0 at 0 : memref<32xf32>
    return
  }
  pipe.stage @stage0 index 0 forward @f backward @b attributes {exec.slot_bytes = 128 : i64}
  pipe.schedule @schedule kind "1f1b" stages [@stage0] path micro_batches 1 ranks [0] {
    rank 0 {
      forward stage 0 micro_batch 0
      backward stage 0 micro_batch 0
    }
  }
}

// -----

module attributes {exec.arena_bytes = 0 : i64} {
  func.func @f() {
    %0 = exec.kept "pipe.residual" 0 at 0 : memref<16xf32>
    return
  }
  func.func @b() {
    // expected-error @+1 {{lies at byte 64 of the slot, but at 0 in another function of stage 0}}
    %0 = exec.kept "pipe.residual" 0 at 64 : memref<16xf32>
    return
  }
  pipe.stage @stage0 index 0 forward @f backward @b attributes {exec.slot_bytes = 128 : i64}
  pipe.schedule @schedule kind "1f1b" stages [@stage0] path micro_batches 1 ranks [0] {
    rank 0 {
      forward stage 0 micro_batch 0
      backward stage 0 micro_batch 0
    }
  }
}

// -----

// Two stages of one function, the second with a slot that is too small.
module attributes {exec.arena_bytes = 0 : i64} {
  func.func @f() {
    // expected-error @+1 {{ends at byte 128, but a slot of stage 1 has 64}}
    %0 = exec.kept "pipe.residual" 0 at 64 : memref<16xf32>
    return
  }
  func.func @b() {
    %0 = exec.kept "pipe.residual" 0 at 64 : memref<16xf32>
    return
  }
  pipe.stage @stage0 index 0 forward @f backward @b attributes {exec.slot_bytes = 128 : i64}
  pipe.stage @stage1 index 1 forward @f backward @b attributes {exec.slot_bytes = 64 : i64}
  pipe.schedule @schedule kind "1f1b" stages [@stage0, @stage1] path micro_batches 1 ranks [0, 1] {
    rank 0 {
      forward stage 0 micro_batch 0
      backward stage 0 micro_batch 0
    }
    rank 1 {
      forward stage 1 micro_batch 0
      backward stage 1 micro_batch 0
    }
  }
}

// -----

module attributes {exec.arena_bytes = 0 : i64} {
  func.func @f() {
    // expected-error @+1 {{has no offset; run pack-slots first}}
    %0 = exec.kept "pipe.residual" 0 : memref<16xf32>
    return
  }
  func.func @b() {
    return
  }
  pipe.stage @stage0 index 0 forward @f backward @b attributes {exec.slot_bytes = 64 : i64}
  pipe.schedule @schedule kind "1f1b" stages [@stage0] path micro_batches 1 ranks [0] {
    rank 0 {
      forward stage 0 micro_batch 0
      backward stage 0 micro_batch 0
    }
  }
}

// -----

module attributes {exec.arena_bytes = 0 : i64} {
  func.func @f() {
    return
  }
  func.func @b() {
    return
  }
  // expected-error @+1 {{has no exec.slot_bytes; run pack-slots first}}
  pipe.stage @stage0 index 0 forward @f backward @b
  pipe.schedule @schedule kind "1f1b" stages [@stage0] path micro_batches 1 ranks [0] {
    rank 0 {
      forward stage 0 micro_batch 0
      backward stage 0 micro_batch 0
    }
  }
}
