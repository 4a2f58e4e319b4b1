// RUN: moire-opt %s --split-input-file --verify-diagnostics

func.func @f() {
  // expected-error @+1 {{'exec.kept' op role 'pipe.loss' must be one of pipe.input, pipe.output, pipe.input_cotangent, pipe.output_cotangent, pipe.residual}}
  %0 = exec.kept "pipe.loss" 0 : memref<4xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{'exec.kept' op number -1 must be 0 or more}}
  %0 = exec.kept "pipe.input" -1 : memref<4xf32>
  return
}

// -----

func.func @f() {
  // expected-error @+1 {{'exec.kept' op offset 4 must be a multiple of 64}}
  %0 = exec.kept "pipe.input" 0 at 4 : memref<4xf32>
  return
}
