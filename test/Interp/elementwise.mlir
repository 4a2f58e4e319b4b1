// RUN: moire-run %s | FileCheck %s

// Upstream's elementwise ops on tensors; linalg.generic is tested in test/unit.
func.func @f() -> (tensor<4xf32> {onnx.name = "erf"}, tensor<4xf32> {onnx.name = "rsqrt"}, tensor<4xf32> {onnx.name = "roundeven"},
                   tensor<4xf32> {onnx.name = "powf"}, tensor<4xi1> {onnx.name = "less"}, tensor<4xf32> {onnx.name = "select"},
                   tensor<4xi64> {onnx.name = "fptosi"}, tensor<4xi64> {onnx.name = "shift"}, tensor<4xf16> {onnx.name = "truncf"}) {
  %x = arith.constant dense<[0.5, 1.5, 2.5, 4.0]> : tensor<4xf32>
  %y = arith.constant dense<2.0> : tensor<4xf32>
  %i = arith.constant dense<[1, 2, 3, -8]> : tensor<4xi64>
  %one = arith.constant dense<1> : tensor<4xi64>
  %big = arith.constant dense<[2049.0, 0.1, -1.0, 70000.0]> : tensor<4xf32>
  // CHECK: erf: {{.*}} = [0.5205, 0.966105, 0.999593, 1]
  %0 = math.erf %x : tensor<4xf32>
  // CHECK: rsqrt: {{.*}} = [1.41421, 0.816497, 0.632456, 0.5]
  %1 = math.rsqrt %x : tensor<4xf32>
  // CHECK: roundeven: {{.*}} = [0, 2, 2, 4]
  %2 = math.roundeven %x : tensor<4xf32>
  // CHECK: powf: {{.*}} = [0.25, 2.25, 6.25, 16]
  %3 = math.powf %x, %y : tensor<4xf32>
  // CHECK: less: {{.*}} = [true, true, false, false]
  %4 = arith.cmpf olt, %x, %y : tensor<4xf32>
  // CHECK: select: {{.*}} = [0.5, 1.5, 2, 2]
  %5 = arith.select %4, %x, %y : tensor<4xi1>, tensor<4xf32>
  // CHECK: fptosi: {{.*}} = [0, 1, 2, 4]
  %6 = arith.fptosi %x : tensor<4xf32> to tensor<4xi64>
  // CHECK: shift: {{.*}} = [0, 1, 1, -4]
  %7 = arith.shrsi %i, %one : tensor<4xi64>
  // CHECK: truncf: {{.*}} = [2048, 0.0999756, -1, inf]
  %8 = arith.truncf %big : tensor<4xf32> to tensor<4xf16>
  return %0, %1, %2, %3, %4, %5, %6, %7, %8 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xi1>,
         tensor<4xf32>, tensor<4xi64>, tensor<4xi64>, tensor<4xf16>
}
