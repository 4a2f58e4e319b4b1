// What a pass was given when it failed, reduced with the passes that moire-opt names in it.
// RUN: not moire-opt %s --fuse --lower-to-exec --mlir-pass-pipeline-crash-reproducer=%t.crash.mlir 2>&1 \
// RUN:   | FileCheck %s --check-prefix=FAILS
// FAILS: error: {{.*}}has no statement in a CPU program
// FAILS: reproducer generated at {{.*}}.crash.mlir
// RUN: moire-reduce %t.crash.mlir --test %S/Inputs/no-statement.sh -o %t.mlir 2> %t.runs
// RUN: FileCheck %s < %t.mlir
// RUN: FileCheck %s --check-prefix=RUNS < %t.runs
// RUNS: note: the script was run {{[1-9][0-9]?}} times
// RUN: not moire-opt %t.mlir --run-reproducer 2>&1 | FileCheck %s --check-prefix=AGAIN
// AGAIN: error: {{.*}}has no statement in a CPU program

// CHECK:      module {
// CHECK-NEXT:   func.func @micro_step() -> tensor<f32> {
// CHECK-NEXT:     %[[ZERO:.*]] = arith.constant dense<0.000000e+00> : tensor<1xf32>
// CHECK-NEXT:     %[[LOSS:.*]] = tensor.collapse_shape %[[ZERO]] [] : tensor<1xf32> into tensor<f32>
// CHECK-NEXT:     return %[[LOSS]] : tensor<f32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
// CHECK:      mlir_reproducer: {
// CHECK-NEXT:   pipeline: "builtin.module({{.*}}lower-to-exec{{.*}})"

pipe.parameter @w : tensor<4x6xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
func.func @micro_step(%x: tensor<8x4xf32> {onnx.name = "x", moire.role = "data"}) -> tensor<f32> {
  %w = pipe.read @w : tensor<4x6xf32>
  %0 = nn.matmul %x, %w : tensor<8x4xf32>, tensor<4x6xf32> -> tensor<8x6xf32>
  %1 = math.exp %0 : tensor<8x6xf32>
  %dw = nn.matmul %x, %1 {transpose_lhs} : tensor<8x4xf32>, tensor<8x6xf32> -> tensor<4x6xf32>
  pipe.accumulate @w, %dw : tensor<4x6xf32>
  %2 = nn.reduce sum %1 [1] : tensor<8x6xf32> -> tensor<8xf32>
  %3 = nn.slice %2 starts [0] limits [1] strides [1] : tensor<8xf32> -> tensor<1xf32>
  %loss = tensor.collapse_shape %3 [] : tensor<1xf32> into tensor<f32>
  return %loss : tensor<f32>
}
