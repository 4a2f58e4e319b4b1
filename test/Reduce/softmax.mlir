// A training step is reduced to the one op that the script looks for.
// RUN: moire-reduce %s --test %S/Inputs/has-softmax.sh -o %t.mlir
// RUN: FileCheck %s < %t.mlir
// RUN: moire-opt %t.mlir | FileCheck %s
// RUN: moire-reduce %t.mlir --test %S/Inputs/has-softmax.sh | diff - %t.mlir

// CHECK:      module {
// CHECK-NEXT:   func.func @micro_step() {
// CHECK-NEXT:     %[[ZERO:.*]] = arith.constant dense<0.000000e+00> : tensor<8x6xf32>
// CHECK-NEXT:     %{{.*}} = nn.softmax %[[ZERO]] : tensor<8x6xf32>
// CHECK-NEXT:     return
// CHECK-NEXT:   }
// CHECK-NEXT: }

module attributes {moire.phase = "train"} {
  pipe.parameter @w : tensor<4x6xf32> from [#pipe.source<"w", "", 0, 0, f32, same, 0>]
  pipe.parameter @b : tensor<6xf32> from [#pipe.source<"b", "", 0, 0, f32, same, 0>]
  func.func @micro_step(%x: tensor<8x4xf32> {onnx.name = "x", moire.role = "data"},
                        %labels: tensor<8xi64> {onnx.name = "labels", moire.role = "labels"},
                        %scale: tensor<f32> {onnx.name = "scale", moire.role = "scale"}) -> tensor<f32> {
    %w = pipe.read @w : tensor<4x6xf32>
    %b = pipe.read @b : tensor<6xf32>
    %0 = nn.matmul %x, %w : tensor<8x4xf32>, tensor<4x6xf32> -> tensor<8x6xf32>
    %1 = nn.broadcast %b [1] : tensor<6xf32> -> tensor<8x6xf32>
    %2 = arith.addf %0, %1 : tensor<8x6xf32>
    %3 = nn.softmax %2 : tensor<8x6xf32>
    %4 = math.exp %3 : tensor<8x6xf32>
    %losses, %lse = nn.cross_entropy %4, %labels : tensor<8x6xf32>, tensor<8xi64> -> tensor<8xf32>, tensor<8xf32>
    %5 = nn.reduce sum %losses [0] : tensor<8xf32> -> tensor<f32>
    %loss = arith.mulf %5, %scale : tensor<f32>
    %d = nn.broadcast %scale [] : tensor<f32> -> tensor<8xf32>
    %dl = nn.cross_entropy_grad %4, %labels, %lse, %d : tensor<8x6xf32>, tensor<8xi64>, tensor<8xf32>, tensor<8xf32>
    %de = arith.mulf %dl, %4 : tensor<8x6xf32>
    %ds = nn.softmax_grad %3, %de : tensor<8x6xf32>, tensor<8x6xf32>
    %dw = nn.matmul %x, %ds {transpose_lhs} : tensor<8x4xf32>, tensor<8x6xf32> -> tensor<4x6xf32>
    pipe.accumulate @w, %dw : tensor<4x6xf32>
    %db = nn.reduce sum %ds [0] : tensor<8x6xf32> -> tensor<6xf32>
    pipe.accumulate @b, %db : tensor<6xf32>
    return %loss : tensor<f32>
  }
}
