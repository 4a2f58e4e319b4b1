// RUN: moire-opt %s | moire-opt | FileCheck %s

// CHECK-LABEL: func.func @stage0_forward
func.func @stage0_forward() {
  // CHECK: exec.kept "pipe.residual" 3 at 4096 : memref<4x256xf32>
  %0 = exec.kept "pipe.residual" 3 at 4096 : memref<4x256xf32>
  // CHECK: exec.kept "pipe.output" 0 : memref<4x256xbf16>
  %1 = exec.kept "pipe.output" 0 : memref<4x256xbf16>
  // CHECK: exec.publish %{{.*}} {pipe.second} : memref<4x256xbf16>
  exec.publish %1 {pipe.second} : memref<4x256xbf16>
  return
}
