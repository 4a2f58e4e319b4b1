// RUN: moire-run %s | FileCheck %s

func.func @f() -> (tensor<2x2xf32> {onnx.name = "matmul"}, tensor<2x2xf32> {onnx.name = "matmul_rhs"},
                   tensor<3x3xf32> {onnx.name = "matmul_lhs"}, tensor<2x1x2xf32> {onnx.name = "linear"},
                   tensor<2x1x1xf32> {onnx.name = "batched"}, tensor<2xf32> {onnx.name = "sum"},
                   tensor<3xf32> {onnx.name = "max"}, tensor<f32> {onnx.name = "min"}, tensor<2xf32> {onnx.name = "prod"},
                   tensor<2x2xf32> {onnx.name = "top"}, tensor<2x2xi64> {onnx.name = "top_at"},
                   tensor<2x2xf32> {onnx.name = "bottom"}, tensor<2x2xi64> {onnx.name = "bottom_at"},
                   tensor<2x3xf32> {onnx.name = "cumsum"}, tensor<2x3xf32> {onnx.name = "cumsum_back"},
                   tensor<3xf32> {onnx.name = "sigmoid"}) {
  %x = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %y = arith.constant dense<[[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]> : tensor<3x2xf32>
  %ties = arith.constant dense<[[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]> : tensor<2x3xf32>
  %z = arith.constant dense<[0.0, -1000.0, 1000.0]> : tensor<3xf32>
  // CHECK: matmul: {{.*}} = {{\[}}[7, 8], [16, 17]]
  %0 = nn.matmul %x, %y : tensor<2x3xf32>, tensor<3x2xf32> -> tensor<2x2xf32>
  // CHECK: matmul_rhs: {{.*}} = {{\[}}[14, 32], [32, 77]]
  %1 = nn.matmul %x, %x {transpose_rhs} : tensor<2x3xf32>, tensor<2x3xf32> -> tensor<2x2xf32>
  // CHECK: matmul_lhs: {{.*}} = {{\[}}[17, 22, 27], [22, 29, 36], [27, 36, 45]]
  %2 = nn.matmul %x, %x {transpose_lhs} : tensor<2x3xf32>, tensor<2x3xf32> -> tensor<3x3xf32>
  %x3 = nn.reshape %x : tensor<2x3xf32> -> tensor<2x1x3xf32>
  // CHECK: linear: {{.*}} = {{\[\[}}[7, 8]], {{\[}}[16, 17]]]
  %3 = nn.matmul %x3, %y : tensor<2x1x3xf32>, tensor<3x2xf32> -> tensor<2x1x2xf32>
  // CHECK: batched: {{.*}} = {{\[\[}}[14]], {{\[}}[77]]]
  %4 = nn.matmul %x3, %x3 {transpose_rhs} : tensor<2x1x3xf32>, tensor<2x1x3xf32> -> tensor<2x1x1xf32>
  // CHECK: sum: {{.*}} = [6, 15]
  %5 = nn.reduce sum %x [1] : tensor<2x3xf32> -> tensor<2xf32>
  // CHECK: max: {{.*}} = [4, 5, 6]
  %6 = nn.reduce max %x [0] : tensor<2x3xf32> -> tensor<3xf32>
  // CHECK: min: {{.*}} = 1
  %7 = nn.reduce min %x [0, 1] : tensor<2x3xf32> -> tensor<f32>
  // CHECK: prod: {{.*}} = [6, 120]
  %8 = nn.reduce prod %x [1] : tensor<2x3xf32> -> tensor<2xf32>
  // Of equal ones the lower index comes first.
  // CHECK: top: {{.*}} = {{\[}}[3, 3], [2, 2]]
  // CHECK: top_at: {{.*}} = {{\[}}[1, 2], [0, 1]]
  %9, %10 = nn.top_k %ties k 2 : tensor<2x3xf32> -> tensor<2x2xf32>, tensor<2x2xi64>
  // CHECK: bottom: {{.*}} = {{\[}}[1, 3], [2, 2]]
  // CHECK: bottom_at: {{.*}} = {{\[}}[0, 1], [0, 1]]
  %11, %12 = nn.top_k %ties k 2 {smallest} : tensor<2x3xf32> -> tensor<2x2xf32>, tensor<2x2xi64>
  // CHECK: cumsum: {{.*}} = {{\[}}[1, 3, 6], [4, 9, 15]]
  %13 = nn.cumsum %x axis 1 : tensor<2x3xf32> -> tensor<2x3xf32>
  // CHECK: cumsum_back: {{.*}} = {{\[}}[4, 5, 6], [0, 0, 0]]
  %14 = nn.cumsum %x axis 0 {exclusive, reverse} : tensor<2x3xf32> -> tensor<2x3xf32>
  // CHECK: sigmoid: {{.*}} = [0.5, 0, 1]
  %15 = nn.sigmoid %z : tensor<3xf32>
  return %0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15
    : tensor<2x2xf32>, tensor<2x2xf32>, tensor<3x3xf32>, tensor<2x1x2xf32>, tensor<2x1x1xf32>, tensor<2xf32>, tensor<3xf32>,
      tensor<f32>, tensor<2xf32>, tensor<2x2xf32>, tensor<2x2xi64>, tensor<2x2xf32>, tensor<2x2xi64>, tensor<2x3xf32>,
      tensor<2x3xf32>, tensor<3xf32>
}
