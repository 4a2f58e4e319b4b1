// RUN: moire-opt %s --split-input-file --verify-diagnostics --onnx-bind="sizes=batch=2"

// expected-error @+1 {{dimension 'seq' of input 'input_ids' has no size; add --bind seq=SIZE}}
func.func @main(%a: tensor<?x?xi64> {onnx.dims = ["batch", "seq"], onnx.name = "input_ids"}) {
  return
}

// -----

// expected-error @+1 {{dimension 'n+1' of input 'x' and 1 more have no size; add --bind n=SIZE,x.1=SIZE}}
func.func @main(%a: tensor<?x?xf32> {onnx.dims = ["n+1", ""], onnx.name = "x"}) {
  return
}

// -----

// expected-error @+1 {{dimension 'batch-2' of input 'x' is 0 under --bind, but must be positive}}
func.func @main(%a: tensor<?xf32> {onnx.dims = ["batch-2"], onnx.name = "x"}) {
  return
}

// -----

// expected-error @+1 {{input 'x' has no rank in the file; export it with a shape (recipe: docs/exporting.md#dimensions)}}
func.func @main(%a: tensor<*xf32> {onnx.name = "x"}) {
  return
}
