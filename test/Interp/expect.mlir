// RUN: rm -rf %t && moire-run %s --function=want --outputs=%t
// RUN: moire-run %s --function=got --expect=%t/output_0.pb --rtol=0.1 | FileCheck %s --check-prefix=SAME
// RUN: not moire-run %s --function=got --expect=%t/output_0.pb 2>&1 | FileCheck %s --check-prefix=DIFFERS
// RUN: moire-run %s --function=got --expect=%t/output_1.pb:1 | FileCheck %s --check-prefix=SAME
// RUN: not moire-run %s --function=got --expect=%t/output_1.pb:0 2>&1 | FileCheck %s --check-prefix=TYPE
// RUN: not moire-run %s --function=got --expect=%t/output_0.pb:2 2>&1 | FileCheck %s --check-prefix=COUNT

// SAME: as expected, the largest difference being
// DIFFERS: error: output 'y' differs at element 1: 2.1{{.*}} where '{{.*}}output_0.pb' has 2.0
// TYPE: error: output 'y' has type tensor<2xf32> but '{{.*}}output_1.pb' has tensor<2xi64>
// COUNT: error: there is no output 2; the function has 2
func.func @want() -> (tensor<2xf32> {onnx.name = "y"}, tensor<2xi64>) {
  %0 = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %1 = nn.iota 0 : tensor<2xi64>
  return %0, %1 : tensor<2xf32>, tensor<2xi64>
}
func.func @got() -> (tensor<2xf32> {onnx.name = "y"}, tensor<2xi64>) {
  %0 = arith.constant dense<[1.0, 2.1]> : tensor<2xf32>
  %1 = nn.iota 0 : tensor<2xi64>
  return %0, %1 : tensor<2xf32>, tensor<2xi64>
}
