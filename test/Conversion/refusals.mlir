// RUN: moire-opt %s --split-input-file --verify-diagnostics --onnx-to-nn

// All op types at once.
// expected-error @+1 {{2 op types are not supported: LSTM (1 node 'rnn'), org.example::Fancy (2 nodes, first 'f1')}}
func.func @main(%x: tensor<4xf32>) -> tensor<*xf32> {
  %a = onnx.node "Fancy"(%x) domain "org.example" : (tensor<4xf32>) -> tensor<*xf32> loc("f1")
  %b = onnx.node "Fancy"(%a) domain "org.example" : (tensor<*xf32>) -> tensor<*xf32> loc("f2")
  %c = onnx.node "LSTM"(%b) : (tensor<*xf32>) -> tensor<*xf32> loc("rnn")
  return %c : tensor<*xf32>
}

// -----

// Each node whose form cannot be compiled; what depends on it is silent.
func.func @main(%x: tensor<4x4xf32>, %i: tensor<2xi64>) -> (tensor<*xf32>, tensor<*xi64>, tensor<*xf32>) {
  // expected-error @+1 {{Reshape: the shape is computed from data, but only what follows from the shapes can be compiled (recipe: docs/exporting.md#shapes-from-data)}}
  %a = onnx.node "Reshape"(%x, %i) : (tensor<4x4xf32>, tensor<2xi64>) -> tensor<*xf32>
  %b = onnx.node "Relu"(%a) : (tensor<*xf32>) -> tensor<*xf32>
  // expected-error @+1 {{NonZero: how many elements are not zero depends on the data, so that the result has no shape at compile time (recipe: docs/exporting.md#shapes-from-data)}}
  %c = onnx.node "NonZero"(%x) : (tensor<4x4xf32>) -> tensor<*xi64>
  // expected-error @+1 {{ScatterElements: reduction "mul" is not supported; use "none" or "add"}}
  %d = onnx.node "ScatterElements"(%x, %i, %x) with {reduction = "mul"} : (tensor<4x4xf32>, tensor<2xi64>, tensor<4x4xf32>) -> tensor<*xf32>
  return %b, %c, %d : tensor<*xf32>, tensor<*xi64>, tensor<*xf32>
}

// -----

func.func @main(%x: tensor<4x3xf32>, %y: tensor<2x4xf32>) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) {
  // expected-error @+1 {{operand shapes [4, 3] and [2, 4] cannot be broadcast to each other}}
  %a = onnx.node "Add"(%x, %y) : (tensor<4x3xf32>, tensor<2x4xf32>) -> tensor<*xf32>
  // expected-error @+1 {{MatMul: inner sizes of [4, 3] and [2, 4] differ}}
  %b = onnx.node "MatMul"(%x, %y) : (tensor<4x3xf32>, tensor<2x4xf32>) -> tensor<*xf32>
  // expected-error @+1 {{Gemm: input 1 is missing}}
  %c = onnx.node "Gemm"(%x) : (tensor<4x3xf32>) -> tensor<*xf32>
  return %a, %b, %c : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// -----

// expected-error @+1 {{input 'past_key_values.0.key' is a key-value cache of earlier tokens, which training does not have and cannot send gradients through; export the model with use_cache=False (recipe: docs/exporting.md#cache)}}
func.func @main(%x: tensor<2x4x3x8xf32> {onnx.name = "past_key_values.0.key"}) -> tensor<2x4x3x8xf32> {
  return %x : tensor<2x4x3x8xf32>
}

// -----

// The experts that one sample hit: 2 of 4.
func.func @main(%ids: tensor<3x2xi64>) -> (tensor<*xi64>, tensor<*xi64>) {
  %depth = onnx.initializer "depth" {value = dense<4> : tensor<i64>} : tensor<i64>
  %values = onnx.initializer "values" {value = dense<[0, 1]> : tensor<2xi64>} : tensor<2xi64>
  %hot = onnx.node "OneHot"(%ids, %depth, %values) : (tensor<3x2xi64>, tensor<i64>, tensor<2xi64>) -> tensor<*xi64>
  %mask = onnx.node "Transpose"(%hot) with {perm = array<i64: 2, 1, 0>} : (tensor<*xi64>) -> tensor<*xi64>
  %sum = onnx.node "ReduceSum"(%mask) : (tensor<*xi64>) -> tensor<*xi64>
  %hit = onnx.node "NonZero"(%sum) : (tensor<*xi64>) -> tensor<*xi64>
  %list = onnx.node "Transpose"(%hit) with {perm = array<i64: 1, 0>} : (tensor<*xi64>) -> tensor<*xi64>
  // expected-error @+1 {{Split cuts what NonZero finds into 2 fixed parts: the graph holds only the experts that the traced sample hit (here 2 of 4) and is wrong for other tokens; export it with experts_implementation="batched_mm" (recipe: docs/exporting.md#experts)}}
  %a, %b = onnx.node "Split"(%list) : (tensor<*xi64>) -> (tensor<*xi64>, tensor<*xi64>)
  return %a, %b : tensor<*xi64>, tensor<*xi64>
}

// -----

// token = pair // k, written without a sum over the token's experts.
func.func @main(%s: tensor<6x4xf32>, %y: tensor<12x8xf32>) -> tensor<*xf32> {
  %k = onnx.initializer "k" {value = dense<12> : tensor<1xi64>} : tensor<1xi64>
  %two = onnx.initializer "two" {value = dense<2> : tensor<i64>} : tensor<i64>
  %shape = onnx.initializer "shape" {value = dense<[6, 8]> : tensor<2xi64>} : tensor<2xi64>
  %one = onnx.initializer "one" {value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %flat = onnx.initializer "flat" {value = dense<24> : tensor<1xi64>} : tensor<1xi64>
  %f = onnx.node "Reshape"(%s, %flat) : (tensor<6x4xf32>, tensor<1xi64>) -> tensor<*xf32>
  %v, %perm = onnx.node "TopK"(%f, %k) : (tensor<*xf32>, tensor<1xi64>) -> (tensor<*xf32>, tensor<*xi64>)
  %tok = onnx.node "Div"(%perm, %two) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %i = onnx.node "Unsqueeze"(%tok, %one) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %zeros = onnx.node "ConstantOfShape"(%shape) : (tensor<2xi64>) -> tensor<*xf32>
  // expected-error @+1 {{ScatterND writes the outputs of a token's experts to one row without reduction="add", so that all but one are lost; the exporter lost an index_add, export with torch.onnx.export(dynamo=True) (recipe: docs/exporting.md#experts)}}
  %out = onnx.node "ScatterND"(%zeros, %i, %y) : (tensor<*xf32>, tensor<*xi64>, tensor<12x8xf32>) -> tensor<*xf32>
  return %out : tensor<*xf32>
}

// -----

// Each kind of op that another export would be without names its recipe.
// expected-error @+1 {{4 op types are not supported: Fancy (1 node), Loop (1 node), QLinearMatMul (1 node), com.microsoft::FusedMatMul (1 node) (recipe: docs/exporting.md#fused-ops) (recipe: docs/exporting.md#shapes-from-data) (recipe: docs/exporting.md#weights)}}
func.func @main(%x: tensor<4xf32>) -> tensor<*xf32> {
  %a = onnx.node "FusedMatMul"(%x) domain "com.microsoft" : (tensor<4xf32>) -> tensor<*xf32>
  %b = onnx.node "QLinearMatMul"(%a) : (tensor<*xf32>) -> tensor<*xf32>
  %c = onnx.node "Loop"(%b) : (tensor<*xf32>) -> tensor<*xf32>
  %d = onnx.node "Fancy"(%c) : (tensor<*xf32>) -> tensor<*xf32>
  return %d : tensor<*xf32>
}
