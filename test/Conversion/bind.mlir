// RUN: moire-opt %s --onnx-bind="sizes=batch=2,seq=10,mask.1=7" | FileCheck %s

// CHECK: func.func @main(
// CHECK-SAME: %{{.*}}: tensor<2x10xi64> {onnx.dims = ["batch", "seq"]
// CHECK-SAME: %{{.*}}: tensor<40x5xf32>
// CHECK-SAME: %{{.*}}: tensor<3x7xf32>
// CHECK-SAME: %{{.*}}: tensor<4x5xf32>
func.func @main(%a: tensor<?x?xi64> {onnx.dims = ["batch", "seq"], onnx.name = "input_ids"},
                %b: tensor<?x5xf32> {onnx.dims = ["2*batch*seq", ""], onnx.name = "flat"},
                %c: tensor<3x?xf32> {onnx.name = "mask"},
                %d: tensor<?x?xf32> {onnx.dims = ["(seq - 1) // 2", "Max(1, seq/batch)"], onnx.name = "half"}) {
  return
}
