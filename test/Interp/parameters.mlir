// What each transform makes of stored bytes.
// RUN: rm -rf %t && mkdir %t
// RUN: python3 -c "import struct; open(r'%t/weights.bin', 'wb').write(struct.pack('<6f', 0, 1, 2, 3, 4, 5) + struct.pack('<2H', 0x3fc0, 0xc000))"
// RUN: moire-run %s --model-dir=%t | FileCheck %s

pipe.parameter @same : tensor<2x3xf32> from [#pipe.source<"w", "weights.bin", 0, 24, f32, same, 0>]
pipe.parameter @transposed : tensor<2x3xf32> from [#pipe.source<"w", "weights.bin", 0, 24, f32, transpose_last2, 0>]
pipe.parameter @reshaped : tensor<6x1xf32> from [#pipe.source<"w", "weights.bin", 0, 24, f32, reshape, 0>]
pipe.parameter @slices : tensor<2x3x1xf32> from [#pipe.source<"a", "weights.bin", 0, 12, f32, slice, 1>,
                                                 #pipe.source<"b", "weights.bin", 12, 12, f32, slice_transpose, 0>]
pipe.parameter @narrow : tensor<2xf32> from [#pipe.source<"c", "weights.bin", 24, 4, bf16, same, 0>]
pipe.parameter @tied : tensor<3xf32> from [#pipe.source<"a", "weights.bin", 0, 12, f32, same, 0>,
                                           #pipe.source<"b", "weights.bin", 12, 12, f32, same, 0>]

func.func @forward() -> (tensor<2x3xf32> {onnx.name = "same"}, tensor<2x3xf32> {onnx.name = "transposed"},
                         tensor<6x1xf32> {onnx.name = "reshaped"}, tensor<2x3x1xf32> {onnx.name = "slices"},
                         tensor<2xf32> {onnx.name = "narrow"}, tensor<3xf32> {onnx.name = "tied"}) {
  // CHECK: same: {{.*}} = {{\[}}[0, 1, 2], [3, 4, 5]]
  %0 = pipe.read @same : tensor<2x3xf32>
  // CHECK: transposed: {{.*}} = {{\[}}[0, 2, 4], [1, 3, 5]]
  %1 = pipe.read @transposed : tensor<2x3xf32>
  // CHECK: reshaped: {{.*}} = {{\[}}[0], [1], [2], [3], [4], [5]]
  %2 = pipe.read @reshaped : tensor<6x1xf32>
  // CHECK: slices: {{.*}} = {{\[\[}}[3], [4], [5]], {{\[}}[0], [1], [2]]]
  %3 = pipe.read @slices : tensor<2x3x1xf32>
  // CHECK: narrow: {{.*}} = [1.5, -2]
  %4 = pipe.read @narrow : tensor<2xf32>
  // The sources are copies of each other: the first is taken.
  // CHECK: tied: {{.*}} = [0, 1, 2]
  %5 = pipe.read @tied : tensor<3xf32>
  return %0, %1, %2, %3, %4, %5 : tensor<2x3xf32>, tensor<2x3xf32>, tensor<6x1xf32>, tensor<2x3x1xf32>, tensor<2xf32>, tensor<3xf32>
}
