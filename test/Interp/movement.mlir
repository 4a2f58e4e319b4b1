// RUN: moire-run %s | FileCheck %s

func.func @f() -> (tensor<6xi64> {onnx.name = "reshape"}, tensor<3x2xi64> {onnx.name = "transpose"},
                   tensor<2x2x3xi64> {onnx.name = "broadcast"}, tensor<1x2xi64> {onnx.name = "slice"},
                   tensor<3x7xi64> {onnx.name = "pad"}, tensor<2x5xi64> {onnx.name = "concat"},
                   tensor<2x3xi64> {onnx.name = "reverse"}, tensor<2x3xi64> {onnx.name = "iota"},
                   tensor<2x1x3xi64> {onnx.name = "gather"}, tensor<2x3xi64> {onnx.name = "scatter_add"},
                   tensor<2x3xi64> {onnx.name = "scatter_set"}, tensor<2x2xi64> {onnx.name = "gather_elements"},
                   tensor<2x3xi64> {onnx.name = "scatter_elements"}) {
  %x = arith.constant dense<[[1, 2, 3], [4, 5, 6]]> : tensor<2x3xi64>
  %y = arith.constant dense<[[7, 8], [9, 10]]> : tensor<2x2xi64>
  %ones = arith.constant dense<[[1, 0], [0, 0]]> : tensor<2x2xi64>
  %rows = arith.constant dense<[[1], [1]]> : tensor<2x1xi64>
  %columns = arith.constant dense<[[1, 0], [0, 0]]> : tensor<2x2xi64>
  %u = arith.constant dense<[[[10, 20, 30]], [[100, 200, 300]]]> : tensor<2x1x3xi64>
  // CHECK: reshape: {{.*}} = [1, 2, 3, 4, 5, 6]
  %0 = nn.reshape %x : tensor<2x3xi64> -> tensor<6xi64>
  // CHECK: transpose: {{.*}} = {{\[}}[1, 4], [2, 5], [3, 6]]
  %1 = nn.transpose %x [1, 0] : tensor<2x3xi64> -> tensor<3x2xi64>
  // CHECK: broadcast: {{.*}} = {{\[\[}}[1, 2, 3], [1, 2, 3]], {{\[}}[4, 5, 6], [4, 5, 6]]]
  %2 = nn.broadcast %x [0, 2] : tensor<2x3xi64> -> tensor<2x2x3xi64>
  // CHECK: slice: {{.*}} = {{\[}}[4, 6]]
  %3 = nn.slice %x starts [1, 0] limits [2, 3] strides [1, 2] : tensor<2x3xi64> -> tensor<1x2xi64>
  // One row below, one column left and right, one between neighbours.
  // CHECK: pad: {{.*}} = {{\[}}[9, 1, 9, 2, 9, 3, 9], [9, 4, 9, 5, 9, 6, 9], [9, 9, 9, 9, 9, 9, 9]]
  %4 = nn.pad %x low [0, 1] high [1, 1] interior [0, 1] {value = 9.0 : f64} : tensor<2x3xi64> -> tensor<3x7xi64>
  // CHECK: concat: {{.*}} = {{\[}}[1, 2, 3, 7, 8], [4, 5, 6, 9, 10]]
  %5 = nn.concat %x, %y dim 1 : tensor<2x3xi64>, tensor<2x2xi64> -> tensor<2x5xi64>
  // CHECK: reverse: {{.*}} = {{\[}}[6, 5, 4], [3, 2, 1]]
  %6 = nn.reverse %x [0, 1] : tensor<2x3xi64> -> tensor<2x3xi64>
  // CHECK: iota: {{.*}} = {{\[}}[0, 1, 2], [0, 1, 2]]
  %7 = nn.iota 1 : tensor<2x3xi64>
  // CHECK: gather: {{.*}} = {{\[\[}}[4, 5, 6]], {{\[}}[4, 5, 6]]]
  %8 = nn.gather %x[%rows] : tensor<2x3xi64>, tensor<2x1xi64> -> tensor<2x1x3xi64>
  // Both rows go to row 1: they sum, or the last one stays.
  // CHECK: scatter_add: {{.*}} = {{\[}}[1, 2, 3], [114, 225, 336]]
  %9 = nn.scatter add %u into %x[%rows] : tensor<2x1x3xi64>, tensor<2x3xi64>, tensor<2x1xi64> -> tensor<2x3xi64>
  // CHECK: scatter_set: {{.*}} = {{\[}}[1, 2, 3], [100, 200, 300]]
  %10 = nn.scatter set %u into %x[%rows] : tensor<2x1x3xi64>, tensor<2x3xi64>, tensor<2x1xi64> -> tensor<2x3xi64>
  // CHECK: gather_elements: {{.*}} = {{\[}}[4, 2], [1, 2]]
  %11 = nn.gather_elements %x[%ones] axis 0 : tensor<2x3xi64>, tensor<2x2xi64> -> tensor<2x2xi64>
  // CHECK: scatter_elements: {{.*}} = {{\[}}[9, 9, 3], [23, 5, 6]]
  %12 = nn.scatter_elements add %y into %x[%columns] axis 1 : tensor<2x2xi64>, tensor<2x3xi64>, tensor<2x2xi64> -> tensor<2x3xi64>
  return %0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12
    : tensor<6xi64>, tensor<3x2xi64>, tensor<2x2x3xi64>, tensor<1x2xi64>, tensor<3x7xi64>, tensor<2x5xi64>,
      tensor<2x3xi64>, tensor<2x3xi64>, tensor<2x1x3xi64>, tensor<2x3xi64>, tensor<2x3xi64>, tensor<2x2xi64>, tensor<2x3xi64>
}
