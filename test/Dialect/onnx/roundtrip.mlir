// RUN: moire-opt %s | moire-opt | FileCheck %s

// CHECK-LABEL: func.func @node
// CHECK: onnx.node "Gemm"(%{{.*}}, %{{.*}}) with {alpha = 5.000000e-01 : f32, transB = 1 : i64} {module = "classifier", module_class = "Linear"} : (tensor<?x32xf32>, tensor<5x32xf32>) -> tensor<?x5xf32>
// CHECK: onnx.node "MoE"(%{{.*}}) domain "com.microsoft" opset 1 : (tensor<?x5xf32>) -> tensor<*xf32>
func.func @node(%x: tensor<?x32xf32>, %w: tensor<5x32xf32>) -> tensor<*xf32> {
  %0 = onnx.node "Gemm"(%x, %w) with {alpha = 0.5 : f32, transB = 1 : i64}
         {module = "classifier", module_class = "Linear"}
       : (tensor<?x32xf32>, tensor<5x32xf32>) -> tensor<?x5xf32>
  %1 = onnx.node "MoE"(%0) domain "com.microsoft" opset 1 : (tensor<?x5xf32>) -> tensor<*xf32>
  return %1 : tensor<*xf32>
}

// CHECK-LABEL: func.func @several_results
// CHECK: %{{.*}}:2 = onnx.node "TopK"(%{{.*}}) with {axis = -1 : i64} : (tensor<8xf32>) -> (tensor<2xf32>, none)
func.func @several_results(%x: tensor<8xf32>) {
  %0:2 = onnx.node "TopK"(%x) with {axis = -1 : i64} : (tensor<8xf32>) -> (tensor<2xf32>, none)
  return
}

// CHECK-LABEL: func.func @initializers
// CHECK: onnx.initializer "val_101" at <"model.onnx", 812, 4096> {folded_from = ["q_proj.weight"]} : tensor<32x32xf32>
// CHECK: onnx.initializer "val_7" {value = dense<1> : tensor<i64>} : tensor<i64>
// CHECK: onnx.initializer "bias" at <"", 0, 16> {kind = "PARAMETER", original = "p_bias"} : tensor<8xbf16>
// CHECK: onnx.absent : none
func.func @initializers() {
  %0 = onnx.initializer "val_101" at <"model.onnx", 812, 4096> {folded_from = ["q_proj.weight"]} : tensor<32x32xf32>
  %1 = onnx.initializer "val_7" {value = dense<1> : tensor<i64>} : tensor<i64>
  %2 = onnx.initializer "bias" at <"", 0, 16> {kind = "PARAMETER", original = "p_bias"} : tensor<8xbf16>
  %3 = onnx.absent : none
  return
}

// CHECK-LABEL: func.func @graphs
// CHECK: onnx.node "If"(%{{.*}}) graphs ["then_branch", "else_branch"] {
// CHECK:   onnx.yield %{{.*}} : tensor<4xf32>
// CHECK: }, {
// CHECK:   onnx.yield %{{.*}} : tensor<4xf32>
// CHECK: } : (tensor<i1>) -> tensor<4xf32>
func.func @graphs(%c: tensor<i1>, %x: tensor<4xf32>) {
  %0 = onnx.node "If"(%c) graphs ["then_branch", "else_branch"] {
    %1 = onnx.node "Neg"(%x) : (tensor<4xf32>) -> tensor<4xf32>
    onnx.yield %1 : tensor<4xf32>
  }, {
    onnx.yield %x : tensor<4xf32>
  } : (tensor<i1>) -> tensor<4xf32>
  return
}

// CHECK: func.func private @opaque(!onnx.opaque<"sequence(tensor(float))">, tensor<3x!onnx.opaque<"string">>)
func.func private @opaque(!onnx.opaque<"sequence(tensor(float))">, tensor<3x!onnx.opaque<"string">>)
